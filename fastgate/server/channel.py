"""The control channel between supervisor and worker: messages and descriptors over a pair of Unix stream sockets.

A frame is the length of the message (4 bytes, big-endian), the number of descriptors that travel with it (1 byte), and
the message in MessagePack. Descriptors are attached to the first byte of their frame; the kernel never merges
the data of two sends of which one carries descriptors, so their order is the order of the frames.

Sending never blocks: what the peer does not take yet waits in a buffer, because neither side may be stopped by the
other one being stopped.
"""

import errno
import os
import socket
from array import array
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from fastgate.server.control_messages import Message, decode, encode

if TYPE_CHECKING:
    import asyncio

_HEAD = 5
_READ = 262144
_MAX_DESCRIPTORS = 250  # the kernel's limit is 253 (SCM_MAX_FD)
_CROWDED = 0.05  # seconds until it tries again, when too many descriptors are under way
_ANCILLARY = socket.CMSG_SPACE(253 * array("i").itemsize)

Handler = Callable[[Message, list[int]], None]


class Channel:
    """One end of the control channel. The descriptors that come with a message belong to its handler."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.closed = False
        self._received = bytearray()
        self._descriptors: array[int] = array("i")
        self._unsent: deque[tuple[bytes, list[int]]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._handler: Handler | None = None
        self._gone: Callable[[], None] | None = None
        self._writing = False

    def wait(self) -> tuple[Message, list[int]] | None:
        """Blocks until a message is there; None when the peer is gone. For a process that has no event loop yet."""
        self.sock.setblocking(True)
        while (message := self._next()) is None:
            if not self._receive():
                return None
        return message

    def attach(self, loop: "asyncio.AbstractEventLoop", handler: Handler, gone: Callable[[], None]) -> None:
        """From now on messages go to ``handler``, and ``gone`` is called once when the peer is gone."""
        self.sock.setblocking(False)
        self._loop, self._handler, self._gone = loop, handler, gone
        loop.add_reader(self.sock, self._readable)
        self._flush()
        self._deliver()

    def send(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Sends a message with copies of these descriptors. A peer that is gone is ignored."""
        if self.closed:
            return
        if len(descriptors) > _MAX_DESCRIPTORS:
            raise ValueError(f"at most {_MAX_DESCRIPTORS} descriptors go with a message")
        body = encode(message)
        frame = len(body).to_bytes(4, "big") + bytes([len(descriptors)]) + body
        self._unsent.append((frame, [os.dup(each) for each in descriptors]))
        self._flush()

    def send_all(self, message: Message, descriptors: Sequence[int]) -> None:
        """Sends a message as often as it takes for all of these descriptors to travel with it, in their order."""
        for begin in range(0, len(descriptors), _MAX_DESCRIPTORS):
            self.send(message, descriptors[begin : begin + _MAX_DESCRIPTORS])

    def finish(self) -> None:
        """Delivers what a peer that is gone has still said, then closes this end."""
        while not self.closed:
            try:
                alive = self._receive()
            except (BlockingIOError, InterruptedError):
                break
            self._deliver()
            if not alive:
                break
        self.close()

    def close(self) -> None:
        """Closes this end; messages that were not sent or not read are lost."""
        if self.closed:
            return
        self.closed = True
        if self._loop is not None:
            self._loop.remove_reader(self.sock)
            if self._writing:
                self._loop.remove_writer(self.sock)
        for _, descriptors in self._unsent:
            _close(descriptors)
        self._unsent.clear()
        _close(self._descriptors.tolist())
        self.sock.close()

    def _flush(self) -> None:
        while self._unsent:
            data, descriptors = self._unsent[0]
            try:
                rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", descriptors))] if descriptors else []
                sent = self.sock.sendmsg([data], rights, socket.MSG_DONTWAIT)
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:
                if error.errno == errno.ETOOMANYREFS:
                    # The kernel bounds what a user has under way (unix(7)); workers that start take theirs soon.
                    self._wait_for_room()
                    return
                # The reading side notices that the peer is gone, after it read what the peer still said.
                for _, left in self._unsent:
                    _close(left)
                self._unsent.clear()
                break
            _close(descriptors)
            if sent == len(data):
                self._unsent.popleft()
            else:
                self._unsent[0] = (data[sent:], [])
        if self._loop is not None and self._writing != bool(self._unsent):
            self._writing = not self._writing
            if self._writing:
                self._loop.add_writer(self.sock, self._flush)
            else:
                self._loop.remove_writer(self.sock)

    def _wait_for_room(self) -> None:
        """Tries again a little later. Before there is a loop, `attach` does."""
        if self._loop is not None and not self.closed:
            if self._writing:
                self._writing = False
                self._loop.remove_writer(self.sock)
            self._loop.call_later(_CROWDED, self._flush)

    def _readable(self) -> None:
        try:
            alive = self._receive()
        except (BlockingIOError, InterruptedError):
            return
        self._deliver()
        if not alive and not self.closed:
            gone = self._gone
            self.close()
            if gone is not None:
                gone()

    def _receive(self) -> bool:
        try:
            # Not recv_fds(), which forgets its flags: a process that a plugin starts must not inherit a lent socket.
            data, ancillary, _, _ = self.sock.recvmsg(_READ, _ANCILLARY, socket.MSG_CMSG_CLOEXEC)
        except ConnectionError:
            return False
        for level, kind, rights in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                self._descriptors.frombytes(rights[: len(rights) - len(rights) % self._descriptors.itemsize])
        self._received += data
        return bool(data)

    def _next(self) -> tuple[Message, list[int]] | None:
        if len(self._received) < _HEAD:
            return None
        end = _HEAD + int.from_bytes(self._received[:4], "big")
        if len(self._received) < end:
            return None
        message = decode(memoryview(self._received)[_HEAD:end].tobytes())
        descriptors = [self._descriptors.pop(0) for _ in range(self._received[4])]
        del self._received[:end]
        return message, descriptors

    def _deliver(self) -> None:
        while not self.closed and self._handler is not None and (message := self._next()) is not None:
            self._handler(*message)


def _close(descriptors: list[int]) -> None:
    for each in descriptors:
        os.close(each)
    descriptors.clear()
