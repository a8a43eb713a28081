"""A service that the gateway itself asks, one small question at a time: a client of HTTP/1.1 with kept connections.

What an answer may cost is bounded: the caller's timeout for everything, 32 KB of head, 64 KB of body. A connection
whose answer was not read to its end, or that says so, is not used again. One that was kept and ends before a byte of
the answer has come was closed for its age: the question, which must be safe to repeat, is asked once more on a new one.
"""

import asyncio
import ssl
import sys
from collections import deque
from typing import NamedTuple, cast

import httptools

_HEAD_LIMIT = 32768
_BODY_LIMIT = 65536
_GOODBYE = 1.0  # seconds for the end of TLS
_IDLE = 30.0  # seconds that a connection is kept while it is not needed


class Place(NamedTuple):
    """Where a service is."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None
    server_name: str = ""
    """The name that is asked for (SNI) and verified."""


class Reply(NamedTuple):
    """An answer."""

    status: int
    fields: list[tuple[str, str]]
    """Names in lower case; values as latin-1."""
    body: bytes
    whole: bool
    """Whether that is all of the body; of one over 64 KB it is the beginning."""

    def get_all(self, name: str) -> list[str]:
        """Every value of a field, in their order."""
        return [value for key, value in self.fields if key == name]


class ServiceError(Exception):
    """There was no valid answer; the text says why."""


class Service:
    """Asks a service, on at most ``max_connections`` connections; questions wait for one in order. 0: no bound."""

    def __init__(self, place: Place, *, max_connections: int) -> None:
        self._place = place
        self._idle: list[_Connection] = []
        self._room = max_connections or sys.maxsize
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def ask(self, request: bytes, timeout: float) -> Reply:
        """The final answer to a request without a body; ``timeout`` is seconds. Raises ServiceError."""
        try:
            async with asyncio.timeout(timeout):
                await self._enter()
                try:
                    return await self._ask(request)
                finally:
                    self._leave()
        except TimeoutError:
            raise ServiceError(f"no answer in {timeout:g} s") from None
        except ssl.SSLCertVerificationError as error:
            raise ServiceError(f"TLS: {error.verify_message.removesuffix('.')}") from error
        except OSError as error:
            raise ServiceError(error.strerror or str(error) or type(error).__name__) from error

    def close(self) -> None:
        """Closes the connections that are kept."""
        while self._idle:
            self._idle.pop().end()

    def __del__(self) -> None:
        # Whoever had questions is gone: nobody needs to say when.
        self.close()

    async def _ask(self, request: bytes) -> Reply:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                try:
                    return await self._ask_on(connection, request)
                except _StaleError:
                    break
        return await self._ask_on(await self._connect(), request)

    async def _ask_on(self, connection: "_Connection", request: bytes) -> Reply:
        try:
            reply = await connection.ask(request)
        except BaseException:
            connection.cut()
            raise
        if connection.usable:
            self._keep(connection)
        else:
            connection.end()
        return reply

    def _keep(self, connection: "_Connection") -> None:
        """The last one kept is the first to be used, so that those that are not needed are at the front."""
        connection.kept = now = asyncio.get_running_loop().time()
        self._idle.append(connection)
        while self._idle[0].kept < now - _IDLE:
            self._idle.pop(0).end()

    async def _connect(self) -> "_Connection":
        loop, place = asyncio.get_running_loop(), self._place
        name = None if place.tls is None else place.server_name or place.host
        # Only with TLS: the loop refuses a timeout of what there is not.
        goodbye = None if place.tls is None else _GOODBYE
        _, connection = await loop.create_connection(
            _Connection, place.host, place.port, ssl=place.tls, server_hostname=name, ssl_shutdown_timeout=goodbye
        )
        return connection

    async def _enter(self) -> None:
        if self._room and not self._waiting:
            self._room -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave()
            raise

    def _leave(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._room += 1


class _StaleError(ServiceError):
    """A kept connection ended before anything of the answer came."""


class _Connection(asyncio.Protocol):
    """One connection, with one question at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Reply] | None = None
        self._used = False
        self.usable = True
        self.kept = 0.0
        self._begin()

    def _begin(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._fields: list[tuple[str, str]] = []
        self._body = bytearray()
        self._size = 0
        self._status = 0
        self._started = False

    async def ask(self, request: bytes) -> Reply:
        """The answer to a request. Raises ServiceError."""
        assert self._transport is not None
        self._begin()
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        try:
            return await self._answer
        finally:
            self._answer = None
            self._used = True

    def end(self) -> None:
        """Closes the connection, on which nothing is under way."""
        self.usable = False
        if self._transport is not None:
            self._transport.close()

    def cut(self) -> None:
        """Closes the connection in the middle of an answer."""
        self.usable = False
        if self._transport is not None:
            self._transport.abort()

    # -- the transport's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        # A uvloop transport is none by its type.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self._answer is None or self._answer.done():
            # Bytes that nobody asked for would be taken for the next answer.
            self.cut()
            return
        self._started = True
        if not self._status:
            self._size += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail("it wants to speak another protocol")
        except httptools.HttpParserError as error:
            if not self._answer.done():
                self._fail(f"no valid HTTP response: {error}")
            self.usable = False
        if not self._status and self._size > _HEAD_LIMIT:
            self._fail("the response head is over 32 KB")

    def eof_received(self) -> None:
        """See `asyncio.Protocol`."""
        self.connection_lost(None)

    def connection_lost(self, error: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self.usable = False
        if self._answer is None or self._answer.done():
            return
        if self._status and self._ends_with_the_connection and error is None:
            self._finish(whole=True)
        elif self._used and not self._started:
            self._answer.set_exception(_StaleError("closed without a response"))
        else:
            self._fail("closed before the response was complete" if self._started else "closed without a response")

    # -- the parser's calls

    def on_message_begin(self) -> None:
        """A response; behind the one that was asked for there is to be none."""
        if self._status:
            self.usable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field; one that follows the body is of no interest."""
        if not self._status:
            self._fields.append((name.decode("latin-1").lower(), value.decode("latin-1").strip(" \t")))

    def on_headers_complete(self) -> None:
        """Interim responses (1xx) are passed over."""
        status = self._parser.get_status_code()
        if 100 <= status < 200 and status != 101:
            self._fields.clear()
            return
        self._status = status
        names = {name for name, _ in self._fields}
        self._ends_with_the_connection = (
            not names & {"content-length", "transfer-encoding"} and status not in (204, 304) and status >= 200
        )

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        self._body += data[: _BODY_LIMIT + 1 - len(self._body)]
        if len(self._body) > _BODY_LIMIT and self._answer is not None and not self._answer.done():
            self.usable = False
            self._finish(whole=False)

    def on_message_complete(self) -> None:
        """The end of a response."""
        if self._status and self._answer is not None and not self._answer.done():
            self.usable = self.usable and self._parser.should_keep_alive()
            self._finish(whole=True)

    def _finish(self, *, whole: bool) -> None:
        assert self._answer is not None
        self._answer.set_result(Reply(self._status, self._fields, bytes(self._body[:_BODY_LIMIT]), whole))

    def _fail(self, reason: str) -> None:
        self.usable = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ServiceError(reason))
