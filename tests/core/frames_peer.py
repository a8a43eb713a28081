"""Clients and upstreams that speak the second wire (`fastgate._core.probes.frames`), over real sockets."""

import asyncio
import struct
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self, cast

HEAD, BODY, TRAILERS, RESET, WINDOW = range(1, 6)
END = 1
CANCELLED, REFUSED, BROKEN = range(3)
ROOM = 65536
HEADER = struct.Struct(">IBBI")


class Stream:
    """One exchange as a peer sees it. ``takes``: whether the other side gets room for more of its body."""

    def __init__(self, peer: "Peer", number: int) -> None:
        self.peer = peer
        self.number = number
        self.start = ""
        self.fields: list[tuple[str, str]] = []
        self.body = bytearray()
        self.trailers: list[tuple[str, str]] = []
        self.ended = False
        self.reset: int | None = None
        self.takes = peer.takes
        self.room = ROOM
        self._owed = 0
        self._change = asyncio.Event()

    def __repr__(self) -> str:
        return f"<{self.number} {self.start!r} {len(self.body)} ended={self.ended} reset={self.reset}>"

    def get(self, name: str) -> str | None:
        values = [value for key, value in self.fields if key.lower() == name]
        assert len(values) <= 1, self.fields
        return values[0] if values else None

    # -- what is sent

    def head(self, start: str, *lines: str, end: bool = False) -> Self:
        return self._frame(HEAD, "".join(f"{line}\r\n" for line in (start, *lines)).encode(), end)

    async def send(self, data: bytes, *, end: bool = False) -> Self:
        """A piece of the body, as the other side gives room for it."""
        while data:
            await self.until(lambda: self.room > 0)
            piece, data = data[: self.room], data[self.room :]
            self.room -= len(piece)
            self._frame(BODY, piece, end and not data)
        return self

    def finish(self, *lines: str) -> Self:
        """The end, with these trailers if there are some."""
        kind = TRAILERS if lines else BODY
        return self._frame(kind, "".join(f"{line}\r\n" for line in lines).encode(), True)

    def cancel(self, why: int = CANCELLED) -> Self:
        return self._frame(RESET, bytes([why]), True)

    def take_on(self) -> Self:
        """Gives the room that it has kept back."""
        self.takes = True
        return self._grant()

    def _grant(self) -> Self:
        if self._owed and self.takes and not self.ended:
            owed, self._owed = self._owed, 0
            self._frame(WINDOW, struct.pack(">I", owed), False)
        return self

    def _frame(self, kind: int, payload: bytes, end: bool) -> Self:
        self.peer.transport.write(HEADER.pack(self.number, kind, END if end else 0, len(payload)) + payload)
        return self

    # -- what comes

    def received(self, kind: int, end: bool, payload: bytes) -> None:
        self.ended = self.ended or end
        if kind == HEAD:
            self.start, *lines = payload.decode().removesuffix("\r\n").split("\r\n")
            self.fields = pairs(lines)
        elif kind == BODY:
            self.body += payload
            self._owed += len(payload)
            self._grant()
        elif kind == TRAILERS:
            self.trailers = pairs(payload.decode().removesuffix("\r\n").split("\r\n"))
        elif kind == RESET:
            self.reset = payload[0]
        elif kind == WINDOW:
            self.room += struct.unpack(">I", payload)[0]
        self.changed()

    def changed(self) -> None:
        self._change.set()
        self._change = asyncio.Event()

    async def until(self, condition: Callable[[], object]) -> Self:
        """Waits until that is so of what came; the stream, or its connection, must not end before."""
        async with asyncio.timeout(20):
            while not condition():
                assert self.reset is None, self
                assert not self.peer.lost, self
                await self._change.wait()
        return self

    async def whole(self) -> Self:
        """All has come, trailers with it."""
        return await self.until(lambda: self.ended)


class Peer(asyncio.Protocol):
    """One connection."""

    def __init__(self, *, takes: bool = True, opened: Callable[["Stream"], None] | None = None) -> None:
        self.takes = takes
        self.opened = opened
        self.streams: dict[int, Stream] = {}
        self.lost = False
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True
        for stream in self.streams.values():
            stream.changed()

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        while len(data) >= 10:
            number, kind, flags, length = HEADER.unpack_from(data)
            if len(data) < 10 + length:
                break
            payload, data = data[10 : 10 + length], data[10 + length :]
            stream = self.streams.get(number)
            if stream is None:
                stream = self.streams[number] = Stream(self, number)
                stream.received(kind, bool(flags & END), payload)
                assert self.opened is not None, (number, kind)
                self.opened(stream)
            else:
                stream.received(kind, bool(flags & END), payload)
        self._rest = data

    def request(self, target: str = "/", *lines: str, method: str = "GET", end: bool = True) -> Stream:
        """A client's next stream."""
        number = len(self.streams) + 1
        stream = self.streams[number] = Stream(self, number)
        return stream.head(f"{method} {target}", "host: h", *lines, end=end)


class FrameServer:
    """An upstream that speaks frames. ``answer`` is run for each stream that is opened."""

    def __init__(self, answer: Callable[[Stream], Awaitable[object]], *, takes: bool = True) -> None:
        self.answer = answer
        self.takes = takes
        self.peers: list[Peer] = []
        self.streams: list[Stream] = []
        self._tasks: list[asyncio.Future[object]] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.get_running_loop().create_server(self._accept, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for peer in self.peers:
            peer.transport.close()
        for task in self._tasks:
            task.cancel()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception) and error is None:
                raise result

    def _accept(self) -> Peer:
        self.peers.append(Peer(takes=self.takes, opened=self._opened))
        return self.peers[-1]

    def _opened(self, stream: Stream) -> None:
        self.streams.append(stream)
        self._tasks.append(asyncio.ensure_future(self.answer(stream)))


def pairs(lines: list[str]) -> list[tuple[str, str]]:
    return [(name, value) for line in lines if line for name, _, value in [line.partition(": ")]]
