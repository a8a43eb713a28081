"""The store of the response cache in one process: what is stored is what is found, or nothing is."""

import gc
import os
import random
import subprocess
import sys
import time
from typing import Any

import pytest
from core.cache_stores import MB, at_place, beside, body_of, found_in, new, put

from fastgate._core.memory.cache.cache_store import CacheStore
from fastgate._core.memory.cache.shared_cache import PinnedValue
from fastgate._core.probes.cache_probe import Filler, Seen, audit, free_all, pins, segments, store_whole, work
from fastgate.cache import SharedCache


@pytest.fixture
def draw() -> random.Random:
    seed = int.from_bytes(os.urandom(4))
    print("seed", seed)
    return random.Random(seed)


def begin(store: CacheStore, key: bytes, length: int, head: bytes = b"") -> Filler:
    filler = Filler.begin(store, key, head, b"", length)
    assert filler is not None
    return filler


# -- what is stored is found ------------------------------------------------------------------------------------------


def test_all_that_was_given_comes_back() -> None:
    store = new()
    words = (1, 2**64 - 1, 3)
    assert store_whole(store, b"key", b"head", b"fields..", b"body", 65535, 2**63, 7, 2**47, words)
    reader = beside(store)
    found = found_in(reader, b"key")
    assert (found.key, found.head, found.fields, found.body()) == (b"key", b"head", b"fields..", b"body")
    assert found.meta == (65535, 2**63, 7, 2**47, words, 0, 0)
    assert (found.body(1), found.body(1, 2), found.body(4)) == (b"ody", b"od", b"")
    assert found.still()
    again = at_place(reader, found.place, found.generation)
    assert again.body() == b"body"
    assert Seen.of(reader, b"ke") is None
    assert Seen.of(reader, b"key ") is None
    assert Seen.at(reader, found.place, found.generation + 1) is None
    assert Seen.at(reader, found.place + 16, found.generation) is None
    assert Seen.at(reader, 2**63, 0) is None


def test_what_may_be_written_again_is() -> None:
    store = new()
    put(store, b"key", b"body")
    found = found_in(store, b"key")
    found.set_checked(99)
    found.set_retry_at(2**48 - 5)
    meta = found_in(store, b"key").meta
    assert (meta[2], meta[5]) == (99, 2**48 - 5)
    assert pins(store, 0) == 0
    # Not by who has no slot: he has no pin to keep the segment with.
    found_in(beside(store), b"key").set_checked(5)
    assert found_in(store, b"key").meta[2] == 99


@pytest.mark.parametrize(
    "length",
    [0, 1, 15, 16, 17, 16_384, 32_000, 48_000, 49_152, 65_535, 65_536, 65_537, 120_000, 131_072, 300_001],
)
def test_bodies_of_all_lengths(length: int) -> None:
    cache = SharedCache.create(8 * MB)  # segments of 64 KB
    body = random.Random(length).randbytes(length)
    for _ in range(3):
        assert cache.put(b"key", body)
    assert cache.get(b"key") == body
    with cache.pin(b"key") as value:
        assert len(value) == length
        assert b"".join(value.parts) == body
        if length < 32_000:
            assert bytes(value) == body
            assert memoryview(value).readonly
    assert cache.stats()["objects"] == 1
    assert cache.stats()["pinned"] == 0


def test_what_is_too_large_is_refused_and_counted() -> None:
    cache = SharedCache.create(4 * MB)
    assert cache.put(b"key", b"small")
    assert not cache.put(b"key", bytes(3 * MB))
    assert cache.get(b"key") is None  # what was there before is not what was stored last
    assert cache.stats()["too_large"] == 1
    assert cache.put(b"key", b"small")
    with pytest.raises(ValueError, match="65,535"):
        cache.put(bytes(65_536), b"")
    assert cache.get(bytes(65_536)) is None


