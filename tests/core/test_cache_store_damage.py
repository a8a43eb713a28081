"""The store of the response cache when a process is gone, and when its memory is damaged."""

import mmap
import os
import random
import struct

import pytest
from core.cache_stores import MB, beside, body_of, found_in, new, put

from fastgate._core.memory.cache.cache_store import CacheStore
from fastgate._core.memory.cache.walk import Walk
from fastgate._core.probes.cache_probe import Filler, Seen, audit, forge, free_all, pins, segments, store_whole, work


@pytest.fixture
def draw() -> random.Random:
    seed = int.from_bytes(os.urandom(4))
    print("seed", seed)
    return random.Random(seed)


def test_recovery_gives_all_back_and_may_come_twice() -> None:
    store = new(4 * MB, slots=2)
    dead = beside(store, 1)
    put(dead, b"whole", b"whole")
    filler = Filler.begin(dead, b"half", b"", b"", 100_000)
    assert filler is not None
    filler.append(bytes(90_000))
    large = found_in(dead, b"whole")
    assert large.pin()
    work(dead, 1)
    assert pins(store, 1) == 2
    for _ in range(3):
        store.recover(1)
        assert pins(store, 1) == 0
        assert [owner for _, _, owner, _ in segments(store) if owner == 1] == []
        assert body_of(store, b"whole") == b"whole"
        assert body_of(store, b"half") is None
    with pytest.raises(IndexError, match="slot 2 of 2"):
        store.recover(2)
    assert beside(store, 1).slot == 1
    store.clear()
    free_all(store, calls=1000)
    states = [state for state, _, _, _ in segments(store)]
    assert set(states) <= {"free", "open"}


def test_a_process_that_died_before_it_counted_itself_leaves_its_slot() -> None:
    store = new(4 * MB, slots=2)
    with mmap.mmap(store.file.fd, store.file.size) as memory:
        struct.pack_into("<Q", memory, start_of(memory, b"slots") + 256, 4_000_000)
    with pytest.raises(ValueError, match="slot 1 belongs to process 4000000"):
        beside(store, 1)
    assert [store.was_used(slot) for slot in range(2)] == [True, True]
    store.recover(1)
    assert not store.was_used(1)
    assert beside(store, 1).slot == 1
    with pytest.raises(IndexError, match="slot 2 of 2"):
        store.was_used(2)


def test_every_bit_of_a_record_counts() -> None:
    """One bit of what a record says of itself, or of its key: it is not there, or it is as it was."""
    store = new()
    store_whole(store, b"the key", b"the head", b"fields", b"the body", purge=5, words=(1, 2, 3))
    found = found_in(store, b"the key")
    data = store.file.size - store.file.segments * store.file.segment_size
    start = data + (found.place >> 32) * store.file.segment_size + (found.place & 0xFFFFFFFF)
    gone = 0
    with mmap.mmap(store.file.fd, store.file.size) as memory:
        assert memory[start + 88 : start + 95] == b"the key"
        for place in range(start, start + 95):
            for bit in range(8):
                memory[place] ^= 1 << bit
                again = Seen.of(store, b"the key")
                if again is None:
                    gone += 1
                else:
                    assert 72 <= place - start < 88, "what may be written again"
                    assert (again.head, again.body(), again.meta[:2]) == (b"the head", b"the body", (0, 5))
                memory[place] ^= 1 << bit
    assert gone == 8 * (72 + 7)
    assert body_of(store, b"the key") == b"the body"
    assert store.stats()["damaged"] == 8 * 72


