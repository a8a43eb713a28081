"""Asks one destination, on connections that are kept and bounded.

The connection that was used last is used first, so that those that are not needed grow old at the front, and are closed
when nobody needed them for ``keep`` seconds. One whose reply was not read to its end, or says so, is not used again.
One that was kept and ends before a byte of the reply has come was closed for its age: a request that is safe to repeat
is sent once more, on a new one.
"""

import asyncio
import sys
import weakref
from collections import deque

from fastgate.http_client.connections import Connection, Destination, Resolve, Stale, connect
from fastgate.http_client.failures import ConnectError, ReplyTimeout
from fastgate.http_client.replies import Bounds, Reply, Until

_BOUNDS = Bounds()


class Client:
    """Asks ``destination``; belongs to one event loop."""

    def __init__(
        self,
        destination: Destination,
        *,
        bounds: Bounds = _BOUNDS,
        max_connections: int = 0,
        keep: float = 30.0,
        connect_timeout: float = 0.0,
        resolve: Resolve | None = None,
    ) -> None:
        """``max_connections`` at a time, for more requests wait for their turn in order; 0: no bound.

        ``keep`` are the seconds that a connection is kept while it is not needed, 0: it is not; ``connect_timeout``
        those for making one, 0: only the request's own time counts. ``resolve``: see `connect`.
        """
        self._destination = destination
        self._bounds = bounds
        self._keep_for = keep
        self._connect_timeout = connect_timeout
        self._resolve = resolve
        self._idle: list[Connection] = []
        self._room = max_connections or sys.maxsize
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False

    async def ask(
        self, request: bytes, timeout: float, *, until: Until | None = None, repeatable: bool = True
    ) -> Reply:
        """The reply to a request; ``timeout`` are the seconds for all of it, waiting for a turn included.

        ``until`` may find that enough has come: see `Until`. ``repeatable``: whether the request may be sent a second
        time when a kept connection turns out to be closed; where it may not, the server may have got it or not.
        Raises ClientError.
        """
        try:
            async with asyncio.timeout(timeout):
                if self._room and not self._waiting:
                    self._room -= 1
                else:
                    await self._turn()
                try:
                    while self._idle:
                        connection = self._idle.pop()
                        if connection.usable:
                            try:
                                return await self._ask_on(connection, request, until)
                            except Stale:
                                if not repeatable:
                                    raise
                                break
                    return await self._ask_on(await self._connect(), request, until)
                finally:
                    self._leave()
        except TimeoutError:
            raise ReplyTimeout(f"no answer within {timeout:g} s") from None

    def close(self) -> None:
        """Closes the connections that are kept, and keeps none from now on; what is under way goes on."""
        self._closed = True
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        while self._idle:
            self._idle.pop().end()

    def __del__(self) -> None:
        # Whoever had requests is gone: nobody needs to say when.
        self.close()

    async def _ask_on(self, connection: Connection, request: bytes, until: Until | None) -> Reply:
        reply = await connection.ask(request, self._bounds, until)
        if connection.usable and self._keep_for and not self._closed:
            loop = asyncio.get_running_loop()
            connection.kept = loop.time()
            self._idle.append(connection)
            if self._sweep is None:
                # By a weak reference: a client that nobody needs any more is not held by its own timer.
                self._sweep = loop.call_later(self._keep_for, _sweep, weakref.ref(self))
        else:
            connection.end()
        return reply

    async def _connect(self) -> Connection:
        if not self._connect_timeout:
            return await connect(self._destination, self._resolve)
        try:
            async with asyncio.timeout(self._connect_timeout):
                return await connect(self._destination, self._resolve)
        except TimeoutError:
            raise ConnectError(f"no connection within {self._connect_timeout:g} s") from None

    async def _turn(self) -> None:
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

    def _end_old(self) -> None:
        """Ends what was not needed for long enough, and looks again when the next one is that old."""
        loop = asyncio.get_running_loop()
        self._sweep = None
        due = loop.time() - self._keep_for
        while self._idle and (not self._idle[0].usable or self._idle[0].kept <= due):
            self._idle.pop(0).end()
        if self._idle:
            self._sweep = loop.call_at(self._idle[0].kept + self._keep_for, _sweep, weakref.ref(self))


def _sweep(client: "weakref.ref[Client]") -> None:
    known = client()
    if known is not None:
        known._end_old()