@pytest.mark.parametrize("size", [64 * MB, 1_330_000], ids=["all fits", "much too small"])
def test_a_dictionary_and_the_store_say_the_same(size: int, draw: random.Random) -> None:
    """Nothing is ever found but what was stored last; where all fits everything is."""
    cache = SharedCache.create(size)
    fits = size > 8 * MB
    model: dict[bytes, bytes] = {}
    held: list[tuple[bytes, PinnedValue]] = []
    hits = 0
    for _ in range(20_000):
        key = b"key %d" % draw.randrange(400)
        match draw.randrange(12):
            case 0 | 1 | 2 | 3:
                body = draw.randbytes(draw.choice((draw.randrange(100), draw.randrange(3000), draw.randrange(90_000))))
                stored = cache.put(key, body)
                assert stored or not fits
                model.pop(key, None)
                if stored:
                    model[key] = body
            case 4:
                there = cache.delete(key)
                assert there == (key in model) or not (fits or there)
                model.pop(key, None)
            case 5:
                found = cache.pop(key)
                assert found == model.get(key) or (found is None and not fits)
                model.pop(key, None)
            case 6 | 7:
                value = cache.pin(key)
                assert value is not None or key not in model or not fits
                if value is not None:
                    held.append((model[key], value))
                if len(held) > 4:
                    body, value = held.pop(draw.randrange(len(held)))
                    assert b"".join(value.parts) == body
                    value.close()
            case 8 if draw.random() < 0.01:
                cache.clear()
                model.clear()
            case _:
                found = cache.get(key)
                assert found == model.get(key) or (found is None and not fits)
                hits += found is not None
    assert hits > 300
    for body, value in held:
        assert b"".join(value.parts) == body
        value.close()
    stats = cache.stats()
    objects, dangling, twice, _ = audit(cache.store)
    assert (dangling, twice, stats["damaged"], stats["pinned"]) == (0, 0, 0, 0)
    if fits:
        assert all(cache.get(key) == body for key, body in model.items())
        assert stats["evictions"] == stats["refused"] == 0
    else:
        assert stats["evictions"] > 1000
    assert objects >= sum(cache.get(key) is not None for key in model)


def test_times_end() -> None:
    store = new()
    put(store, b"key", b"body", dies=5000, now=1000)
    assert body_of(store, b"key", 4999) == b"body"
    assert body_of(store, b"key", 5000) is None
    assert body_of(store, b"key", 0) == b"body"  # 0: whenever
    cache = SharedCache.create(4 * MB)
    for ttl in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="ttl"):
            cache.put(b"key", b"", ttl=ttl)
    cache.put(b"key", b"", ttl=0.000001)
    assert cache.put(b"long", b"", ttl=1e300)
    assert cache.get(b"long") == b""


def test_the_clock_of_the_store_counts_while_the_machine_sleeps() -> None:
    now = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
    assert now <= CacheStore.now() <= now + 1000


def test_clear_holds_for_all_and_for_what_is_being_stored() -> None:
    store = new(4 * MB, slots=2)
    other = beside(store, 1)
    for number in range(100):
        put(store if number % 2 else other, b"%d" % number, bytes(100))
    filler = begin(other, b"late", 4)
    filler.append(b"late")
    store.clear()
    assert filler.publish()
    assert [number for number in range(100) if body_of(other, b"%d" % number) is not None] == []
    assert body_of(other, b"late") is None
    assert not put(store, b"7", b"new") or body_of(other, b"7") == b"new"
    # What was there makes place first, without a look at who used it.
    free_all(store, calls=100)
    assert body_of(other, b"7") in (b"new", None)
    assert store.stats()["objects"] <= 2


@pytest.mark.parametrize("is_new", [False, True])
def test_of_two_stores_of_one_key_the_higher_purge_number_stays_then_the_newer(is_new: bool) -> None:
    """``is_new``: whoever stores believes that there is none yet; another one was stored a moment before."""
    store = new()
    assert put(store, b"key", b"asked for after purge 7", purge=7)
    assert put(store, b"key", b"asked for before it", purge=6, is_new=is_new)
    assert body_of(store, b"key") == b"asked for after purge 7"
    assert put(store, b"key", b"newer", purge=7, is_new=is_new)
    assert body_of(store, b"key") == b"newer"
    assert audit(store)[:3] == (1, 0, 0)
    assert store.stats()["objects"] == 1