def test_lengths_that_lead_outside_are_refused_though_the_check_fits() -> None:
    """As a program with a fault might write them."""
    for lengths in ({"head_length": 2**32 - 1}, {"body_length": 2**32 - 1}, {"body_length": 65_536}, {"kind": 1},
                    {"body_length": 2**32 - 1, "kind": 1}, {"head_length": 65_300, "kind": 2},
                    {"body_length": 65_535, "kind": 9}, {"body_length": 131_071, "kind": 9},
                    {"body_length": 2**32 - 65_537, "kind": 9}, {"kind": 15}, {"kind": 65_535}):  # fmt: skip
        store = new()
        put(store, b"key", b"body", b"head")
        forge(found_in(store, b"key"), **lengths)
        found = Seen.of(store, b"key")
        assert found is None or found.body() is None
        if found is not None:
            assert not found.pin()
        assert pins(store, 0) == 0
        # It can be replaced, and what is behind it goes with it.
        put(store, b"key", b"another")
        assert body_of(store, b"key") == b"another"
        store.clear()
        free_all(store, calls=100)
        assert {state for state, _, _, _ in segments(store)} == {"free"}


@pytest.mark.parametrize("kind", [0, 2])
def test_a_record_that_would_leave_its_segment_is_refused(kind: int) -> None:
    """In the last segment, behind which the mapping ends, and not at its beginning; to the byte."""
    store = new()
    size, last = store.file.segment_size, store.file.segments - 1
    number = 0
    while number < 2 or found_in(store, b"%d" % (number - 1)).place < (last << 32) + 1000:
        put(store, b"%d" % number, bytes(6000))
        number += 1
    key = b"%d" % (number - 1)
    found = found_in(store, key)
    assert found.segment == last
    front = 88 + len(key) + (8 if kind == 2 else 0)
    room = size - (found.place & 0xFFFFFFFF)
    for length, whole in ((room - front, True), (room - front + 1, False), (room, False), (size, False)):
        forge(found, body_length=length, kind=kind)
        with mmap.mmap(store.file.fd, store.file.size) as memory:
            # How much is there, for a body that came in pieces.
            if kind == 2:
                at = store.file.size - size + (found.place & 0xFFFFFFFF)
                memory[at + 88 : at + 96] = struct.pack("<II", length, 1)
                memory[at + 96 : at + 96 + len(key)] = key
        again = Seen.of(store, key)
        assert (again is not None) == whole
        assert (Seen.at(store, found.place, found.generation) is not None) == whole
        if again is not None:
            body = again.body()
            assert body is not None
            assert len(body) == length
            assert again.body(0, length + 1) is None
            assert again.body(length + 1, 0) is None


def test_a_word_that_is_left_from_an_earlier_life_finds_nothing() -> None:
    """Not even when the few bits of the generation that it has are the same again."""
    store = new()
    put(store, b"key", b"body")
    seen = found_in(store, b"key")
    with mmap.mmap(store.file.fd, store.file.size) as memory:
        place = start_of(memory, b"states") + 8 * seen.segment
        (word,) = struct.unpack_from("<Q", memory, place)
        for later in (1, 255, 256, 512, 65536):
            struct.pack_into("<Q", memory, place, word + (later << 24))
            assert Seen.of(store, b"key") is None
            assert not seen.still()
            assert not seen.pin()
            assert seen.body() is None
        struct.pack_into("<Q", memory, place, word)
        assert body_of(store, b"key") == b"body"


def test_a_fill_that_is_published_too_late_is_not_linked() -> None:
    store = new(4 * MB, slots=2)
    filler = Filler.begin(store, b"key", b"", b"", 4)
    assert filler is not None
    filler.append(b"body")
    with mmap.mmap(store.file.fd, store.file.size) as memory:
        place = start_of(memory, b"states") + 8 * (filler.place >> 32)
        (word,) = struct.unpack_from("<Q", memory, place)
        # Another process is freeing its segment, and has been there already.
        struct.pack_into("<Q", memory, place, word & ~0xFFFFFF | 2 << 8 | 3)
        assert not filler.publish()
    assert audit(store)[:2] == (0, 0)
    assert store.stats()["lost"] == 1
    assert pins(store, 0) == 0


