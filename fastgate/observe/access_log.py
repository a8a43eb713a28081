"""Where access log lines go: memory first, then many of them in one write, so that no disk or pipe holds up a request.

There are two ways, and a writer that was given a loop begins with the first where it can:

* **In the loop's own turn**, for a file on a local disk: whoever gathers the lines writes to ``descriptor`` by itself.
  A write of many lines is a copy into the kernel's memory there, some microseconds for a block; a thread beside the
  loop costs every request more, since a process with threads pays for locks, for cancellation points and for its open
  files what one without them does not. A place that has once been slow, or has not taken all, is left to the thread
  (`left`).
* **By a thread**, for everything else: pipes, terminals, sockets, file systems that are not on a disk of this machine
  (network, FUSE, memory), and what was too slow. The worker appends whole lines; the thread writes them in the order in
  which they came, in batches. At most ``capacity`` bytes wait; what does not fit is dropped and counted.

Lines are on their way at most `FLUSH_INTERVAL` seconds after they came. What holds in both ways:

* Only whole lines are dropped, and whole lines are written in one call where the system allows it: files are opened
  for appending, so that several workers can share one; pipes and sockets get pieces of at most PIPE_BUF bytes, which
  the kernel does not mix with those of others.
* The flags of an inherited standard output are never changed: they belong to everybody who shares it. It is asked
  whether it has room before it is written to, so that a reader that has stopped reading holds up the log alone.
* A place that cannot be written to (disk full, reader gone) is said once and tried again every `RETRY_INTERVAL`
  seconds. When it works again, that is said with the number of lines that were lost.
"""

import errno
import logging
import os
import select
import stat
import sys
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from fastgate.config import ConfigError, Problem

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable

CAPACITY = 8 * 1024 * 1024
FLUSH_INTERVAL = 0.5
RETRY_INTERVAL = 1.0
BATCH = 256 * 1024  # so much waits at most for more
PIECE = 64 * 1024  # is written at once

_log = logging.getLogger("fastgate.access_log")


