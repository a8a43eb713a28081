"""The ring of events: by itself, with readers that are slow, with writers that die."""

from collections import Counter

import pytest
from core.processes import output_of, release, start
from hypothesis import given
from hypothesis import strategies as st

from fastgate._core.memory.events import EventRing, StateEvent
from fastgate._core.memory.segment import Segment
from fastgate._core.probes.shared import begin_event

PLACES = 1024


def append(ring: EventRing, *values: int) -> None:
    for value in values:
        ring.append("health", 7, "up", "down", value, now=value)


def values(events: list[StateEvent]) -> list[int]:
    return [event.value for event in events]


def test_an_event_is_read_as_it_was_appended() -> None:
    ring = EventRing(Segment.create(targets=8).region("events"))
    ring.append("ejected", 3, "up", "ejected", 30_000, now=123_456)
    ring.append("breaker", 4, "half-open", "closed", (1 << 64) - 1, now=123_457)
    assert ring.last == 2
    assert ring.read() == [
        StateEvent(1, 123_456, "ejected", 3, "up", "ejected", 30_000),
        StateEvent(2, 123_457, "breaker", 4, "half-open", "closed", (1 << 64) - 1),
    ]
    assert ring.read() == []
    assert (ring.cursor, ring.missed) == (2, 0)


@given(st.lists(st.one_of(st.integers(1, 600), st.just(0)), max_size=12), st.integers(0, 40))
def test_a_reader_gets_every_event_in_order_or_knows_how_many_it_missed(steps: list[int], after: int) -> None:
    """A number appends as many, 0 reads; the model is a list."""
    segment = Segment.create(targets=8)
    writer, reader = EventRing(segment.region("events")), EventRing(segment.region("events"), after=after)
    model: list[int] = []
    cursor, missed = after, 0
    for step in [*steps, 0]:
        if step:
            append(writer, *range(len(model), len(model) + step))
            model.extend(range(len(model), len(model) + step))
            continue
        lost = max(0, len(model) - PLACES - cursor)
        missed += lost
        assert values(reader.read()) == model[cursor + lost :]
        cursor = max(cursor, len(model))
        assert (reader.cursor, reader.missed) == (cursor, missed)


def test_readers_do_not_disturb_each_other() -> None:
    segment = Segment.create(targets=8)
    ring = EventRing(segment.region("events"))
    append(ring, 1, 2, 3)
    assert values(EventRing(segment.region("events")).read()) == [1, 2, 3]
    assert values(EventRing(segment.region("events"), after=2).read()) == [3]
    assert values(ring.read()) == [1, 2, 3]


def test_a_hole_that_a_dead_writer_left_is_skipped_after_a_second() -> None:
    segment = Segment.create(targets=8)
    ring, reader = EventRing(segment.region("events")), EventRing(segment.region("events"))
    append(ring, 1)
    begin_event(ring)
    append(ring, 3)
    begin_event(ring)
    append(ring, 5)
    assert values(reader.read(now=10_000)) == [1]
    assert values(reader.read(now=10_999)) == []
    assert values(reader.read(now=11_000)) == [3, 5]    # one second for both holes
    assert reader.missed == 2


def test_a_later_hole_has_its_own_second() -> None:
    segment = Segment.create(targets=8)
    ring, reader = EventRing(segment.region("events")), EventRing(segment.region("events"))
    begin_event(ring)
    assert reader.read(now=10_000) == []
    begin_event(ring)
    append(ring, 3)
    assert values(reader.read(now=11_000)) == []
    assert values(reader.read(now=12_000)) == [3]


def test_a_hole_of_the_lap_before_is_a_hole_too() -> None:
    segment = Segment.create(targets=8)
    ring, reader = EventRing(segment.region("events")), EventRing(segment.region("events"))
    append(ring, *range(PLACES + 5))
    reader.read()
    begin_event(ring)
    append(ring, 9999)
    assert values(reader.read(now=1)) == []
    assert values(reader.read(now=1001)) == [9999]


def test_an_event_needs_a_kind_and_states_that_exist() -> None:
    ring = EventRing(Segment.create(targets=8).region("events"))
    for arguments in (("", 1, "up", "down"), ("other", 1, "up", "down"), ("health", 1, "up", "sideways")):
        with pytest.raises(ValueError):
            ring.append(*arguments)
    assert ring.last == 0


def test_processes_that_append_at_once_lose_nothing_and_keep_their_own_order() -> None:
    segment = Segment.create(targets=8)
    program = """
from fastgate._core.memory.events import EventRing
ring = EventRing(segment.region("events"))
print("ready", flush=True)
input()
for value in range(250): ring.append("health", {0}, "up", "down", value)
"""
    writers = [start(segment, program.format(row)) for row in range(4)]
    release(writers)
    for writer in writers:
        output_of(writer)
    events = EventRing(segment.region("events")).read()
    assert Counter(event.row for event in events) == dict.fromkeys(range(4), 250)
    for row in range(4):
        assert [event.value for event in events if event.row == row] == list(range(250))
    assert [event.sequence for event in events] == list(range(1, 1001))


def test_what_is_read_while_others_write_is_never_torn() -> None:
    segment = Segment.create(targets=8)
    program = """
from fastgate._core.memory.events import EventRing
ring = EventRing(segment.region("events"))
print("ready", flush=True)
input()
for value in range(30_000): ring.append("health", value, "up", "down", value * 3, value * 7)
"""
    writers = [start(segment, program) for _ in range(2)]
    release(writers)
    reader = EventRing(segment.region("events"))
    seen = 0
    while any(writer.poll() is None for writer in writers) or reader.cursor < reader.last:
        for event in reader.read():
            seen += 1
            assert (event.value, event.time) == (event.row * 3, event.row * 7)
    for writer in writers:
        output_of(writer)
    assert seen > 0
    assert seen + reader.missed == reader.last == 60_000
