"""The store of the response cache when a process is gone, and when its memory is damaged."""

import mmap
import os
import random
import struct

import pytest
from core.cache_stores import MB, beside, body_of, found_in, new, put

from fastgate._core.probes.cache_probe import Filler, Seen, free_all, pins, segments, store_whole, work


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


def test_no_word_of_the_index_leads_outside(draw: random.Random) -> None:
    store = new()
    keys = [b"%d" % number for number in range(1000)]
    for key in keys:
        put(store, key, key * 20)
    index = store.file.region("index").size
    with mmap.mmap(store.file.fd, store.file.size) as memory:
        place = index_start(memory)
        for _ in range(30):
            for at in range(place, place + index, 8):
                if memory[at : at + 8] != bytes(8):
                    memory[at + draw.randrange(8)] ^= 1 << draw.randrange(8)
            for key in keys:
                assert body_of(store, key) in (key * 20, None)
    for key in keys:
        assert put(store, key, key)
        assert body_of(store, key) == key


def index_start(memory: mmap.mmap) -> int:
    """Where the part "index" begins, from the directory in the header."""
    at = memory.find(b"index\0\0\0", 0, 4096)
    offset: int = struct.unpack_from("<Q", memory, at + 24)[0]
    return offset
