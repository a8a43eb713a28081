"""An API gateway whose policies are Python and whose request path is compiled.

The public names. Each is loaded when it is first used (PEP 562), so that ``from fastgate import Router`` loads the
router and nothing else of the gateway, and ``from fastgate import TokenBucket`` the limits alone. Balancers are in
`fastgate.balancing`, caches in `fastgate.cache`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastgate._core.limits.rate import FixedWindow, SlidingWindowLog, TokenBucket
    from fastgate._core.routing.router import Router
    from fastgate.config import GatewayConfig
    from fastgate.gateway import Gateway, Policy, Request, Response
    from fastgate.server import GatewayServer

__all__ = [
    "FixedWindow",
    "Gateway",
    "GatewayConfig",
    "GatewayServer",
    "Policy",
    "Request",
    "Response",
    "Router",
    "SlidingWindowLog",
    "TokenBucket",
]

_HOMES = {
    "FixedWindow": "fastgate._core.limits.rate",
    "Gateway": "fastgate.gateway",
    "GatewayConfig": "fastgate.config",
    "GatewayServer": "fastgate.server",
    "Policy": "fastgate.gateway",
    "Request": "fastgate.gateway",
    "Response": "fastgate.gateway",
    "Router": "fastgate._core.routing.router",
    "SlidingWindowLog": "fastgate._core.limits.rate",
    "TokenBucket": "fastgate._core.limits.rate",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
