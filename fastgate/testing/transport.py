"""One transport without a socket, for all that drives the gateway's protocols by hand: plays, courses, benchmarks."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["FakeTransport"]


class FakeTransport:
    """Both ends of a connection: towards the gateway what uvloop's transports are, towards a test the peer.

    What the peer sends arrives at once, unless the gateway does not read: then it waits until reading goes on. What
    the gateway writes is kept for `taken`. Nothing else happens by itself: that the peer takes no more, how much is
    unsent, that the connection is lost is said by the test.

    ``call_soon`` is that of the loop: what a real transport tells its protocol in a later turn (the connection is
    lost, reading goes on) is told through it. ``settle`` lets everything that is ready have its turn, where the loop
    is run by hand; it is called before and after the peer does something. ``extra`` is what `get_extra_info` knows
    beside addresses and socket. ``mistakes`` gets what no transport would have let pass. ``write`` takes what the
    gateway writes, unseen, in the place of `taken`: for a benchmark, where it must not cost a function in Python.

    Attributes:
        write: What the gateway calls.
        unsent: Bytes that the peer has not taken, as the gateway is told; set by the test.
        reading: Whether the gateway reads.
        writes: How often the gateway has written.
        closed: The gateway has closed or aborted it, or it is lost.
        aborted: The gateway has aborted it.
        eof_written: The gateway has closed its sending side.
        lost: The gateway knows that the connection is no more.
    """

    def __init__(
        self,
        protocol: Any,
        call_soon: Callable[..., object],
        *,
        peername: object = ("203.0.113.7", 5555),
        sockname: object = ("198.51.100.1", 8080),
        extra: Mapping[str, object] | None = None,
        settle: Callable[[], object] | None = None,
        mistakes: list[str] | None = None,
        write: Callable[[bytes], object] | None = None,
    ) -> None:
        # Before all other attributes: so it is found in one step, and a benchmark counts the gateway.
        self.write = write or self._write
        self._protocol = protocol
        self._call_soon = call_soon
        self._settle = settle or (lambda: None)
        self._extra = {"peername": peername, "sockname": sockname, **(extra or {})}
        self._socket: _QuietSocket | None = None
        self._arrived: deque[bytes | None] = deque()
        self._written: deque[bytes] = deque()
        self._limits = (16_384, 65_536)
        self.mistakes = mistakes if mistakes is not None else []
        self._paused = False
        self.unsent = 0
        self.reading = True
        self.writes = 0
        self.closed = self.aborted = self.eof_written = self.lost = False
        protocol.connection_made(self)

    # -- the peer's side

    def send(self, *pieces: bytes) -> None:
        """These pieces arrive, one after the other."""
        self._arrived.extend(pieces)
        self._deliver()

    def ask(self, *pieces: bytes) -> bytes:
        """These pieces arrive; what was written since the last look."""
        self.send(*pieces)
        return self.taken()

    def eof(self) -> None:
        """The peer has closed its sending side."""
        self._arrived.append(None)
        self._deliver()

    def send_and_close(self, data: bytes) -> None:
        """Bytes arrive, and the end with them: in one turn of the loop."""
        self._protocol.data_received(data)
        if not self._protocol.eof_received():
            self.close()
        self._settle()

    def lose(self, error: Exception | None = None) -> None:
        """The connection is gone."""
        self.closed = True
        self._call_soon(self._lose, error)
        self._settle()

    def hang_up_unseen(self) -> None:
        """The peer closes, and only the socket knows."""
        self._made_socket().peer.close()

    def send_unseen(self, data: bytes) -> None:
        """Bytes lie in the socket, and nobody has been told yet."""
        self._made_socket().peer.send(data)

    def stop_taking(self) -> None:
        """The peer takes no more bytes: the gateway is told to write nothing."""
        self._paused = True
        self._protocol.pause_writing()
        self._settle()

    def take_on(self) -> None:
        """The peer takes bytes again."""
        self._paused = False
        self._protocol.resume_writing()
        self._settle()

    def taken(self) -> bytes:
        """What was written since the last look."""
        return b"".join(self.pieces())

    def pieces(self) -> list[bytes]:
        """The same, write by write."""
        self._settle()
        self._take_from_socket()
        pieces = [*self._written]
        self._written.clear()
        return pieces

    @property
    def has_written(self) -> bool:
        """Whether something was written since the last look."""
        return bool(self._written)

    @property
    def lingers(self) -> bool:
        """False: the gateway wants the connection to be reset when it closes."""
        return self._socket is None or self._socket.lingers

    def _take_from_socket(self) -> None:
        """What the gateway has sent past the transport, as it may while nothing is unsent."""
        if self._socket is not None and (data := self._socket.arrived()):
            if self.unsent:
                self.mistakes.append(f"sent past what is unsent: {data!r}")
            self.writes += 1
            self._written.append(data)

    def _deliver(self) -> None:
        self._settle()
        while self._arrived and self.reading and not self.closed:
            data = self._arrived.popleft()
            if data is not None:
                self._protocol.data_received(data)
            elif not self._protocol.eof_received():
                self.close()
            self._settle()

    def _lose(self, error: Exception | None) -> None:
        if not self.lost:
            self.lost = self.closed = True
            protocol, self._protocol = self._protocol, None
            protocol.connection_lost(error)
        if self._socket is not None:
            self._take_from_socket()
            self._socket.close()

    def _made_socket(self) -> _QuietSocket:
        if self._socket is None:
            self._socket = _QuietSocket()
        return self._socket

    # -- the gateway's side

    def _write(self, data: Any) -> None:
        if self.closed or self.eof_written:
            self.mistakes.append(f"written after the end: {data!r}")
            return
        if not isinstance(data, bytes) or not data:
            self.mistakes.append(f"not bytes, or none of them, were written: {data!r}")
        self._take_from_socket()
        self.writes += 1
        self._written.append(data)
        if self.unsent > self._limits[1] and not self._paused:
            self._paused = True
            self._protocol.pause_writing()

    def writelines(self, pieces: list[bytes]) -> None:
        """One write."""
        self.write(b"".join(pieces))

    def can_write_eof(self) -> bool:
        """Always."""
        return True

    def write_eof(self) -> None:
        """Nothing may be written behind this."""
        self.eof_written = True

    def pause_reading(self) -> None:
        """What arrives waits."""
        self.reading = False

    def resume_reading(self) -> None:
        """What has arrived meanwhile is told soon."""
        self.reading = True
        if self._arrived:
            self._call_soon(self._deliver)

    def is_reading(self) -> bool:
        """Whether what arrives is told."""
        return self.reading and not self.closed

    def get_write_buffer_size(self) -> int:
        """As the test has it."""
        return self.unsent

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Low and high: a write is held to be too much while more than the latter is unsent, as the test has it."""
        return self._limits

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """See `get_write_buffer_limits`; one that is not given follows from the other, as asyncio has it."""
        if high is None:
            high = 65_536 if low is None else 4 * low
        self._limits = (high // 4 if low is None else low), high

    def is_closing(self) -> bool:
        """Whether it was closed or is lost."""
        return self.closed

    def close(self) -> None:
        """The connection is lost soon; where something is unsent, when the test says so."""
        if not self.closed:
            self.closed = True
            if not self.unsent:
                self._call_soon(self._lose, None)

    def abort(self) -> None:
        """The connection is lost soon, whatever is unsent."""
        self.aborted = self.closed = True
        self._call_soon(self._lose, None)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Addresses, a socket on which nothing happens unless a test wants it, and what it was given."""
        return self._made_socket() if name == "socket" else self._extra.get(name, default)

    def get_protocol(self) -> Any:
        """Who is told what happens; None when the connection is lost."""
        return self._protocol

    def set_protocol(self, protocol: Any) -> None:
        """Somebody else is told from now on."""
        self._protocol = protocol


class _QuietSocket:
    """What a transport shows of its socket. The core asks the descriptor of a kept connection whether its peer left."""

    family = socket.AF_INET

    def __init__(self) -> None:
        self._own, self.peer = socket.socketpair()
        self._own.setblocking(False)
        self.peer.setblocking(False)
        self.lingers = True

    def arrived(self) -> bytes:
        pieces = []
        try:
            while piece := self.peer.recv(1 << 20):
                pieces.append(piece)
        except OSError:  # nothing more, or the peer is closed
            pass
        return b"".join(pieces)

    def fileno(self) -> int:
        return self._own.fileno()

    def setsockopt(self, level: int, option: int, value: int | bytes) -> None:
        if (level, option) == (socket.SOL_SOCKET, socket.SO_LINGER):
            self.lingers = False

    def close(self) -> None:
        self._own.close()
        self.peer.close()
