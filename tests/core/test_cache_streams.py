"""Bodies of unknown length in the store of the response cache: read along, published, abandoned, left by the dead."""

import os
import random

import pytest
from core.cache_stores import MB, at_place, beside, body_of, found_in, new, put

from fastgate._core.memory.cache.cache_store import CacheStore
from fastgate._core.probes.cache_probe import (
    Filler,
    Seen,
    audit,
    free_all,
    pins,
    release_part,
    scratch,
    segments,
    work,
)

SEGMENT = 65_536


@pytest.fixture
def draw() -> random.Random:
    seed = int.from_bytes(os.urandom(4))
    print("seed", seed)
    return random.Random(seed)


def begin(store: CacheStore, key: bytes, most: int = MB, head: bytes = b"", **meta: int) -> Filler:
    stream = Filler.stream(store, key, head, b"", most, **meta)  # type: ignore[arg-type]
    assert stream is not None
    return stream


def remaining(store: CacheStore) -> int:
    """Segments of bodies once others needed their room: what is whole and not stored stays for readers until then."""
    for number in range(6 * store.file.segments):
        put(store, b"fill %d" % number, bytes(SEGMENT // 3))
    return body_segments(store)


def body_segments(store: CacheStore) -> int:
    """How many segments are parts of bodies."""
    return sum(kind >= 2 for state, kind, _, _ in segments(store) if state != "free")


def parts_for(length: int) -> int:
    """How many segments of its own a body has: three quarters of one lie in the record, and so much of its tail."""
    most = SEGMENT * 3 // 4 - 300
    if length <= most:
        return 0
    return length // SEGMENT if length >= SEGMENT and length % SEGMENT <= most else -(-length // SEGMENT)


@pytest.mark.parametrize(
    "length",
    [0, 1, 1000, 16_384, 48_000, 50_000, SEGMENT - 1, SEGMENT, SEGMENT + 1, 2 * SEGMENT - 1, 2 * SEGMENT, 200_001],
)
def test_others_read_along_and_it_is_stored_with_its_own_length(length: int) -> None:
    store, body = new(slots=2), random.Random(length).randbytes(length)
    others = beside(store), beside(store, 1)
    stream = begin(store, b"key", head=b"first head")
    at = 0
    for size in (0, 1, 7, 30_000, 100_000, length):
        piece = body[at : at + size]
        assert stream.append(piece)
        at += len(piece)
        for other in others:
            found = at_place(other, stream.place, stream.generation)
            assert (found.key, found.head, found.filled, found.ended) == (b"key", b"first head", at, False)
            assert found.body(0, at) == body[:at]
            assert found.body(0, at + 1) is None, "what is not there yet"
            assert body_of(other, b"key") is None
    assert scratch(store) == [-(-length // SEGMENT), 0]
    place = stream.publish_stream(b"key", b"another head", b"fields", words=(1, 2, 3))
    assert place is not None
    assert stream.publish_stream(b"key", b"", b"") is None
    assert (pins(store, 0), scratch(store)) == (0, [0, 0])
    for other in others:
        for stored in (found_in(other, b"key"), at_place(other, *place)):
            assert (stored.head, stored.fields, stored.body()) == (b"another head", b"fields", body)
            assert (stored.filled, stored.ended, stored.meta[4]) == (length, True, (1, 2, 3))
        along = at_place(other, stream.place, stream.generation)
        assert (along.filled, along.ended) == (length, True)
        # The parts are handed over; what was copied into the record has given its scratch segment back.
        parts = parts_for(length)
        there = min(length, parts * SEGMENT)
        assert along.body(0, there) == body[:there]
        assert along.body(0, there + 1) is None
    assert body_segments(store) == parts
    assert audit(store)[:3] == (1, 0, 0)
    assert store.stats()["objects"] == 1


@pytest.mark.parametrize("length", [20_000, 100_000])
def test_who_has_a_part_pinned_reads_it_to_its_end_whatever_becomes_of_the_object(length: int) -> None:
    store, body = new(3 * MB, slots=2), random.Random(length).randbytes(length)
    reader = beside(store, 1)
    stream = begin(store, b"key")
    stream.append(body)
    along = at_place(reader, stream.place, stream.generation)
    held = along.hold_part()
    assert held is not None
    assert stream.publish_stream(b"key", b"", b"") is not None
    assert put(store, b"key", b"another")
    for number in range(3000):
        put(store, b"%d" % number, bytes(2000))
    assert body_of(store, b"key") in (None, b"another")
    assert along.body(0, min(length, SEGMENT)) in (None, body[:SEGMENT])
    start = held * SEGMENT + store.file.size - store.file.segments * SEGMENT
    assert os.pread(store.file.fd, min(length, SEGMENT), start) == body[:SEGMENT]
    release_part(reader, held)
    # And who comes later finds nothing of another life.
    for number in range(3000):
        put(store, b"%d" % number, bytes(2000))
    assert along.body(0, 1) is None
    assert pins(store, 1) == 0


def test_what_is_abandoned_says_so_and_gives_all_back() -> None:
    store = new(slots=2)
    put(store, b"key", b"before")
    left = begin(store, b"key")
    left.append(bytes(150_000))
    along = at_place(beside(store), left.place, left.generation)
    assert body_segments(store) == 3
    left.abandon()
    left.abandon()
    assert (along.filled, along.ended, along.body(0, 1)) == (None, True, None)
    assert not left.append(b"")
    assert left.publish_stream(b"key", b"", b"") is None
    # A stream is not published as what has a length; nor beyond the most that was said; nor under another key.
    wrong = begin(store, b"key", 4)
    wrong.append(b"1234")
    assert not wrong.publish()
    long = begin(store, b"key", 4)
    assert not long.append(b"12345")
    assert at_place(store, long.place, long.generation).filled is None
    other = begin(store, b"key")
    other.append(b"1234")
    assert other.publish_stream(b"another", b"", b"") is None
    assert body_of(store, b"another") is None
    assert body_of(store, b"key") == b"before"
    assert (remaining(store), pins(store, 0), scratch(store)) == (0, 0, [0, 0])


def test_streams_have_an_eighth_of_the_store_in_all_processes_together() -> None:
    store = new(4 * MB, slots=2)
    other = beside(store, 1)
    most = store.file.segments // 8
    streams = [begin(store if number % 2 else other, b"%d" % number) for number in range(most)]
    for stream in streams:
        assert stream.append(b"x")
    assert sum(scratch(store)) == most
    assert Filler.stream(other, b"one more", b"", b"", MB) is None
    assert store.stats()["refused"] == 1
    assert not streams[0].append(bytes(SEGMENT)), "a second segment"
    assert at_place(store, streams[0].place, streams[0].generation).filled is None
    assert sum(scratch(store)) == most - 1
    begin(other, b"one more").abandon()
    # What has a length is not bounded so, and what was published makes place for others.
    assert put(other, b"large", bytes(SEGMENT * (most + 1)))
    place = streams[1].publish_stream(b"1", b"", b"")
    assert place is not None
    assert sum(scratch(store)) == most - 2
    store.recover(1)
    assert scratch(store)[1] == 0
    # No stream is longer than that by itself.
    for slot in range(2):
        store.recover(slot)
    alone = begin(new(4 * MB), b"key", 2**63)
    assert alone.append(bytes(SEGMENT * most))
    assert not alone.append(b"1")


def test_a_clear_and_a_later_fetch_hold_for_what_is_being_streamed() -> None:
    store = new()
    cleared = begin(store, b"key")
    cleared.append(b"cleared")
    store.clear()
    cleared.publish_stream(b"key", b"", b"")
    assert body_of(store, b"key") is None
    for purges, stays in (((0, 0), b"2"), ((1, 0), b"1")):
        first, second = (begin(store, b"key %d" % purges[0], purge=purge) for purge in purges)
        first.append(b"1")
        second.append(b"2")
        second.publish_stream(b"key %d" % purges[0], b"", b"", purge=purges[1])
        first.publish_stream(b"key %d" % purges[0], b"", b"", purge=purges[0])
        # Who began later is the newer one, whoever was finished first; but what was purged in between is not.
        assert body_of(store, b"key %d" % purges[0]) == stays
    assert audit(store)[1:3] == (0, 0)
    assert remaining(store) == 0


def test_a_head_that_leaves_no_room_is_refused() -> None:
    store = new()
    assert Filler.stream(store, b"key", bytes(SEGMENT), b"", 10) is None
    stream = begin(store, b"key")
    stream.append(b"body")
    along = at_place(store, stream.place, stream.generation)
    assert stream.publish_stream(b"key", bytes(SEGMENT), b"") is None
    # Who reads along has all of it all the same, as far as he has pinned it.
    assert (along.filled, along.ended) == (4, True)
    assert store.stats()["too_large"] == 2
    assert (remaining(store), pins(store, 0), scratch(store)) == (0, 0, [0])
    assert Filler.stream(beside(store), b"key", b"", b"", 10) is None, "without a slot"


def test_a_new_head_for_what_was_streamed() -> None:
    store, body = new(), random.Random(1).randbytes(150_000)
    stream = begin(store, b"key")
    stream.append(body)
    stream.publish_stream(b"key", b"head", b"")
    assert found_in(store, b"key").replace_head(b"new head", b"")
    stored = found_in(store, b"key")
    assert (stored.head, stored.body()) == (b"new head", body)
    assert at_place(store, stream.place, stream.generation).body(0, 2 * SEGMENT) == body[: 2 * SEGMENT]
    # And what is streamed while its key gets another body.
    stream = begin(store, b"key")
    stream.append(body[::-1])
    assert put(store, b"key", b"in between")
    assert stream.publish_stream(b"key", b"", b"") is None
    assert body_of(store, b"key") == b"in between"
    assert remaining(store) == 0


@pytest.mark.parametrize("length", [10, 100_000])
def test_a_process_that_dies_while_it_streams(length: int) -> None:
    store = new(4 * MB, slots=2)
    dead = beside(store, 1)
    stream = begin(dead, b"key")
    stream.append(bytes(length))
    along = at_place(store, stream.place, stream.generation)
    for _ in range(2):
        store.recover(1)
        assert (pins(store, 1), scratch(store)) == (0, [0, 0])
    assert (along.filled, along.ended) == (length, False)
    assert body_of(store, b"key") is None
    store.clear()
    free_all(store, calls=1000)
    assert {state for state, _, _, _ in segments(store)} <= {"free", "open"}
    assert along.body(0, 1) is None


@pytest.mark.parametrize("size", [1_610_000, 3 * MB, 6 * MB])
def test_streams_among_all_else_in_a_store_that_is_too_small(size: int, draw: random.Random) -> None:
    """Nothing is ever found but what was stored last, and nobody reads along but what was appended."""
    store = new(size, slots=2)
    other = beside(store, 1)
    model: dict[bytes, bytes] = {}
    streams: list[tuple[bytes, Filler, bytearray, Seen]] = []
    counts = dict.fromkeys(("published", "refused", "along", "gone"), 0)

    def check(key: bytes) -> None:
        found = body_of(draw.choice((store, other)), key)
        assert found is None or found == model[key]

    def drop(key: bytes) -> None:
        """What began before this is older, and does not replace it."""
        model.pop(key, None)
        streams[:] = [each if each[0] != key else (b"", *each[1:]) for each in streams]

    for _ in range(6000):
        key = b"key %d" % draw.randrange(60)
        at = draw.choice((store, other))
        match draw.randrange(10):
            case 0 | 1:
                body = draw.randbytes(draw.choice((0, draw.randrange(3000), draw.randrange(90_000))))
                if put(at, key, body):
                    drop(key)
                    model[key] = body
            case 2:
                found = Seen.of(at, key)
                if found is not None and found.replace_head(b"head", b""):
                    streams[:] = [each if each[0] != key else (b"", *each[1:]) for each in streams]
            case 3 if len(streams) < 4 and all(key != each[0] for each in streams):
                stream = Filler.stream(at, key, b"head", b"", 200_000)
                if stream is None:
                    counts["refused"] += 1
                else:
                    seen = at_place(draw.choice((store, other)), stream.place, stream.generation)
                    streams.append((key, stream, bytearray(), seen))
            case 4 | 5 | 6 if streams:
                place = draw.randrange(len(streams))
                key, stream, body, seen = streams[place]
                piece = draw.randbytes(draw.choice((0, draw.randrange(2000), draw.randrange(60_000))))
                body += piece
                if not stream.append(piece):
                    assert seen.filled is None
                    del streams[place]
                    counts["refused"] += 1
            case 7 if streams:
                key, stream, body, seen = streams.pop(draw.randrange(len(streams)))
                if draw.random() < 0.2:
                    stream.abandon()
                    assert seen.filled is None
                    continue
                stored = stream.publish_stream(key, b"new head", b"") if key else stream.publish_stream(b"no", b"", b"")
                if seen.still():
                    assert (seen.filled, seen.ended) == (len(body), True)
                    assert seen.body(0, len(body)) in (None, body)
                if stored is not None:
                    counts["published"] += 1
                    model[key] = bytes(body)
                    assert at_place(other, *stored).body() == body
            case 8 if streams:
                _, _, body, seen = draw.choice(streams)
                if seen.still():
                    assert (seen.filled, seen.ended) == (len(body), False)
                    assert seen.body(0, len(body)) == body
                    counts["along"] += 1
                else:
                    counts["gone"] += 1
            case _:
                check(key)
    print(counts)
    for _, stream, _, _ in streams:
        stream.abandon()
    for key in model:
        check(key)
    assert counts["published"] > 40
    assert counts["along"] > 40
    assert counts["gone"] == 0, "the segment of a stream's record is kept by whoever streams"
    assert audit(store)[1:3] == (0, 0)
    assert (scratch(store), pins(store, 0), pins(store, 1)) == ([0, 0], 0, 0)
    assert store.stats()["damaged"] == 0
    assert store.stats()["evictions"] > 100 or size > 5 * MB
    for each in (store, other):
        work(each, 1)
    store.clear()
    free_all(store, calls=2000)
    assert {state for state, _, _, _ in segments(store)} <= {"free", "open", "reclaim"}
