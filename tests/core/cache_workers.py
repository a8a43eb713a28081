"""Processes that use one cache as hard as they can, and are killed. Each body says by itself whether it is whole.

Run as a program it does so and prints what it found: a process of its own, with one thread, may fork.
"""

import json
import mmap
import os
import random
import signal
import subprocess
import sys
import time
import traceback
from typing import Any

from fastgate._core.memory.cache.cache_file import CacheFile, needed
from fastgate._core.memory.cache.cache_store import CacheStore
from fastgate._core.probes import cache_probe
from fastgate._core.probes.cache_load import COUNTS, store_together, use

PAGE = 4096
SLOTS = 4
KEYS = 200


class Board:
    """What processes found, in memory that outlives them: a page for each slot."""

    def __init__(self) -> None:
        self.memory = mmap.mmap(-1, PAGE * SLOTS)
        self.streams = mmap.mmap(-1, PAGE)

    def words(self, slot: int) -> memoryview:
        return memoryview(self.memory)[PAGE * slot : PAGE * (slot + 1)].cast("Q")

    def totals(self) -> dict[str, int]:
        return {name: sum(self.words(slot)[number] for slot in range(SLOTS)) for number, name in enumerate(COUNTS)}


class Worker:
    """A process that does nothing but use the cache, forked from this one."""

    def __init__(self, file: CacheFile, slot: int, board: Board, seed: int, rounds: int = 0) -> None:
        self.slot = slot
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                store = CacheStore(CacheFile.attach(os.dup(file.fd)), slot)
                use(store, board.words(slot), seed, KEYS, rounds, memoryview(board.streams).cast("Q"))
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        if not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGKILL:
            sys.exit(f"a worker ended by itself: {status}")


def left_in(store: CacheStore, slot: int) -> int:
    """Segments, pins, and scratch segments that belong to a slot."""
    owned = sum(owner == slot for _, _, owner, _ in cache_probe.segments(store))
    return owned + cache_probe.pins(store, slot) + cache_probe.scratch(store)[slot]


def kills(seed: int, count: int) -> dict[str, Any]:
    """Four processes in a store far too small, killed at random moments, one after the other."""
    draw = random.Random(seed)
    file = CacheFile.create(needed(SLOTS) + 65_536, slots=SLOTS)
    store, board = CacheStore(file), Board()
    found: dict[str, Any] = {"open": 0, "reclaimed": 0, "scratch": 0, "left": 0, "dangling": 0, "twice": 0}

    def audit() -> None:
        _, dangling, twice, _ = cache_probe.audit(store)
        found["dangling"] += dangling
        found["twice"] += twice

    workers = [Worker(file, slot, board, draw.getrandbits(60)) for slot in range(SLOTS)]
    for number in range(count):
        time.sleep(draw.random() * 0.03)
        worker = draw.choice(workers)
        slot = worker.slot
        worker.kill()
        states = [state for state, _, owner, _ in cache_probe.segments(store) if owner == slot]
        found["open"] += states.count("open")
        found["reclaimed"] += states.count("reclaim")
        found["scratch"] += cache_probe.scratch(store)[slot]
        for _ in range(draw.randrange(1, 3)):
            store.recover(slot)
            found["left"] += left_in(store, slot)
        if number % 40 == 39:
            for other in workers:
                if other is not worker:
                    other.kill()
                    store.recover(other.slot)
            audit()
            workers = [Worker(file, slot, board, draw.getrandbits(60)) for slot in range(SLOTS)]
        else:
            workers[slot] = Worker(file, slot, board, draw.getrandbits(60))
    for worker in workers:
        worker.kill()
        store.recover(worker.slot)
    audit()
    # What is left can be freed to the last segment: nothing is held by the dead.
    last = CacheStore(file, 0)
    last.clear()
    cache_probe.free_all(last, calls=1000)
    stats = store.stats()
    found |= board.totals() | {f"store_{name}": value for name, value in stats.items()}
    found["lost_segments"] = stats["segments"] - stats["free"] - stats["open"]
    return found


def damage(seed: int, seconds: float) -> dict[str, Any]:
    """Three processes use a store in which a fourth one changes single bits, anywhere but in its first page."""
    draw = random.Random(seed)
    file = CacheFile.create(needed(SLOTS) + 65_536, slots=SLOTS)
    board = Board()
    workers = [Worker(file, slot, board, draw.getrandbits(60)) for slot in range(3)]
    flips = 0
    with mmap.mmap(file.fd, file.size) as memory:
        tables = file.size - file.segments * file.segment_size
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            place = draw.randrange(PAGE, tables if draw.random() < 0.5 else file.size)
            memory[place] ^= 1 << draw.randrange(8)
            flips += 1
            if flips % 64 == 0:
                time.sleep(0.0005)
        before = [sum(board.words(slot)) for slot in range(3)]
        time.sleep(0.3)
        going = [sum(board.words(slot)) > before[slot] for slot in range(3)]
    for worker in workers:
        worker.kill()
    store = CacheStore(file)
    for slot in range(SLOTS):
        store.recover(slot)
    cache_probe.audit(store)
    return {"flips": flips, "going": going, **board.totals(), "damaged": store.stats()["damaged"]}


def races(seed: int, rounds: int) -> dict[str, Any]:
    """Four processes that end by themselves."""
    draw = random.Random(seed)
    file = CacheFile.create(4_000_000, slots=SLOTS)
    store, board = CacheStore(file), Board()
    workers = [Worker(file, slot, board, draw.getrandbits(60), rounds) for slot in range(SLOTS)]
    statuses = [os.waitpid(worker.pid, 0)[1] for worker in workers]
    held = sum(cache_probe.pins(store, slot) for slot in range(SLOTS)) + sum(cache_probe.scratch(store))
    for slot in range(SLOTS):
        store.recover(slot)
    objects, dangling, twice, _ = cache_probe.audit(store)
    stats = store.stats()
    return board.totals() | {
        "statuses": statuses, "held": held, "objects": objects, "dangling": dangling, "twice": twice,
        "counted": stats["objects"], "damaged": stats["damaged"],
    }  # fmt: skip


def together(seed: int, keys: int) -> dict[str, Any]:
    """Two processes store under each key at the same instant."""
    file = CacheFile.create(64 << 20, slots=2)
    meeting = mmap.mmap(-1, PAGE)
    children = []
    for slot in range(2):
        child = os.fork()
        if child == 0:
            try:
                store_together(
                    CacheStore(CacheFile.attach(os.dup(file.fd)), slot), memoryview(meeting).cast("Q"), 2, keys
                )
            finally:
                os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    objects, dangling, twice, _ = cache_probe.audit(CacheStore(file))
    stats = CacheStore(file).stats()
    return {"objects": objects, "dangling": dangling, "twice": twice, "stores": stats["stores"]}


def campaign(what: str, seed: int, amount: float) -> dict[str, Any]:
    """What the function of this name finds, in a process of its own."""
    place = os.path.dirname(os.path.dirname(__file__))
    program = f"from core import cache_workers; cache_workers.main({what!r}, {seed}, {amount})"
    done = subprocess.run(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([place, *filter(None, sys.path)])},
    )
    assert done.returncode == 0, f"{what} with seed {seed} ended with {done.returncode}"
    found: dict[str, Any] = json.loads(done.stdout)
    print(what, seed, found)
    return found


def main(what: str, seed: int, amount: float) -> None:
    print(json.dumps({"kills": kills, "damage": damage, "races": races, "together": together}[what](seed, amount)))  # type: ignore[operator]
