import asyncio
from collections.abc import Hashable
from ssl import SSLContext, SSLObject
from typing import Any, Protocol

from fastgate._core.exchange.worker import Engine, Part
from fastgate._core.wire.h1.client import ListenerFacts

class TLSServer(Protocol):
    """What a listener has for handshakes."""

    @property
    def context(self) -> SSLContext:
        """For the next one."""
    def verified(self, connection: SSLObject) -> Hashable | None:
        """What is to be known later of the certificate that the client has shown; None: it has shown none."""
    def withdrawn(self, verified: Any) -> bool:
        """Whether a certificate of which `verified` has told would not be accepted any more."""

class TLSConnection(asyncio.Transport, asyncio.Protocol):
    """The protocol of a socket on which a client is to speak TLS; then the transport of a `ClientConnection`."""

    def __init__(
        self,
        engine: Engine,
        server: TLSServer,
        listener: ListenerFacts,
        peer: tuple[str, int] | None = None,
        local: tuple[str, int] | None = None,
    ) -> None: ...
    accepted_at: int
    """Milliseconds, of the engine's clock, before `connection_made`; 0: then."""
    def connection_made(self, transport: asyncio.BaseTransport) -> None: ...
    def data_received(self, data: bytes) -> None: ...
    def eof_received(self) -> bool: ...
    def connection_lost(self, error: Exception | None) -> None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...
    def write(self, data: bytes) -> None:  # type: ignore[override]
        """Encrypts it, and hands it to the socket's transport."""
    def write_eof(self) -> None:
        """Closes for writing; of what still comes nothing is decrypted."""
    def can_write_eof(self) -> bool: ...
    def close(self) -> None:
        """close_notify and the end, behind what is unsent. The client's close_notify is not awaited."""
    def abort(self) -> None:
        """Ends the connection now."""
    def is_closing(self) -> bool: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def get_write_buffer_size(self) -> int: ...
    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """As of the loops' own TLS; ``withdrawn`` is True when the client's certificate would not be taken any more."""

class Failures(Part):
    """What a worker tells of failed handshakes."""
