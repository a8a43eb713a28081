"""The file of the response cache: its size, its parts, what it costs, and who may have a slot."""

import fcntl
import mmap
import os
import random
import struct

import pytest
from core.cache_stores import MB, beside, body_of, new, put

from fastgate._core.memory.cache.cache_file import CacheFile, least_segments, needed
from fastgate._core.memory.cache.flights import Flights, flights_size
from fastgate._core.memory.cache.purges import Purges, purges_size
from fastgate._core.memory.region import SegmentError
from fastgate._core.probes.cache_probe import Filler, segments
from fastgate.cache import SharedCache


@pytest.fixture
def draw() -> random.Random:
    seed = int.from_bytes(os.urandom(4))
    print("seed", seed)
    return random.Random(seed)


def blocks(fd: int) -> int:
    return os.fstat(fd).st_blocks * 512


@pytest.mark.parametrize("slots", [1, 2, 4, 7, 16, 64, 4096])
def test_what_is_too_small_says_how_much_is_needed(slots: int) -> None:
    least = needed(slots)
    with pytest.raises(ValueError, match=rf"^max_bytes: {least - 1} is too small for {slots} slots, .* {least} bytes$"):
        CacheFile.create(least - 1, slots=slots)
    file = CacheFile.create(least, slots=slots)
    assert file.size <= least
    assert file.segments >= least_segments(slots)


@pytest.mark.parametrize("slots", [0, -1, 4097])
def test_slots_have_a_range(slots: int) -> None:
    with pytest.raises(ValueError, match="slots must be 1 to 4096"):
        CacheFile.create(64 * MB, slots=slots)


def test_everything_lies_within_max_bytes(draw: random.Random) -> None:
    for _ in range(200):
        slots = draw.choice((1, 2, 4, 8, 32))
        size = int(needed(slots) * 1.02 ** draw.randrange(400)) + draw.randrange(4096)
        file = CacheFile.create(size, slots=slots)
        assert file.size <= size
        assert 65536 <= file.segment_size <= MB
        assert file.segment_size & file.segment_size - 1 == 0
        # Nothing much is lost to rounding.
        assert size - file.size <= file.segment_size + 4096 + file.segments * (96 + 4 * slots) // 200 + 4096
        if size >= 64 * MB:
            assert file.segments >= 200
            assert file.segments * file.segment_size > 0.9 * size


@pytest.mark.parametrize("slots", [1, 2, 3, 5, 8, 13, 32])
def test_every_size_from_the_least_on_can_be_made(slots: int, draw: random.Random) -> None:
    least = needed(slots)
    for more in [*range(0, 4097, 273), *(draw.randrange(2_000_000) for _ in range(40))]:
        assert CacheFile.create(least + more, slots=slots).segments >= least_segments(slots)
    with pytest.raises(ValueError, match="too small"):
        CacheFile.create(least - 1, slots=slots)


def test_it_costs_nothing_until_it_is_used() -> None:
    cache = SharedCache.create(256 * MB, slots=8)
    assert cache.size > 250 * MB
    assert blocks(cache.fd) <= 24576  # the locks of the purges are made at once
    for _ in range(3):
        cache.stats()
    # Who asks for statistics reads the tables of segments, and no page of data, index or pins that has not been used.
    assert blocks(cache.fd) <= 32768
    cache.put(b"key", b"value")
    assert cache.get(b"key") == b"value"
    assert cache.get(b"another") is None
    assert blocks(cache.fd) <= 65536


def test_statistics_touch_no_data() -> None:
    cache = SharedCache.create(64 * MB, slots=8)
    for number in range(20_000):
        cache.put(b"%d" % number, bytes(500))
    before = blocks(cache.fd)
    assert cache.stats()["objects"] == 20_000
    assert blocks(cache.fd) <= before + 3 * 4096


