"""A client that sends exactly the bytes it is given."""

import asyncio
import ssl
from typing import Self

from fastgate.testing.http_messages import CutShort, MessageReader, RecordedResponse
from fastgate.testing.wire import Address, Wire, connect

__all__ = ["RawClient"]


class RawClient:
    r"""One connection to a server under test.

        async with RawClient(gateway.port) as client:
            await client.send(b"GET / HTTP/1.1\r\nHost: example\r\n\r\n")
            response = await client.response()
            assert response.status == 200

    Nothing is added to what is sent; responses are read with the framing of RFC 9112 §6, strictly. Every wait ends with
    TimeoutError after ``timeout`` seconds. Pipelining is sending more before reading.

    Attributes:
        wire: The connection, from :meth:`open` on.
        reader: What takes it apart; ``reader.received`` holds every byte that came.
    """

    wire: Wire
    reader: MessageReader

    def __init__(
        self,
        address: Address,
        *,
        timeout: float = 5.0,
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
        receive_buffer: int = 0,
        source: tuple[str, int] | None = None,
        keep: bool = True,
    ) -> None:
        """``address`` is a port of 127.0.0.1, (host, port), or a Unix path; host is numeric.

        ``receive_buffer`` (bytes) bounds what the kernel takes for a client that does not read; ``source`` is the local
        address; with ``keep`` false bodies are counted and digested, not stored.
        """
        self.address = address
        self.timeout = timeout
        self._tls = tls
        self._server_name = server_name
        self._receive_buffer = receive_buffer
        self._source = source
        self._keep = keep

    async def open(self) -> Self:
        """Connects, with TLS where a context was given. OSError or ``ssl.SSLError`` when that fails."""
        async with asyncio.timeout(self.timeout):
            self.wire = Wire(await connect(self.address, receive_buffer=self._receive_buffer, source=self._source))
            self.reader = MessageReader(self.wire, keep=self._keep)
            if self._tls is not None:
                try:
                    await self.wire.start_tls(self._tls, server_name=self._server_name)
                except BaseException:
                    self.wire.close()
                    raise
        return self

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(self, *_: object) -> None:
        self.close()

    async def send(self, data: bytes) -> None:
        """Sends all of it as it is."""
        async with asyncio.timeout(self.timeout):
            await self.wire.send(data)

    async def send_pieces(self, data: bytes, size: int = 1, pause: float = 0.0) -> None:
        """Sends ``size`` bytes at a time, each read apart by a server in the same loop; ``pause`` in seconds."""
        async with asyncio.timeout(self.timeout + pause * len(data) / size):
            await self.wire.send_pieces(data, size, pause)

    async def head(self, method: str = "GET") -> RecordedResponse:
        """The next final response as soon as its head is there; interim ones are in its ``interim``."""
        async with asyncio.timeout(self.timeout):
            return await self.reader.response(method)

    async def body(self, response: RecordedResponse, limit: int | None = None) -> bytes:
        """Reads the rest of the response's body, or until there are ``limit`` bytes of it. :class:`CutShort` if cut."""
        async with asyncio.timeout(self.timeout):
            await self.reader.body(response, limit=limit)
        if not response.complete and (limit is None or response.body_length < limit):
            raise CutShort(response, b"", reset=self.reader.ended == "reset")
        return response.body

    async def response(self, method: str = "GET") -> RecordedResponse:
        """The next final response with its whole body. ``method`` is that of the request: HEAD has no body.

        Raises :class:`CutShort` when the connection ends first, :class:`Malformed` for bad framing.
        """
        response = await self.head(method)
        await self.body(response)
        return response

    async def request(self, data: bytes, method: str | None = None) -> RecordedResponse:
        """Sends the bytes of a request and reads its response; the method is read from the bytes when not given."""
        await self.send(data)
        return await self.response(method or data.split(b" ", 1)[0].decode("latin-1"))

    async def receive(self, count: int) -> bytes:
        """Exactly ``count`` bytes outside of any message, as in a tunnel. :class:`CutShort` when fewer come."""
        async with asyncio.timeout(self.timeout):
            while len(self.reader.buffer) < count:
                if not await self.reader.more():
                    raise CutShort(None, bytes(self.reader.buffer), reset=self.reader.ended == "reset")
        data = bytes(self.reader.buffer[:count])
        del self.reader.buffer[:count]
        return data

    async def rest(self) -> bytes:
        """All bytes up to the end of the connection. How it ended is in ``ended``."""
        async with asyncio.timeout(self.timeout):
            while await self.reader.more():
                pass
        data = bytes(self.reader.buffer)
        self.reader.buffer.clear()
        return data

    @property
    def ended(self) -> str | None:
        """How the server's bytes ended: "eof", "reset", or None when no end has been read."""
        return self.reader.ended

    async def wait_closed(self) -> str:
        """Waits until the server ends the connection and says how: "eof" or "reset". AssertionError when bytes come."""
        rest = await self.rest()
        assert not rest, f"expected the end of the connection, got {rest!r}"
        assert self.reader.ended is not None
        return self.reader.ended

    async def assert_silent(self, seconds: float = 0.05) -> None:
        """AssertionError when bytes or the end of the connection come within ``seconds``, which are waited for."""
        assert not self.reader.buffer, f"unread: {bytes(self.reader.buffer)!r}"
        try:
            async with asyncio.timeout(seconds):
                more = await self.reader.more()
        except TimeoutError:
            return
        assert not more, f"expected no bytes, got {bytes(self.reader.buffer)!r}"
        raise AssertionError(f"expected the connection to stay open, but it ended: {self.reader.ended}")

    def half_close(self) -> None:
        """Ends the sending side (FIN)."""
        self.wire.half_close()

    def reset(self) -> None:
        """Ends the connection by RST."""
        self.wire.reset()

    def close(self) -> None:
        """Ends the connection."""
        self.wire.close()
