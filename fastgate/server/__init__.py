"""The processes: a supervisor and its workers."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastgate.server.supervisor import GatewayServer as GatewayServer

__all__ = ["GatewayServer"]


def __getattr__(name: str) -> object:
    # On use: a worker imports this package too, and needs nothing of the supervisor.
    if name == "GatewayServer":
        from fastgate.server.supervisor import GatewayServer

        return GatewayServer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
