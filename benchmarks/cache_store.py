"""``python -m benchmarks.cache_store [--objects N] [--requests N] [trace ...]``: what the response cache keeps.

Hit ratios beside FIFO, LRU, S3-FIFO over single objects, and the farthest next use (which knows the future): the same
requests for all, a cache of 5 % of the bytes that are asked for. The store is the real one, with all its tables inside
its file; the others count bytes of bodies alone. ``--million`` measures memory and look-ups with a million objects.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import os
import random
import time
from array import array
from bisect import bisect
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator

from fastgate._core.probes.cache_load import replay
from fastgate._core.probes.cache_probe import time_looks
from fastgate.cache import SharedCache

LARGEST = 1 << 20
SHARE = 0.05
TRACES = ("0.7", "0.9", "1.1", "scans", "once", "drift")


def zipf(draw: random.Random, count: int, alpha: float) -> Callable[[], int]:
    """Ranks from 0, the first the most frequent."""
    sums = list(itertools.accumulate(1 / (rank + 1) ** alpha for rank in range(count)))
    total = sums[-1]
    return lambda: bisect(sums, draw.random() * total)


def trace_of(name: str, count: int, requests: int) -> Iterator[int]:
    """Numbers of objects; those that are asked for once or by a scan are above ``count``."""
    draw = random.Random(name)
    alpha = 0.9 if name in ("scans", "once", "drift") else float(name)
    rank, other = zipf(draw, count, alpha), itertools.count(count)
    names = list(range(count))
    draw.shuffle(names)
    scan = 0
    for number in range(requests):
        if name == "once" and draw.random() < 0.4:
            yield next(other)
        elif name == "scans" and (scan or draw.random() < 0.0001):
            # A fifth of all objects, one after the other, among the other requests.
            scan = (scan or count // 5) - 1 if draw.random() < 0.5 else scan
            yield count + scan if scan % 2 else names[rank()]
        else:
            if name == "drift" and number % 20 == 0:
                one, two = draw.randrange(count), draw.randrange(count)
                names[one], names[two] = names[two], names[one]
            yield names[rank()]


def size_of(number: int) -> int:
    """Log-normal, median 2.5 KB."""
    draw = random.Random(number)
    return min(int(2500 * 2.718281828 ** (1.6 * draw.gauss(0, 1))) + 1, LARGEST)


def fifo(trace: array[int], sizes: dict[int, int], room: int) -> tuple[int, int]:
    held: dict[int, None] = {}
    used = hits = bytes_hit = 0
    for number in trace:
        if number in held:
            hits += 1
            bytes_hit += sizes[number]
            continue
        held[number] = None
        used += sizes[number]
        while used > room:
            gone = next(iter(held))
            del held[gone]
            used -= sizes[gone]
    return hits, bytes_hit


def lru(trace: array[int], sizes: dict[int, int], room: int) -> tuple[int, int]:
    held: OrderedDict[int, None] = OrderedDict()
    used = hits = bytes_hit = 0
    for number in trace:
        if number in held:
            held.move_to_end(number)
            hits += 1
            bytes_hit += sizes[number]
            continue
        held[number] = None
        used += sizes[number]
        while used > room:
            gone, _ = held.popitem(last=False)
            used -= sizes[gone]
    return hits, bytes_hit


def s3_fifo(trace: array[int], sizes: dict[int, int], room: int) -> tuple[int, int]:
    """Probation of a tenth; one use there is enough to be kept; a ghost of as many objects as there are."""
    small: deque[int] = deque()
    main: deque[int] = deque()
    ghost: OrderedDict[int, None] = OrderedDict()
    used: dict[int, int] = {}
    in_small = in_main = hits = bytes_hit = 0
    for number in trace:
        if number in used:
            used[number] = min(used[number] + 1, 3)
            hits += 1
            bytes_hit += sizes[number]
            continue
        size = sizes[number]
        used[number] = 0
        if number in ghost:
            del ghost[number]
            main.append(number)
            in_main += size
        else:
            small.append(number)
            in_small += size
        while in_small + in_main > room:
            if (small and in_small > room // 10) or not main:
                old = small.popleft()
                in_small -= sizes[old]
                if used[old]:
                    used[old] = 0
                    main.append(old)
                    in_main += sizes[old]
                else:
                    del used[old]
                    ghost[old] = None
                    while len(ghost) > len(used):
                        ghost.popitem(last=False)
            else:
                old = main.popleft()
                if used[old]:
                    used[old] -= 1
                    main.append(old)
                else:
                    in_main -= sizes[old]
                    del used[old]
    return hits, bytes_hit


def farthest(trace: array[int], sizes: dict[int, int], room: int) -> tuple[int, int]:
    """Throws out what is asked for last of all."""
    following = array("q", bytes(8 * len(trace)))
    last: dict[int, int] = {}
    for place in range(len(trace) - 1, -1, -1):
        following[place] = last.get(trace[place], len(trace) + place)
        last[trace[place]] = place
    held: dict[int, int] = {}
    heap: list[tuple[int, int]] = []
    used = hits = bytes_hit = 0
    for place, number in enumerate(trace):
        if number in held:
            hits += 1
            bytes_hit += sizes[number]
        else:
            used += sizes[number]
        held[number] = following[place]
        heapq.heappush(heap, (-following[place], number))
        while used > room:
            when, gone = heapq.heappop(heap)
            if held.get(gone) == -when:
                del held[gone]
                used -= sizes[gone]
    return hits, bytes_hit


def store(trace: array[int], sizes: dict[int, int], room: int, report: dict[str, float]) -> tuple[int, int]:
    cache = SharedCache.create(room)
    table = array("I", bytes(4 * (max(sizes) + 1)))
    for number, size in sizes.items():
        table[number] = size
    first = replay(cache.store, trace, table, 0, len(trace) // 2)
    second = replay(cache.store, trace, table, len(trace) // 2)
    stats = cache.stats()
    taken = (stats["segments"] - stats["free"]) * stats["segment_size"]
    report["live"] = stats["bytes"] / taken
    report["of_file"] = stats["bytes"] / room
    report["refused"] = stats["refused"] / max(stats["stores"] + stats["refused"], 1)
    report["copied"] = stats["kept_bytes"] / max(stats["stored_bytes"], 1)
    report["longest"] = max(first[2], second[2])
    report["segment"] = stats["segment_size"]
    return first[0] + second[0], first[1] + second[1]


def compare(name: str, count: int, requests: int) -> None:
    trace = array("q", trace_of(name, count, requests))
    sizes = {number: size_of(number) for number in set(trace)}
    room = int(sum(sizes.values()) * SHARE)
    report: dict[str, float] = {}
    found = {
        "FIFO": fifo(trace, sizes, room),
        "LRU": lru(trace, sizes, room),
        "S3-FIFO": s3_fifo(trace, sizes, room),
        "farthest": farthest(trace, sizes, room),
        "store": store(trace, sizes, room, report),
    }
    asked = sum(sizes[number] for number in trace)
    ratios = "  ".join(f"{each} {hits / requests:.3f}/{size / asked:.3f}" for each, (hits, size) in found.items())
    print(
        f"{name:6} {room >> 20} MB  {ratios}  live {report['live']:.3f} of the segments and {report['of_file']:.3f} of "
        f"the file, refused {report['refused']:.5f}, copied {report['copied']:.2f}, segments of "
        f"{int(report['segment']) >> 10} KB, longest call {report['longest'] / 1000:.0f} µs",
        flush=True,
    )


def million() -> None:
    count, size = 1_000_000, 500
    cache = SharedCache.create(760 << 20, slots=4)
    keys = b"".join(b"GET https api.example.com 443 /v1/items/%07d" % number for number in range(count))
    width, body = len(keys) // count, os.urandom(size)
    began = time.perf_counter()
    for number in range(count):
        cache.put(keys[number * width : (number + 1) * width], body)
    print(f"stored, pages touched for the first time: {(time.perf_counter() - began) / count * 1e6:.2f} µs")
    blocks = os.fstat(cache.fd).st_blocks * 512
    print(f"{blocks >> 20} MB of {cache.size >> 20}: {blocks / count - size - width:.1f} bytes beside key and body")
    order = list(range(count))
    random.Random(1).shuffle(order)
    for what, places, passes in (
        ("64 hot", order[:64], 5000),
        ("10,000", sorted(order)[:10_000], 10),
        ("random", order, 1),
    ):
        times = sorted(time_looks(cache.store, keys, width, places, passes)[0] for _ in range(9))
        print(f"look-up and copy, {what}: {times[4]:.0f} ns (median of 9; {times[0]:.0f} to {times[-1]:.0f})")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cache_store")
    parser.add_argument("traces", nargs="*", choices=[[], *TRACES])
    parser.add_argument("--objects", type=int, default=100_000)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--million", action="store_true")
    chosen = parser.parse_args()
    if chosen.million:
        million()
        return
    for name in chosen.traces or TRACES:
        compare(name, chosen.objects, chosen.requests)


if __name__ == "__main__":
    main()
