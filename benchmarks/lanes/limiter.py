"""What one check of each kind of limit costs: keys from a few, in the cache, to a million, in memory.

Rounds are interleaved. Every limit has a segment of its own, as large as a gateway's for that many keys would be: a
table that is two thirds full at most. Keys are visited in one order, their entries lie all over the table.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.arithmetic import spread
from benchmarks.contest import Options, say
from benchmarks.machine import cores
from fastgate._core.limits.rate import FixedWindow, Limit, SlidingWindowLog, TokenBucket, evictions
from fastgate._core.probes.limits import measure, measure_overhead

TITLE = "Rate limits: one check"
WIDTH = 16
KEYS = (10, 1_000, 100_000, 1_000_000)
LEAST = 65_536
CHECKS = 1_000_000
"""At least so many in each turn."""

BASE = "token bucket"
ALONE = "hash and clock alone"
KINDS: dict[str, tuple[Callable[[int], Limit], int]] = {
    BASE: (lambda keys: TokenBucket(1_000_000, 1, 1_000_000, entries=keys * 3 // 2), KEYS[-1]),
    "token bucket, refused": (lambda keys: TokenBucket(1, 86400, entries=keys * 3 // 2), KEYS[-1]),
    "fixed window": (lambda keys: FixedWindow(100_000_000, 86400, entries=keys * 3 // 2), KEYS[-1]),
    "sliding log of 10": (lambda keys: SlidingWindowLog(10, 0.000_001, stamps=keys * 48), KEYS[-2]),
    "sliding log of 1,000": (lambda keys: SlidingWindowLog(1_000, 1, stamps=2_000_000), KEYS[1]),
}
"""How each is made for a number of keys, and up to how many it is asked."""


@dataclass
class Cell:
    """One limit with so many keys."""

    keys: int
    limit: Limit
    text: bytes
    first: float
    rounds: list[float] = field(default_factory=list)

    def turn(self) -> None:
        self.rounds.append(measure(self.limit, self.text, WIDTH, passes(self.keys)))

    def shown(self) -> dict[str, object]:
        return shown(self.keys, self.rounds, self.first, evictions(self.limit.region))


def text_of(keys: int) -> bytes:
    """So many different keys of 16 bytes, one behind the other."""
    return b"".join(b"client %09d" % number for number in range(keys))


def passes(keys: int) -> int:
    return max(1, CHECKS // keys)


def run(options: Options) -> dict[str, object]:
    """A row a kind, a cell a number of keys. Pinned to one core, which is undone at the end."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cores()[0]})
    try:
        counts = KEYS[:-1] if options.quick else KEYS
        return {
            "settings": {"keys": counts, "key_bytes": WIDTH, "least_checks": CHECKS},
            "rows": table(counts, options.rounds),
        }
    finally:
        os.sched_setaffinity(0, allowed)


def table(counts: tuple[int, ...], rounds: int) -> list[dict[str, object]]:
    """All kinds beside each other: for each number of keys interleaved."""
    rows: dict[str, list[dict[str, object]]] = {label: [] for label in (*KINDS, ALONE)}
    for keys in counts:
        text = text_of(keys)
        cells: dict[str, Cell] = {}
        for label, (make, most) in KINDS.items():
            if keys <= most:
                limit = make(max(keys, LEAST))
                cells[label] = Cell(keys, limit, text, measure(limit, text, WIDTH, 1))
        alone: list[float] = []
        for _ in range(rounds):
            for cell in cells.values():
                cell.turn()
            alone.append(measure_overhead(cells[BASE].limit, text, WIDTH, passes(keys)))
        for label, cell in cells.items():
            rows[label].append(cell.shown())
        rows[ALONE].append(shown(keys, alone, alone[0], 0))
        medians = (f"{label} {spread(cell.rounds)['median']:.0f} ns" for label, cell in cells.items())
        say(f"  {keys:,} keys: {', '.join(medians)}")
    return [{"label": label, "cells": found} for label, found in rows.items()]


def shown(keys: int, rounds: list[float], first: float, evicted: int) -> dict[str, object]:
    return {"keys": keys, "ns": spread(rounds), "first": first, "evictions": evicted, "rounds": rounds}
