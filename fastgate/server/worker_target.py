"""What a worker runs: the gateway, or what stands in for it."""

import importlib
from typing import Protocol

from fastgate.config import GatewayConfig
from fastgate.gateway.control import ControlPlane


class WorkerTarget(Protocol):
    """What a worker needs of a gateway.

    A reload calls `prepare`, and then either `commit` or `abort`; also `abort` alone when `prepare` raised or was
    cancelled. It begins after `start` has returned, and one is finished before the next begins. `commit` may still come
    while `drain` is under way.
    """

    async def start(self) -> None:
        """Serves from now on, and tells its control plane so. What it raises is why the worker cannot start."""

    async def drain(self) -> None:
        """Finishes what is in flight, then closes."""

    async def close(self) -> None:
        """Closes everything now."""

    def reopen_logs(self) -> None:
        """Opens log files by their names again."""

    def read_certificates(self) -> None:
        """Reads the certificate files again."""

    async def prepare(self, config: GatewayConfig) -> None:
        """Makes a configuration ready beside the one in use. Raises ConfigError with every reason why it cannot be."""

    def commit(self) -> None:
        """Uses what was prepared, from the next request on. Fast, and cannot fail."""

    def abort(self) -> None:
        """Forgets what was prepared, if anything was."""


class Factory(Protocol):
    """`fastgate.gateway.Gateway`, or what stands in for it."""

    def __call__(self, config: GatewayConfig, *, control: ControlPlane) -> WorkerTarget:
        """Makes the gateway, not started."""
        ...


def load_factory(name: str) -> Factory:
    """The object that ``module:name`` stands for."""
    module, _, attribute = name.partition(":")
    factory: Factory = getattr(importlib.import_module(module), attribute)
    return factory


def one_line(error: BaseException) -> str:
    """The error for a log line: its message where it has one, with its type where that says more."""
    text = "; ".join(line.strip() for line in str(error).splitlines() if line.strip())
    if type(error).__module__.startswith("fastgate.") and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
