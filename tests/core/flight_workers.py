"""Processes that lead and follow flights, and note on a board what happens."""

import mmap
import os
import random
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from fastgate._core.memory.cache.flights import Flights, flights_size
from fastgate._core.probes import flight_probe as probe
from fastgate._core.probes.shared import region_in

LAYOUT = 1
BOARD = 1 << 16
# Words of the board: the number of the round, what went wrong or right, then who leads the flight of a round.
ROUND, DOUBLE, LOST, SLEPT, LED, CUT, READY, OVER, LEADERS = range(9)
PLACES = BOARD // 8 - LEADERS


def wakers_for(slots: int) -> list[int]:
    return [os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC) for _ in range(slots)]


def flights_in(slot: int, slots: int, wakers: list[int], fd: int = -1) -> Flights:
    return Flights(region_in(fd, "flights", LAYOUT, flights_size(slots), slots), slot, wakers)


class Worker:
    """What runs in a process: round after round it leads the flight of the round, or follows it to its end."""

    def __init__(self, slot: int, slots: int, memory: int, board: int, wakers: list[int]) -> None:
        self.flights = flights_in(slot, slots, wakers, memory)
        probe.dawdle(self.flights)
        self.slot = slot
        self.slots = slots
        self.mapped = mmap.mmap(board, BOARD)
        self.board = memoryview(self.mapped)
        self.words = self.board.cast("Q")
        self.poll = select.poll()
        self.poll.register(wakers[slot], select.POLLIN)
        self.draw = random.Random(os.getpid())

    def wait_for_all(self) -> None:
        """How long a process takes to start says nothing: none begins before all that are started first can."""
        probe.add(self.board, READY, 1)
        while self.words[READY] < self.slots:
            time.sleep(0.001)

    def run(self) -> None:
        self.wait_for_all()
        while not self.words[OVER] and not self.words[LOST]:
            number = self.words[ROUND]
            way, ticket = probe.enter(self.flights, hash_of(number))
            if way == "lead":
                self.lead(number, ticket)
            elif way == "follow":
                self.follow(number, ticket)

    def flood(self, milliseconds: int, keys: int) -> None:
        """Flights of one bucket, as fast as they come."""
        self.wait_for_all()
        until = time.monotonic_ns() // 1_000_000 + milliseconds
        counts = probe.flood_flights(self.flights, os.getpid(), until, keys, self.board[LEADERS * 8 :])
        for place, count in zip((LED, SLEPT, CUT, DOUBLE), counts, strict=True):
            probe.add(self.board, place, count)

    def lead(self, number: int, ticket: tuple[int, int]) -> None:
        """At most one does for one key; it ends the round before it ends the flight."""
        place = LEADERS + number % PLACES
        if not probe.swap(self.board, place, 0, self.slot + 1):
            probe.add(self.board, DOUBLE, 1)
        probe.add(self.board, LED, 1)
        if self.draw.random() < 0.5:
            time.sleep(self.draw.random() * 0.002)
        if self.draw.random() < 0.1:
            probe.swap(self.board, place, self.slot + 1, 0)
            probe.give_up(self.flights, ticket)
            return
        if self.draw.random() < 0.7:
            probe.answered(self.flights, ticket, (number, 0, 0, 0))
            for size in range(1, self.draw.randrange(1, 6)):
                time.sleep(self.draw.random() * 0.0004)
                probe.fill(self.flights, ticket, size)
        probe.swap(self.board, ROUND, number, number + 1)
        probe.swap(self.board, place, self.slot + 1, 0)
        if self.draw.random() < 0.2:
            probe.fail(self.flights, ticket, 7)
        else:
            probe.complete(self.flights, ticket)

    def follow(self, number: int, ticket: tuple[int, int]) -> None:
        follower = probe.Follower(self.flights, ticket)
        while True:
            state, _ = follower.look()
            if state == "given up" and probe.take_over(self.flights, ticket, 0):
                self.lead(number, ticket)
                return
            if state == "failed" and probe.look(self.flights, ticket)[4] == 0:
                probe.add(self.board, CUT, 1)
            if state not in ("asking", "filling", "given up"):
                return
            if not follower.wait():
                continue
            probe.add(self.board, SLEPT, 1)
            while follower.is_waiting():
                # A leader that is not given the processor may be late to wake it, but not so late.
                if not self.poll.poll(1000) and follower.has_news() and not self.poll.poll(3000):
                    probe.add(self.board, LOST, 1)
                    follower.leave()
                    return
                self.flights.woken()


def hash_of(number: int) -> int:
    return random.Random(number).randrange(1 << 64)


class Crowd:
    """Worker processes, which may be killed and are replaced."""

    def __init__(self, slots: int, program: str) -> None:
        self.slots = slots
        self.program = program
        self.memory, self.file = os.memfd_create("flights"), os.memfd_create("board")
        os.ftruncate(self.memory, flights_size(slots))
        os.ftruncate(self.file, BOARD)
        self.wakers = wakers_for(slots)
        self.mapped = mmap.mmap(self.file, BOARD)
        self.board = memoryview(self.mapped)
        self.words = self.board.cast("Q")
        self.supervisor = flights_in(-1, slots, self.wakers, self.memory)
        self.processes = [self.start(slot) for slot in range(slots)]

    def start(self, slot: int) -> "subprocess.Popen[str]":
        arguments = (slot, self.slots, self.memory, self.file, self.wakers)
        return subprocess.Popen(
            [sys.executable, "-c", f"from core.flight_workers import Worker; Worker{arguments}.{self.program}"],
            pass_fds=[self.memory, self.file, *self.wakers],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            text=True,
        )

    def kill_a_leader(self) -> int:
        """Kills who leads the flight of the round; what a supervisor does then. Its slot, -1 = there was none."""
        leader = self.words[LEADERS + self.words[ROUND] % PLACES] - 1
        return self.kill(leader) if leader >= 0 else -1

    def kill(self, leader: int) -> int:
        self.processes[leader].send_signal(signal.SIGKILL)
        self.processes[leader].wait(timeout=60)
        for place in range(LEADERS, LEADERS + PLACES):
            probe.swap(self.board, place, leader + 1, 0)
        self.supervisor.release(leader)
        self.processes[leader] = self.start(leader)
        return leader

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        self.words.release()
        self.board.release()
        self.mapped.close()
        for descriptor in (self.memory, self.file, *self.wakers):
            os.close(descriptor)


@contextmanager
def crowd(slots: int, program: str = "run()") -> Iterator[Crowd]:
    made = Crowd(slots, program)
    try:
        yield made
    finally:
        made.close()
