"""Processes that purge and read in memory that they share."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from fastgate._core.memory.cache.purges import Purges, purges_size
from fastgate._core.probes.shared import region_in

LAYOUT = 2
BOARD = 16384


def purges_in(store: int, fd: int = -1) -> Purges:
    """Purges for a store of so many bytes, in a memory file or in memory of their own."""
    return Purges(region_in(fd, "purges", LAYOUT, purges_size(store), 1))


class Flood:
    """Another process that purges, fetches and reads until it is told to stop."""

    def __init__(self, memory: int, board: int, store: int, seed: int, every: int, keys: int) -> None:
        program = f"""
import mmap
from core.purge_workers import purges_in
from fastgate._core.probes.purge_probe import flood_purges
purges, board = purges_in({store}, {memory}), mmap.mmap({board}, {BOARD})
print("ready", flush=True)
print(*flood_purges(purges, {seed}, int(input()), {every}, {keys}, memoryview(board)))
"""
        self.process = subprocess.Popen(
            [sys.executable, "-c", program],
            pass_fds=[memory, board],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )

    def wait(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def start(self, until_ns: int) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{until_ns}\n")
        self.process.stdin.flush()

    def counts(self) -> tuple[int, ...]:
        """Purges, fetches, records that were valid, and of these the wrong ones."""
        output, _ = self.process.communicate(timeout=60)
        assert self.process.returncode == 0
        return tuple(map(int, output.split()))


@contextmanager
def floods(store: int, count: int, seed: int, every: int, keys: int) -> Iterator[tuple[list[Flood], Purges]]:
    memory, board = os.memfd_create("purges"), os.memfd_create("board")
    os.ftruncate(memory, purges_size(store))
    os.ftruncate(board, BOARD)
    started = [Flood(memory, board, store, seed + number, every, keys) for number in range(count)]
    try:
        for flood in started:
            flood.wait()
        yield started, purges_in(store, memory)
    finally:
        for flood in started:
            flood.process.kill()
            flood.process.communicate()
        os.close(memory)
        os.close(board)