# -- in pieces, and another head --------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 10, 1000, 60_000, 200_000])
def test_a_body_in_pieces_is_seen_by_others_as_it_comes_and_found_when_it_is_whole(length: int) -> None:
    store, body = new(slots=2), random.Random(length).randbytes(length)
    others = beside(store), beside(store, 1)
    filler = begin(store, b"key", length, b"head")
    at = 0
    for size in (0, 1, 7, 30_000, 100_000):
        piece = body[at : at + size]
        assert filler.append(piece)
        at += len(piece)
        for other in others:
            found = at_place(other, filler.place, filler.generation)
            assert (found.key, found.head, found.filled) == (b"key", b"head", at)
            assert found.body(0, at) == body[:at]
            assert body_of(other, b"key") is None
    assert filler.append(body[at:])
    assert filler.publish()
    assert not filler.publish()
    assert pins(store, 0) == 0
    for other in others:
        assert body_of(other, b"key") == body
        assert found_in(other, b"key").filled == length


def test_what_is_not_whole_is_never_found() -> None:
    store = new()
    put(store, b"key", b"before")
    short = begin(store, b"key", 5)
    short.append(b"1234")
    found = at_place(store, short.place, short.generation)
    assert not short.publish()
    assert found.filled is None
    long = begin(store, b"key", 5)
    assert not long.append(b"123456")
    assert not long.append(b"")
    assert not long.publish()
    left = begin(store, b"key", 100_000)
    left.append(bytes(70_000))
    left.abandon()
    left.abandon()
    assert not left.append(b"")
    assert body_of(store, b"key") == b"before"
    assert pins(store, 0) == 0
    # Two that fill one key: who is finished last is the newer one only if he began later.
    first, second = (begin(store, b"key", 1) for _ in range(2))
    first.append(b"1")
    second.append(b"2")
    assert second.publish()
    assert not first.publish()
    assert body_of(store, b"key") == b"2"


def test_a_fill_whose_segment_has_to_go_is_not_found_and_not_overwritten() -> None:
    store = new(1_330_000, slots=1)
    filler = begin(store, b"key", 1000)
    filler.append(b"x" * 500)
    for number in range(3000):
        put(store, b"%d" % number, bytes(2000))
    found = at_place(store, filler.place, filler.generation)
    assert found.body(0, 500) == b"x" * 500
    filler.append(b"x" * 500)
    stored = filler.publish()
    assert body_of(store, b"key") == (b"x" * 1000 if stored else None)
    assert audit(store)[1:3] == (0, 0)


@pytest.mark.parametrize("length", [0, 1000, 60_000, 100_000, 120_000, 131_072])
def test_another_head_for_a_body_that_stays(length: int) -> None:
    store, body = new(), random.Random(length).randbytes(length)
    store_whole(store, b"key", b"old head", b"", body, words=(1, 1, 1))
    old = found_in(store, b"key")
    assert old.replace_head(b"a new and longer head", b"fields", words=(2, 3, 4), checked=5)
    new_one = found_in(store, b"key")
    assert (new_one.head, new_one.fields, new_one.body()) == (b"a new and longer head", b"fields", body)
    assert new_one.meta[4] == (2, 3, 4)
    assert audit(store) == (1, 0, 0, old.parts)
    # Of what is not there any more nothing is made.
    assert not old.replace_head(b"again", b"")
    put(store, b"key", b"another")
    assert not new_one.replace_head(b"again", b"")
    assert body_of(store, b"key") == b"another"
    assert store.stats()["objects"] == 1
    assert store.stats()["drained"] == 0


# -- pins -------------------------------------------------------------------------------------------------------------


def test_what_is_pinned_stays_whatever_becomes_of_its_key() -> None:
    cache = SharedCache.create(1_330_000)
    large, small = os.urandom(100_000), os.urandom(100)
    cache.put(b"large", large)
    cache.put(b"small", small)
    values = cache.pin(b"large"), cache.pin(b"small")
    cache.delete(b"large")
    cache.put(b"small", b"another")
    for number in range(5000):
        cache.put(b"%d" % number, bytes(number % 3000))
    assert cache.stats()["evictions"] > 1000
    assert b"".join(values[0].parts) == large
    assert bytes(values[1]) == small
    assert cache.stats()["pinned"] >= 3
    with pytest.raises(BufferError, match="close what is pinned first"):
        cache.close()
    view = memoryview(values[1])
    with pytest.raises(BufferError, match="release its memoryviews first"):
        values[1].close()
    view.release()
    values[1].close()
    values[1].close()
    with pytest.raises(ValueError, match="closed"):
        memoryview(values[1])
    with pytest.raises(BufferError, match="several parts"):
        memoryview(values[0])
    del values
    assert pins(cache.store, 0) == 0
    cache.close()