def test_no_word_of_the_index_leads_outside(draw: random.Random) -> None:
    store = new()
    keys = [b"%d" % number for number in range(1000)]
    for key in keys:
        put(store, key, key * 20)
    index = store.file.region("index").size
    with mmap.mmap(store.file.fd, store.file.size) as memory:
        place = start_of(memory, b"index")
        for _ in range(30):
            for at in range(place, place + index, 8):
                if memory[at : at + 8] != bytes(8):
                    memory[at + draw.randrange(8)] ^= 1 << draw.randrange(8)
            for key in keys:
                assert body_of(store, key) in (key * 20, None)
    for key in keys:
        assert put(store, key, key)
        assert body_of(store, key) == key


def test_no_place_in_the_index_leads_outside() -> None:
    """Behind the end of a segment, of the last one too, and segments that there are not."""
    store = new(2 * MB)
    while store.stats()["evictions"] == 0:
        put(store, b"%d" % store.stats()["stores"], bytes(3000))
    put(store, b"key", b"body")
    with mmap.mmap(store.file.fd, store.file.size) as memory:
        begin = start_of(memory, b"index")
        at = next(
            at
            for at in range(begin, begin + store.file.region("index").size, 8)
            if memory[at : at + 8] != bytes(8) and is_the_word_of(store, memory, at, b"key")
        )
        (word,) = struct.unpack_from("<Q", memory, at)
        for segment, (_, _, _, generation) in enumerate(segments(store)):
            for offset in (1, 4095, 4096, 32_768, 65_535):
                forged = word >> 48 << 48 | (generation & 255) << 40 | segment << 16 | offset
                struct.pack_into("<Q", memory, at, forged)
                assert body_of(store, b"key") in (None, b"body")
        for segment in (store.file.segments, 2**24 - 1):
            struct.pack_into("<Q", memory, at, word & ~(0xFFFFFF << 16) | segment << 16)
            assert body_of(store, b"key") is None
        put(store, b"key", b"again")
        assert body_of(store, b"key") == b"again"


def test_a_walk_over_damaged_memory_ends_and_stays_inside(draw: random.Random) -> None:
    """Bits of records, of the words of segments and of the index, wherever they are."""
    store = new(2 * MB)
    for number in range(2000):
        put(store, b"key %d" % number, b"body" * 50, b"head %d" % number)
    lengths = {(4 + digits, 5 + digits) for digits in range(1, 5)}
    size, index = store.file.segment_size, store.file.region("index").size
    states, rows = (store.file.region(name).size for name in ("states", "rows"))
    found = 0
    with mmap.mmap(store.file.fd, store.file.size) as memory:
        sound = memory[:]
        data = start_of(memory, b"data")
        for round_ in range(300):
            for begin, length, count in (
                (data, 8 * size, 200), (start_of(memory, b"states"), states, 2), (start_of(memory, b"rows"), rows, 4),
                (start_of(memory, b"index"), index, 50),
            ):  # fmt: skip
                for _ in range(count):
                    memory[begin + draw.randrange(length)] ^= 1 << draw.randrange(8)
            walk = Walk(store, b"key")
            while (some := walk.step()) is not None:
                found += len(some)
                # Keys and heads themselves have no check; how long they are has.
                assert {(len(record.key), len(record.head)) for record in some} <= lengths
            if round_ % 30 == 29:
                memory[:] = sound
    assert found > 1000


def is_the_word_of(store: CacheStore, memory: mmap.mmap, at: int, key: bytes) -> bool:
    """Whether the object of a key is lost without this word."""
    before = memory[at : at + 8]
    memory[at : at + 8] = bytes(8)
    lost = body_of(store, key) is None
    memory[at : at + 8] = before
    return lost


def start_of(memory: mmap.mmap, name: bytes) -> int:
    """Where a part of the file begins, from the directory in its header."""
    at = memory.find(name + b"\0", 0, 4096)
    offset: int = struct.unpack_from("<Q", memory, at + 24)[0]
    return offset
