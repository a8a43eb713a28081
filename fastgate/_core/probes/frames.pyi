"""A second wire, for tests: many exchanges over one connection, on both sides. The gateway never loads it."""

import asyncio

from fastgate._core.delivery.tries import Upstream
from fastgate._core.exchange.exchange import ClientSide, UpstreamSide
from fastgate._core.exchange.worker import Engine
from fastgate._core.wire.h1.client import ListenerFacts

class Frames:
    """The frames of one connection."""

class Flow:
    """The body that one side of a stream sends, and the room for the one that comes."""

class FrameClient(ClientSide, asyncio.Protocol):
    """The protocol of a client's connection, as asyncio knows it."""

    def __init__(self, engine: Engine, listener: ListenerFacts) -> None: ...
    def connection_made(self, transport: asyncio.BaseTransport) -> None: ...
    def data_received(self, data: bytes) -> None: ...
    def eof_received(self) -> bool: ...
    def connection_lost(self, error: Exception | None) -> None: ...
    def identify_anew(self) -> None:
        """What is believed of the peer is asked for again at the next request."""
    def close_idle(self) -> None:
        """Closes the connection if nothing is under way."""
    def abort(self) -> None:
        """Ends the connection now."""

class ClientStream(ClientSide):
    """One exchange of a client's connection."""

class FrameUpstream(Upstream):
    """One target, with ``most`` exchanges at once over one connection."""

    def __init__(self, engine: Engine, name: str, host: str, port: int, *, most: int = 100) -> None: ...
    async def connect(self, link: FrameLink) -> None:
        """Makes its connection."""
    def close(self) -> None:
        """Closes its connection."""

class FrameLink(UpstreamSide, asyncio.Protocol):
    """The protocol of a connection to an upstream, as asyncio knows it."""

    def __init__(self, upstream: FrameUpstream) -> None: ...
    def connection_made(self, transport: asyncio.BaseTransport) -> None: ...
    def data_received(self, data: bytes) -> None: ...
    def eof_received(self) -> bool: ...
    def connection_lost(self, error: Exception | None) -> None: ...

class UpstreamStream(UpstreamSide):
    """One exchange of a connection to an upstream."""