def test_what_is_collected_in_a_circle_is_given_back() -> None:
    class Holder:
        pass

    cache = SharedCache.create(4 * MB, slots=1)
    fd = os.dup(cache.fd)
    cache.put(b"key", b"value")
    cache.put(b"large", bytes(200_000))
    holder: Any = Holder()
    holder.itself, holder.cache, holder.value = holder, cache, cache.pin(b"key")
    holder.parts = cache.pin(b"large").parts
    del holder, cache
    gc.collect()
    other = SharedCache.attach(fd, slot=0)
    assert pins(other.store, 0) == 0
    assert other.get(b"key") == b"value"


def test_a_store_that_is_full_of_pins_stores_nothing_and_goes_on_when_they_are_gone() -> None:
    cache = SharedCache.create(1_330_000)
    held = []
    number = refused = 0
    while refused < 20:
        key = b"%d" % number
        number += 1
        if cache.put(key, key * 5000):
            held.append((key, cache.pin(key)))
        else:
            refused += 1
        assert number < 1000
    assert cache.stats()["refused"] == 20
    assert all(bytes(value) == key * 5000 for key, value in held)
    held.clear()
    # All of it was used: at first there is work to do.
    assert sum(cache.put(b"x%d" % number, bytes(5000)) for number in range(500)) > 490


def test_who_has_no_slot_reads_and_deletes() -> None:
    cache = SharedCache.create(4 * MB, slots=1)
    cache.put(b"key", b"value")
    reader = SharedCache.attach(os.dup(cache.fd))
    assert reader.slot is None
    assert reader.get(b"key") == b"value"
    assert b"key" in reader
    for call in (lambda: reader.pin(b"key"), lambda: reader.put(b"key", b"")):
        with pytest.raises(RuntimeError, match="no slot"):
            call()
    assert reader.delete(b"key")
    assert b"key" not in cache


