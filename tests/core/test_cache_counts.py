"""What the response cache counts for each route: by many processes, kept when they are gone, under whole names."""

import mmap
import os
import random
import struct
import subprocess
import sys

import pytest
from core.cache_stores import MB
from core.processes import kill, output_of, release

from fastgate._core.memory.cache.cache_counts import OTHER, RouteCounts, counts_size, route_counts
from fastgate._core.memory.cache.cache_file import CacheFile
from fastgate._core.memory.region import SegmentError


def counts_of(file: CacheFile) -> dict[str, dict[str, int]]:
    return route_counts(file.region("counts"))


def start_of_counts(file: CacheFile, memory: mmap.mmap) -> int:
    at = memory.find(b"counts\0", 0, 4096)
    offset: int = struct.unpack_from("<Q", memory, at + 24)[0]
    return offset


def test_each_route_has_its_words_and_all_slots_are_summed() -> None:
    file = CacheFile.create(8 * MB, slots=3)
    first, second = RouteCounts(file.region("counts"), 0), RouteCounts(file.region("counts"), 2)
    first.add("a", "hits")
    first.add("a", "bytes_saved", 2**40)
    second.add("a", "hits", 2)
    second.add("ü", "not_stored_5")
    second.add("", "miss_vary")
    assert counts_of(file) == {
        "a": {"hits": 3, "bytes_saved": 2**40}, "ü": {"not_stored_5": 1}, "": {"miss_vary": 1},
    }  # fmt: skip
    named = route_counts(file.region("counts"), ["a", "b", "c", "d", "e", "no_store"])
    assert named["ü"] == {"not_stored_no_store": 1}
    # The next process of the slot goes on.
    RouteCounts(file.region("counts"), 0).add("a", "hits")
    assert counts_of(CacheFile.attach(os.dup(file.fd)))["a"]["hits"] == 4
    with pytest.raises(KeyError, match="hit"):
        first.add("a", "hit")
    for slot in (-1, 3):
        with pytest.raises(IndexError):
            RouteCounts(file.region("counts"), slot)
    with pytest.raises(SegmentError, match="this is the region 'purges'"):
        RouteCounts(file.region("purges"), 0)


def test_every_word_is_counted_apart() -> None:
    file = CacheFile.create(4 * MB)
    counts = RouteCounts(file.region("counts"), 0)
    words = [
        "hits", "stale", "revalidated", "collapsed", "bypassed", "miss_uri", "miss_vary", "miss", "miss_request",
        "miss_stale", "miss_partial", "miss_method", "stored", "bytes_saved", "readers_cut", "fetches_abandoned",
        *(f"not_stored_{kind}" for kind in range(16)),
    ]  # fmt: skip
    for number, word in enumerate(words):
        counts.add("route", word, number + 1)
    assert counts_of(file) == {"route": {word: number + 1 for number, word in enumerate(words)}}


def test_names_that_find_no_place_share_a_row() -> None:
    file = CacheFile.create(256 * MB, slots=2)
    counts = RouteCounts(file.region("counts"), 1)
    for _ in range(2):
        for number in range(1030):
            counts.add(f"route {number}", "hits")
    found = counts_of(file)
    assert len(found) == 1025
    assert found.pop(OTHER) == {"hits": 2 * 6}
    assert found == {f"route {number}": {"hits": 2} for number in range(1024)}


