"""CORS: what browsers are told of who may read an answer."""

from collections.abc import Callable, Iterable

from fastgate._core.exchange.exchange import Gate, Stamp

class CrossOrigin(Stamp):
    """The rules of CORS for one route.

    ``origins`` are compared byte by byte. Each of ``wildcards`` is what stands before and behind the labels that a
    wildcard stands for; each of ``expressions`` gives None for an origin that it does not match. ``methods`` and
    ``headers``: None allows all. ``max_age`` is seconds.
    """

    def __init__(
        self,
        *,
        origins: Iterable[str] = (),
        wildcards: Iterable[tuple[str, str]] = (),
        expressions: Iterable[Callable[[bytes], object]] = (),
        any_origin: bool = False,
        methods: Iterable[str] | None = None,
        headers: Iterable[str] | None = None,
        expose: Iterable[str] = (),
        expose_all: bool = False,
        credentials: bool = False,
        max_age: int = 0,
        private_network: bool = False,
    ) -> None: ...
    def allow(self, origin: bytes) -> bytes:
        """The lines that let an origin read the answer."""
    def suits(self, origin: bytes) -> bool:
        """Whether a wildcard or an expression stands for an origin."""

class PreflightGate(Gate):
    """Answers preflights by these rules."""

    def __init__(self, cors: CrossOrigin) -> None: ...