class LogWriter:
    """Writes lines to a file, or to standard output for ``"-"``: in the turns of ``loop`` or from a thread of its own.

    ``collect`` is called before each flush, for lines that are gathered elsewhere: it appends them. Whoever gathers
    calls `wake` with the first. With a ``loop`` all calls are made in its thread, but for `close` after `leave_loop`.
    Raises `ConfigError` when the file cannot be opened.
    """

    def __init__(
        self,
        path: str,
        *,
        capacity: int = CAPACITY,
        where: str = "gateway.access_log.path",
        loop: "AbstractEventLoop | None" = None,
    ) -> None:
        self.path = path
        self.descriptor = -1
        """Of a file that is written to in the loop's turn; -1: `append` takes the lines."""
        self.dropped = 0
        """Lines that were not written, for want of room or because their file went away in the middle of one."""
        self.collect: Callable[[], object] | None = None
        self._name = "access log on standard output" if path == "-" else f"access log {path}"
        self._capacity = capacity
        self._changed = threading.Condition()
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._signalled = False
        self._reopen = False
        self._stale = False  # the path could not be opened again
        self._closing = False
        self._give_up_at = 0.0
        # Of the thread alone:
        self._rest = memoryview(b"")
        self._torn = False
        self._failure: str | None = None
        self._reported = 0
        self._output: _Output | None = None
        try:
            self._output = _Output(path)
        except OSError as error:
            if error.errno != errno.ENXIO:  # a FIFO without a reader may get one later
                raise ConfigError([Problem(path=where, message=f"cannot open {path}: {error.strerror}")]) from error
        self._loop = loop
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
        if loop is not None and self._output is not None:
            self.descriptor = self._output.quick_descriptor()
        if self.descriptor < 0:
            self._thread.start()

    def append(self, lines: bytes, count: int = 1) -> bool:
        """Takes ``count`` whole lines, each with its line feed. False: there is no room, they are dropped."""
        with self._changed:
            if self._closing or self._size + len(lines) > self._capacity:
                self.dropped += count
                return False
            self._waiting.append(lines)
            self._size += len(lines)
            if not self._signalled or self._size >= BATCH > self._size - len(lines):
                self._signalled = True
                self._changed.notify()
        return True

    def wake(self) -> None:
        """Says that ``collect`` has something to append."""
        if self.descriptor >= 0:
            assert self._loop is not None
            self._loop.call_later(FLUSH_INTERVAL, self._collect)
            return
        with self._changed:
            self._signalled = True
            self._changed.notify()

    def reopen(self) -> None:
        """Opens the path again, after the file was renamed. Until that works the old file goes on being used."""
        if self.descriptor >= 0:
            self._collect()
        if self.descriptor >= 0:
            self._stale = not self._open()
            assert self._output is not None
            self.descriptor = self._output.quick_descriptor()
            if self._stale or self.descriptor < 0:
                self.left(b"")
            return
        with self._changed:
            self._reopen = True
            self._changed.notify()

    def leave_loop(self) -> None:
        """The loop is about to end: another thread may call `close`, which writes what is still there."""
        self.descriptor = -1

    def close(self, timeout: float = 2.0) -> None:
        """Writes what waits and closes the file; gives up after ``timeout`` seconds on a place that takes nothing."""
        self.leave_loop()
        self._collect()
        with self._changed:
            self._give_up_at = time.monotonic() + timeout
            self._closing = True
            self._changed.notify()
        if self._thread.ident is None:
            self._thread.start()
        self._thread.join(timeout + 0.5)

    def left(self, lines: bytes, torn: bool = False) -> None:
        """Takes what was not written to `descriptor`, and leaves all that comes to the thread from now on.

        ``torn``: the first of them is the rest of a line.
        """
        self.descriptor = -1
        self._rest = memoryview(lines)
        self._size += len(lines)
        self._torn = torn
        self._signalled = True
        self._thread.start()

    def _collect(self) -> None:
        if self.collect is not None:
            self.collect()

    # --- in the thread; `_open` also in the loop's turn, as long as there is no thread ---

    def _run(self) -> None:
        closing = False
        while not closing:
            self._wait()
            closing = self._closing
            if self._reopen or self._stale:
                self._reopen = False
                self._stale = not self._open()
            if not closing:
                self._collect()
            self._flush()
            self._report_dropped()
        lost = self._lines_left()
        if lost:
            self.dropped += lost
            _log.error("%s: lost %d lines that could not be written", self._name, lost)
        if self._output is not None:
            self._output.close()

    def _wait(self) -> None:
        """Until there are lines and some more have gathered, or until it is time to try again."""
        with self._changed:
            if self._failure is not None or self._stale:
                self._changed.wait_for(lambda: self._reopen or self._closing, RETRY_INTERVAL)
            else:
                self._changed.wait_for(lambda: self._signalled or self._reopen or self._closing)
                self._changed.wait_for(lambda: self._size >= BATCH or self._reopen or self._closing, FLUSH_INTERVAL)
            self._signalled = False

    def _flush(self) -> None:
        if self._output is None and not self._open():
            return
        while self._rest or self._next_batch():
            assert self._output is not None
            try:
                written = self._output.write(self._rest)
            except OSError as error:
                self._failed(error.strerror or str(error))
                return
            if written:
                self._wrote(written)
            elif self._reopen or (self._closing and time.monotonic() > self._give_up_at):
                return

    def _next_batch(self) -> bool:
        pieces: list[bytes] = []
        size = 0
        with self._changed:
            while self._waiting and size < PIECE:
                pieces.append(self._waiting.popleft())
                size += len(pieces[-1])
        # A single piece is not copied. More than PIECE would be: the allocator maps and unmaps such blocks each time.
        self._rest = memoryview(b"".join(pieces))
        return size > 0

    def _wrote(self, written: int) -> None:
        self._torn = self._rest[written - 1] != ord("\n")
        self._rest = self._rest[written:]
        with self._changed:
            self._size -= written
        if self._failure is not None and not self._stale:
            self._failure = None
            _log.warning("%s: writing again; %d lines were lost", self._name, self.dropped - self._reported)
            self._reported = self.dropped

    def _failed(self, reason: str) -> None:
        if reason != self._failure:
            _log.error("%s: %s; trying again", self._name, reason)
            self._failure = reason

    def _open(self) -> bool:
        try:
            output = _Output(self.path)
        except OSError as error:
            self._failed(f"cannot open the file: {error.strerror}")
            return False
        if self._output is not None:
            self._output.close()
        self._output = output
        if self._torn:
            self._drop_torn_line()
        return True

    def _drop_torn_line(self) -> None:
        """The first part of a line lies in the old file: its rest makes no sense in the new one."""
        end = bytes(self._rest).find(b"\n") + 1
        with self._changed:
            self._size -= end
            self.dropped += 1
        self._rest = self._rest[end:]
        self._torn = False

    def _report_dropped(self) -> None:
        if self._failure is None and self.dropped > self._reported:
            _log.warning("%s: too slow for the traffic; dropped %d lines", self._name, self.dropped - self._reported)
            self._reported = self.dropped

    def _lines_left(self) -> int:
        with self._changed:
            return bytes(self._rest).count(b"\n") + sum(lines.count(b"\n") for lines in self._waiting)


class _Output:
    """An open file, or a stream that is written to in pieces that others' lines are not mixed with."""

    def __init__(self, path: str) -> None:
        self._owned = path != "-"
        if self._owned:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
            self._fd = os.open(path, flags, 0o644)
        else:
            self._fd = 1
        status = os.fstat(self._fd)
        self._is_file = stat.S_ISREG(status.st_mode)
        self._is_quick = self._is_file and is_local(status.st_dev)
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLOUT)

    def write(self, lines: memoryview) -> int:
        """The number of bytes that were taken; 0 when a stream has had no room for a tenth of a second."""
        if self._is_file:
            return os.write(self._fd, lines)
        if not self._poll.poll(100):
            return 0
        piece = lines[: select.PIPE_BUF]
        if len(piece) < len(lines):
            end = bytes(piece).rfind(b"\n") + 1
            piece = piece[: end or len(piece)]
        try:
            return os.write(self._fd, piece)
        except BlockingIOError:
            return 0

    def quick_descriptor(self) -> int:
        """Where a write ends in the kernel's memory and nobody else has to answer first; else -1."""
        return self._fd if self._is_quick else -1

    def close(self) -> None:
        if self._owned:
            os.close(self._fd)


def is_local(device: int) -> bool:
    """Whether a file system lies on a disk of this machine: those of networks and programs have no device driver."""
    return sys.platform == "linux" and os.major(device) != 0