def test_a_fork_has_no_slot() -> None:
    program = """
import os
from fastgate.cache import SharedCache
cache = SharedCache.create(4 << 20, slots=2)
cache.put(b"key", b"value")
value = cache.pin(b"key")
if os.fork() == 0:
    assert cache.slot is None and cache.get(b"key") == b"value" and bytes(value) == b"value"
    try:
        cache.put(b"key", b"of the child")
    except RuntimeError:
        mine = SharedCache.attach(os.dup(cache.fd), slot=1)
        mine.put(b"child", b"1")
        del value, cache, mine
        os._exit(0)
    os._exit(1)
assert os.wait()[1] == 0
assert cache.slot == 0 and cache.stats()["pinned"] == 1 and cache.get(b"child") == b"1"
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True)


# -- making room ------------------------------------------------------------------------------------------------------


def test_a_scan_does_not_throw_out_what_is_used() -> None:
    """A least recently used cache of this size would have nothing left of the first keys."""
    cache = SharedCache.create(4 * MB)
    room = cache.stats()["segments"] * 65536
    hot = [b"hot %d" % number for number in range(room // 4000)]
    for key in hot:
        cache.put(key, bytes(1000))
        cache.get(key)
    for number in range(10 * room // 1000):
        cache.put(b"scan %d" % number, bytes(1000))
    assert sum(cache.get(key) is not None for key in hot) > 0.9 * len(hot)
    assert cache.stats()["kept"] > 0.9 * len(hot)


def test_what_comes_back_is_kept() -> None:
    cache = SharedCache.create(4 * MB)
    room = cache.stats()["segments"] * 65536
    for number in range(2 * room // 1000):
        cache.put(b"%d" % number, bytes(1000))
    gone = [b"%d" % number for number in range(2 * room // 1000) if b"%d" % number not in cache][-200:]
    for key in gone:
        cache.put(key, bytes(1000))
    assert cache.stats()["returned"] > 150
    for number in range(2 * room // 1000):
        cache.put(b"scan %d" % number, bytes(1000))
    assert sum(key in cache for key in gone) > 150


def test_what_is_past_its_use_goes_first() -> None:
    store = new(4 * MB)
    for number in range(200):
        put(store, b"old %d" % number, bytes(1000), now=1000)
    for number in range(200):
        put(store, b"short %d" % number, bytes(1000), dies=2000, now=1000)
    for number in range(200):
        put(store, b"new %d" % number, bytes(1000), now=1000)
    for _ in range(20):
        work(store, 1 << 16, now=3000)
        if store.stats()["freed"] >= 2:
            break
    assert store.stats()["expired"] > 80
    alive = sum(body_of(store, b"old %d" % number, 3000) is not None for number in range(200))
    assert alive > 60, "the oldest went, though others are of no use"


def test_an_index_that_is_full_lets_the_least_used_go() -> None:
    cache = SharedCache.create(2 * MB)
    for number in range(12_000):
        cache.put(b"%d" % number, b"")
    stats = cache.stats()
    assert stats["crowded_out"] > 100
    objects, dangling, twice, _ = audit(cache.store)
    assert (objects, dangling, twice) == (stats["objects"], 0, 0)
    assert all(cache.get(b"%d" % number) == b"" for number in range(11_990, 12_000))


def test_large_bodies_come_and_go() -> None:
    cache = SharedCache.create(8 * MB)
    draw = random.Random(1)
    bodies = {b"%d" % number: draw.randbytes(100_000 + number) for number in range(30)}
    hits = 0
    for _ in range(3000):
        key = b"%d" % min(int(draw.paretovariate(0.5)), 29)
        found = cache.get(key)
        assert found is None or found == bodies[key]
        hits += found is not None
        if found is None:
            cache.put(key, bodies[key])
        if draw.random() < 0.2:
            cache.put(b"once %d" % draw.randrange(10**9), bytes(draw.randrange(200_000)))
    assert hits > 1200
    objects, dangling, twice, parts = audit(cache.store)
    assert (dangling, twice) == (0, 0)
    assert parts > 10
    # No segment belongs to a body that is gone.
    bodies_there = sum(kind >= 2 for state, kind, _, _ in segments(cache.store) if state != "free")
    assert bodies_there == parts
    assert objects == cache.stats()["objects"]


@pytest.mark.parametrize("ended", ["by time", "by clear"])
def test_large_bodies_that_are_of_no_use_any_more_do_not_stop_the_store(ended: str) -> None:
    """Whichever of their parts is met first: one of three bodies lies across the end of the file."""
    for shift in range(3):
        store = new(4 * MB)
        for number in range(shift):
            store_whole(store, b"shift %d" % number, b"", b"", bytes(50_000), dies=2000, now=1000)
        number = 0
        while store_whole(store, b"%d" % number, b"", b"", bytes(150_000), dies=2000, now=1000):
            number += 1
            if number == 15:
                store_whole(store, b"0", b"", b"", b"", dies=2000, now=1000)
                store_whole(store, b"1", b"", b"", b"", dies=2000, now=1000)
            if number == 17:
                break
        if ended == "by clear":
            store.clear()
        free_all(store, now=1000 if ended == "by clear" else 3000, calls=200)
        assert [kind for state, kind, _, _ in segments(store) if state != "free" and kind >= 2] == []


def test_a_body_lives_as_long_as_its_newest_head() -> None:
    store, body = new(4 * MB), random.Random(1).randbytes(200_000)
    for number in range(120):
        put(store, b"older %d" % number, bytes(1000))
    store_whole(store, b"key", b"", b"", body, dies=2000, now=1000)
    found = Seen.of(store, b"key", 1000)
    assert found is not None
    assert found.replace_head(b"", b"", dies=9000, now=1000)
    # The first that goes is the oldest, not what would be past its use without the new head.
    while not store.stats()["evictions"]:
        work(store, 1, now=3000)
    assert body_of(store, b"key", 3000) == body
    assert store.stats()["expired"] == 0


def test_what_was_cleared_gets_no_new_head() -> None:
    store = new()
    put(store, b"key", b"body")
    found = found_in(store, b"key")
    store.clear()
    assert not found.replace_head(b"head", b"")
    assert body_of(store, b"key") is None