def test_a_small_store_has_few_rows_and_the_size_counts() -> None:
    for slots in (1, 4, 64):
        assert counts_size(4 * MB, slots) <= max(4 * MB // 128, 17 * (256 + 256 * slots)) + 8 * slots + 64
        assert counts_size(1 << 40, slots) >= 1025 * (256 + 256 * slots)
    file = CacheFile.create(2 * MB)
    counts = RouteCounts(file.region("counts"), 0)
    for number in range(200):
        counts.add(f"{number}", "hits")
    found = counts_of(file)
    assert 17 <= len(found) <= 200
    assert sum(each["hits"] for each in found.values()) == 200


def test_long_names_are_told_apart_and_shown_cut() -> None:
    file = CacheFile.create(4 * MB)
    counts = RouteCounts(file.region("counts"), 0)
    counts.add("x" * 240, "hits")
    counts.add("y" * 500, "hits")
    counts.add("é" * 300, "stored")
    assert counts_of(file) == {"x" * 240: {"hits": 1}, "y" * 240: {"hits": 1}, "é" * 120: {"stored": 1}}
    # The same after the cut: two rows, one name.
    counts.add("y" * 501, "hits", 5)
    assert counts_of(file)["y" * 240] == {"hits": 6}


@pytest.mark.parametrize("written", [0, 3])
def test_a_name_that_was_half_written_blocks_nobody_and_is_completed(written: int) -> None:
    """As by a process that died after it took the place, before it said how long the name is."""
    file = CacheFile.create(4 * MB, slots=2)
    counts = RouteCounts(file.region("counts"), 0)
    counts.add("before", "hits")
    counts.add("dying", "hits")
    with mmap.mmap(file.fd, file.size) as memory:
        entry = start_of_counts(file, memory) + 64 + 256
        assert memory[entry + 16 : entry + 21] == b"dying"
        memory[entry + 8 : entry + 12] = bytes(4)
        memory[entry + 16 + written : entry + 21] = bytes(5 - written)
    other = RouteCounts(file.region("counts"), 1)
    other.add("before", "hits")
    other.add("behind", "hits")
    assert counts_of(file) == {"before": {"hits": 2}, "behind": {"hits": 1}}
    other.add("dying", "hits")
    assert counts_of(file) == {"before": {"hits": 2}, "behind": {"hits": 1}, "dying": {"hits": 2}}


def test_damaged_names_crash_nobody() -> None:
    draw = random.Random(os.urandom(4))
    file = CacheFile.create(4 * MB)
    counts = RouteCounts(file.region("counts"), 0)
    with mmap.mmap(file.fd, file.size) as memory:
        start = start_of_counts(file, memory)
        for number in range(300):
            counts.add(f"{number % 50}", "hits")
            memory[start + draw.randrange(64 + 60 * 256)] ^= 1 << draw.randrange(8)
            counts_of(file)


def test_it_costs_nothing_until_it_is_used() -> None:
    file = CacheFile.create(256 * MB, slots=16)
    before = os.fstat(file.fd).st_blocks
    counts_of(file)
    RouteCounts(file.region("counts"), 3).add("route", "hits")
    for _ in range(3):
        assert counts_of(file) == {"route": {"hits": 1}}
    assert os.fstat(file.fd).st_blocks - before <= 4 * 8


def start(file: CacheFile, slot: int, rounds: int) -> "subprocess.Popen[str]":
    """A process that counts each of 200 routes so many times, in an order of its own; 0 = until it is killed."""
    program = f"""
import itertools, random
from fastgate._core.memory.cache.cache_counts import RouteCounts
from fastgate._core.memory.cache.cache_file import CacheFile
counts = RouteCounts(CacheFile.attach({file.fd}).region("counts"), {slot})
names = random.Random({slot}).sample([f"route {{number}}" for number in range(200)], 200)
print("ready", flush=True)
input()
for _ in range({rounds}) if {rounds} else itertools.count():
    for each in names:
        counts.add(each, "hits")
"""
    return subprocess.Popen(
        [sys.executable, "-c", program],
        pass_fds=[file.fd],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )


def test_many_processes_enter_the_same_names_at_once_and_some_are_killed() -> None:
    file = CacheFile.create(64 * MB, slots=6)
    lasting = [start(file, slot, 50) for slot in range(3)]
    killed = [start(file, slot, 0) for slot in range(3, 6)]
    release([*killed, *lasting])
    for process in lasting:
        output_of(process)
    for process in killed:
        kill(process)
    found = counts_of(file)
    assert set(found) == {f"route {number}" for number in range(200)}, "each name once, and whole"
    # Of the killed ones, what they had counted is there.
    assert min(each["hits"] for each in found.values()) >= 3 * 50
    slots = [RouteCounts(file.region("counts"), slot) for slot in range(6)]
    for each in slots:
        for name in found:
            each.add(name, "stored")
    after = counts_of(file)
    assert all(after[name]["hits"] == each["hits"] for name, each in found.items())
    assert {each["stored"] for each in after.values()} == {6}
