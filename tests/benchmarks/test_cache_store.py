"""What the store of the response cache keeps, beside caches that know each object alone and count no tables."""

from array import array

import pytest

from benchmarks.cache_store import fifo, lru, s3_fifo, size_of, trace_of
from fastgate._core.memory.cache.cache_file import CacheFile
from fastgate._core.memory.cache.cache_store import CacheStore
from fastgate._core.probes.cache_load import replay

SIZE = 1000


@pytest.mark.parametrize(
    ("trace", "over_lru", "under_s3"),
    [("0.9", 0.06, 0.006), ("scans", 0.05, 0.006), ("once", 0.07, 0.006)],
)
def test_hit_ratios(trace: str, over_lru: float, under_s3: float) -> None:
    """For requests drawn with a fixed seed. Without probation, or without its memory of what came back, this is red."""
    numbers = array("q", trace_of(trace, 20_000, 100_000))
    store = CacheStore(CacheFile.create(3 << 20), 0)
    hits, _, _ = replay(store, numbers, array("I", [SIZE]) * (max(numbers) + 1))
    # The others get as many objects as the segments that are not kept free can hold.
    stats = store.stats()
    room = (stats["segments"] - 4) * (stats["segment_size"] // (SIZE + 96)) * SIZE
    sizes = dict.fromkeys(numbers, SIZE)
    ratios = {policy.__name__: policy(numbers, sizes, room)[0] / len(numbers) for policy in (fifo, lru, s3_fifo)}
    ratio = hits / len(numbers)
    print(trace, ratio, ratios)
    assert stats["refused"] == 0
    assert ratio > ratios["lru"] + over_lru > ratios["fifo"]
    assert ratio > ratios["s3_fifo"] - under_s3


def test_nearly_all_of_a_small_store_is_live_and_it_keeps_what_s3_fifo_keeps() -> None:
    """Bodies of 1 byte to 1 MB in segments of 64 KB: red with one open segment, or without the tails in the records."""
    numbers = array("q", trace_of("0.9", 20_000, 150_000))
    sizes = {number: size_of(number) for number in set(numbers)}
    table = array("I", bytes(4 * (max(sizes) + 1)))
    for number, size in sizes.items():
        table[number] = size
    store = CacheStore(CacheFile.create(16 << 20), 0)
    assert store.file.segment_size == 65_536
    hits, _, _ = replay(store, numbers, table)
    stats = store.stats()
    live = stats["bytes"] / ((stats["segments"] - stats["free"]) * stats["segment_size"])
    # What the tables and the segments that are kept free take, the other one has not.
    room = (stats["segments"] - stats["free"]) * stats["segment_size"]
    ratio, other = hits / len(numbers), s3_fifo(numbers, sizes, room)[0] / len(numbers)
    print(live, ratio, other)
    assert live > 0.94
    assert ratio > other - 0.02
    assert stats["refused"] < 20
