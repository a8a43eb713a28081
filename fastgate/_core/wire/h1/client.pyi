import asyncio
from typing import Protocol

from fastgate._core.exchange.exchange import ClientSide
from fastgate._core.exchange.worker import Engine

class ListenerFacts(Protocol):
    """What a connection wants to know of the listening socket that it came through."""

    @property
    def scheme(self) -> str:
        """ "http" or "https"."""
    @property
    def port(self) -> int:
        """0 for a Unix socket."""

class ClientConnection(ClientSide, asyncio.Protocol):
    """The protocol of one client connection, as asyncio knows it.

    ``peer`` and ``local`` are addresses, host first, that a PROXY protocol header told; None: the transport is asked.
    """

    def __init__(
        self,
        engine: Engine,
        listener: ListenerFacts,
        peer: tuple[str, int] | None = None,
        local: tuple[str, int] | None = None,
    ) -> None: ...
    accepted_at: int
    """Milliseconds, of the engine's clock, before `connection_made`; 0: then."""
    def connection_made(self, transport: asyncio.BaseTransport) -> None: ...
    def data_received(self, data: bytes) -> None: ...
    def eof_received(self) -> None: ...
    def connection_lost(self, error: Exception | None) -> None: ...
    def go_on(self) -> None:
        """Takes up pipelined requests that were put aside."""
    def identify_anew(self) -> None:
        """What is believed of the peer is asked for again at the next request."""
    def close_idle(self) -> None:
        """Closes the connection if nothing is under way and nothing unread."""
    def abort(self) -> None:
        """Ends the connection now."""
