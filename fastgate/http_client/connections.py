"""A connection to where the gateway asks: made, asked on, ended; whatever happens to the one who waits, it is not left.

A cancelled or failed `connect` closes its socket. A cancelled or failed `ask` cuts its connection, which is in the
middle of a reply. Nothing here makes a task.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, TypeAlias, cast

from fastgate.http_client.failures import ClientError, ConnectError, ConnectionLost, TLSError, failure_of
from fastgate.http_client.replies import Bounds, Reply, ReplyReader, Until

_GOODBYE = 1.0  # seconds for the end of a connection

Resolve: TypeAlias = Callable[[str], Awaitable[Sequence[str]]]
"""The addresses of a name. What it raises goes to the one who asked."""


class Destination(NamedTuple):
    """Where a server is."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None
    server_name: str = ""
    """The name that is asked for (SNI) and verified; empty: the host."""
    unix: str = ""
    """Path of a Unix socket, instead of host and port."""


class Connection(asyncio.Protocol):
    """One connection, with one request at a time. `connect` makes it.

    Attributes:
        usable: Whether another request can be sent on it.
        kept: Since when it is not needed, in the loop's time; for the one who keeps it.
    """

    __slots__ = ("_answer", "_closed", "_cut", "_reader", "_secure", "_transport", "_used", "_waiter", "kept", "usable")

    def __init__(self, *, secure: bool = False) -> None:
        """``secure``: over TLS."""
        self._secure = secure
        self._transport: asyncio.Transport | None = None
        self._reader = ReplyReader()
        self._answer: asyncio.Future[Reply] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._used = False
        self._cut = False
        self._closed = False
        self.usable = True
        self.kept = 0.0

    async def ask(self, request: bytes, bounds: Bounds, until: Until | None = None) -> Reply:
        """Sends a request and reads its reply, as far as ``until`` wants it. Raises ClientError."""
        assert self._transport is not None
        reader = self._reader
        reader.begin(bounds, until)
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._answer = answer
        self._transport.write(request)
        try:
            reply = await answer
        except BaseException:
            self.cut()
            raise
        finally:
            self._answer = None
            self._used = True
        # It may have ended since the reply was there.
        self.usable = self.usable and reader.reusable
        return reply

    def end(self) -> None:
        """Closes the connection, on which nothing is under way: a FIN, under TLS after ``close_notify``."""
        self.usable = False
        if self._transport is not None:
            self._transport.close()

    async def end_and_wait(self) -> None:
        """The same; returns when the connection is closed, at the latest in a second, after which it is cut."""
        self.end()
        if self._closed or self._transport is None:
            return
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(_GOODBYE):
                await self._waiter
        except TimeoutError:
            """It has had its time."""
        finally:
            self.cut()

    def cut(self) -> None:
        """Closes the connection at once, whatever is under way."""
        self.usable = False
        self._cut = True
        if self._transport is not None and not self._closed:
            self._transport.abort()

    # -- the transport's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        # A uvloop transport is none by its type.
        self._transport = cast(asyncio.Transport, transport)
        if self._cut:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        answer = self._answer
        if answer is None or answer.done():
            # Bytes that nobody asked for would be taken for the next reply. Once it is being ended, they do not matter.
            if self.usable:
                self.cut()
            return
        try:
            reply = self._reader.feed(data)
        except Exception as error:
            # A ClientError, or what ``until`` raised: both are for the one who waits.
            answer.set_exception(error)
        else:
            if reply is not None:
                answer.set_result(reply)

    def eof_received(self) -> None:
        """See `asyncio.Protocol`."""
        self._over(None, cut=False)

    def connection_lost(self, error: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._closed = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        # uvloop reports an end of TLS that was said, by ``close_notify``, as the end of the bytes, and any other not.
        self._over(error, cut=self._secure)

    def _over(self, error: Exception | None, *, cut: bool) -> None:
        self.usable = False
        reader, answer = self._reader, self._answer
        if answer is None or answer.done():
            return
        if self._used and not reader.started:
            answer.set_exception(Stale("closed without a response", reset=isinstance(error, ConnectionError)))
            return
        try:
            answer.set_result(reader.end(error, cut=cut))
        except ClientError as failure:
            answer.set_exception(failure)


class Stale(ConnectionLost):
    """A kept connection ended before anything of the reply came: the server had closed it for its age."""


async def connect(destination: Destination, resolve: Resolve | None = None) -> Connection:
    """A connection to the first address that takes one; TLS, where there is some, is through. Raises ClientError.

    ``resolve`` gives the addresses; without it the loop asks the system.
    """
    tls = destination.tls
    name = None if tls is None else destination.server_name or destination.host
    if tls is not None and tls.check_hostname and not name:
        # uvloop takes an empty name for none to verify.
        raise TLSError("TLS: the target has no host name to verify its certificate against")
    addresses: Sequence[str] = [destination.host]
    if resolve is not None and not destination.unix:
        addresses = await resolve(destination.host)
    failure: ClientError = ConnectError("the name has no addresses")
    for address in addresses:
        try:
            return await _connect(destination, address, name)
        except (OSError, ValueError) as error:
            failure = failure_of(error)
            failure.__cause__ = error
    raise failure


async def _connect(destination: Destination, address: str, name: str | None) -> Connection:
    loop = asyncio.get_running_loop()
    tls = destination.tls
    # Only with TLS: the loop refuses a timeout of what there is not.
    goodbye = None if tls is None else _GOODBYE
    connection = Connection(secure=tls is not None)
    try:
        if destination.unix:
            await loop.create_unix_connection(
                lambda: connection, destination.unix, ssl=tls, server_hostname=name, ssl_shutdown_timeout=goodbye
            )
        else:
            await loop.create_connection(
                lambda: connection,
                address,
                destination.port,
                ssl=tls,
                server_hostname=name,
                ssl_shutdown_timeout=goodbye,
            )
    except BaseException:
        # The loop closes what it made, but under TLS it would wait for the other side to do so too.
        connection.cut()
        raise
    return connection