def test_parts_for_other_modules_are_there() -> None:
    file = CacheFile.create(256 * MB, slots=8)
    flights, purges = file.region("flights"), file.region("purges")
    assert flights.size >= 4096 * 128 + 8 * 64
    assert flights.slots == 8
    assert purges.size >= 256 * MB // 64 + 256 * MB // 256
    with pytest.raises(SegmentError, match="no part 'nothing'"):
        file.region("nothing")


def test_the_very_first_segment_may_have_a_part_of_a_body() -> None:
    store = new()
    met = 0
    for _ in range(store.file.segments):
        filler = Filler.begin(store, b"key", b"", b"", 131_072)
        assert filler is not None
        assert filler.append(bytes(131_072))
        met += segments(store)[0][:2] == ("open", 2)
        filler.abandon()
        # The one that has the records, and those that are free: none is forgotten.
        assert [state for state, _, _, _ in segments(store)].count("free") == store.file.segments - 1
    assert met


def sealed_file(content: bytes, seals: int = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW) -> int:
    fd = os.memfd_create("test", os.MFD_ALLOW_SEALING)
    os.write(fd, content)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd


def test_what_is_not_the_file_of_a_cache_is_refused() -> None:
    reader, writer = os.pipe()
    files = {
        reader: "not a memory file",
        sealed_file(bytes(8192), 0): "not sealed",
        sealed_file(bytes(100)): "cannot have 100 bytes",
        sealed_file(bytes(8192)): "not the file of a response cache",
    }
    for fd, message in files.items():
        with pytest.raises(SegmentError, match=message):
            CacheFile.attach(fd)
        os.fstat(fd)  # left alone
        os.close(fd)
    os.close(writer)


def test_a_header_that_contradicts_itself_is_refused(draw: random.Random) -> None:
    file = CacheFile.create(2 * MB)
    with mmap.mmap(file.fd, file.size) as memory:
        good = memory[:4096]
        fixed = struct.calcsize("<IIQQIIIIQ16s")
        for _ in range(300):
            place = draw.randrange(fixed - 24)
            memory[place] ^= 1 << draw.randrange(8)
            try:
                CacheFile.attach(os.dup(file.fd))
            except SegmentError:
                pass
            else:
                # max_bytes alone may have other values that make the same file.
                assert 8 <= place < 16
            memory[:4096] = good
        memory[4:8] = struct.pack("<I", 2)
        with pytest.raises(SegmentError, match="layout 2 of the cache is not 1: two versions of fastgate met"):
            CacheFile.attach(os.dup(file.fd))


def test_a_slot_is_for_one_process_until_it_is_given_back() -> None:
    store = new(4 * MB, slots=2)
    with pytest.raises(ValueError, match=rf"slot 0 belongs to process {os.getpid()}; .*recover\(0\) frees it"):
        beside(store, 0)
    with pytest.raises(IndexError, match="slot 2 of 2"):
        beside(store, 2)
    other = beside(store, 1)
    assert put(other, b"k", b"of another")
    assert body_of(store, b"k") == b"of another"
    del other
    other = beside(store, 1)
    assert other.slot == 1
    store.give_up()
    assert store.slot is None
    assert body_of(store, b"k") == b"of another"
    assert not put(store, b"k", b"too late")
    assert beside(store, 0).slot == 0


def test_purges_and_flights_lie_in_it() -> None:
    """Each opens its part as it is made; another process's view of the file has the same."""
    file = CacheFile.create(64 * MB, slots=3)
    other = CacheFile.attach(os.dup(file.fd))
    purges, seen = Purges(file.region("purges")), Purges(other.region("purges"))
    tag = purges.tag("tag", b"a")
    assert tag == seen.tag("tag", b"a")
    purges.purge_tag(tag)
    assert seen.number == purges.number == 1
    assert file.region("purges").size >= purges_size(64 * MB)
    wakers = [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(3)]
    try:
        assert Flights(file.region("flights"), 2, wakers).stats().led == 0
        assert Flights(other.region("flights"), -1, wakers).slot == -1
        assert file.region("flights").size >= flights_size(3)
    finally:
        for each in wakers:
            os.close(each)
