"""Processes that share limits: each runs a program of a few lines and writes what it did into memory that we read."""

import mmap
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from fastgate._core.memory.segment import Segment

ROOM = 1 << 20


class Worker:
    """Another process with the segment attached, and with memory: ``admitted`` of its own, ``board`` for all."""

    def __init__(self, segment: Segment, program: str, board: int) -> None:
        self.file = os.memfd_create("admitted")
        os.ftruncate(self.file, ROOM)
        head = (
            "import mmap, sys\n"
            "from fastgate._core.limits.concurrency import Concurrency\n"
            "from fastgate._core.limits.rate import FixedWindow, SlidingWindowLog, TokenBucket\n"
            "from fastgate._core.probes.limits import die_with_every_lock, flood, flood_shares, take_numbers\n"
            "from fastgate._core.memory.segment import Segment\n"
            f"segment = Segment.attach({segment.fd})\n"
            "limits, logs, shares = (segment.region(name) for name in ('limits', 'logs', 'shares'))\n"
            f"admitted = mmap.mmap({self.file}, {ROOM})\n"
            f"board = mmap.mmap({board}, 4096)\n"
            "print('ready', flush=True)\n"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", head + program],
            pass_fds=[segment.fd, self.file, board],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def hear(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()

    def output(self) -> str:
        output, _ = self.process.communicate(timeout=30)
        assert self.process.returncode == 0
        return output

    def admissions(self) -> list[tuple[int, int]]:
        """When each was admitted: after the first time, which the limit was told, and before the second."""
        with mmap.mmap(self.file, ROOM) as memory:
            words = memoryview(memory).cast("Q")
            found = [(words[2 * number + 1], words[2 * number + 2]) for number in range(words[0])]
            words.release()
        return found


@contextmanager
def workers(segment: Segment, program: str, count: int = 4) -> Iterator[list[Worker]]:
    board = os.memfd_create("board")
    os.ftruncate(board, 4096)
    started = [Worker(segment, program.replace("SLOT", str(slot)), board) for slot in range(count)]
    try:
        for worker in started:
            assert worker.hear() == "ready"
        yield started
    finally:
        for worker in started:
            if worker.process.poll() is None:
                worker.kill()
            os.close(worker.file)
        os.close(board)
