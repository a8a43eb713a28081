"""Regions of shared memory: who opens one finds what he knows, or hears what is wrong."""

import gc
import mmap
import os
import struct

import pytest
from core.regions import engine, prepare, prepare_shares, ring

from fastgate._core.limits.concurrency import Concurrency, release_slot, shares_size
from fastgate._core.limits.rate import FixedWindow, SlidingWindowLog, TokenBucket, evictions, limits_size, logs_size
from fastgate._core.memory.events import EventRing
from fastgate._core.memory.plugin_times import PluginTimes, plugins_size
from fastgate._core.memory.region import Region
from fastgate._core.memory.segment import Segment, SegmentError
from fastgate._core.memory.targets import TargetRows
from fastgate._core.probes.shared import add_in_flight

NAMES = ("workers", "counters", "targets", "events", "limits", "logs", "shares", "plugins")


def whole() -> Segment:
    segment = Segment.create(
        slots=2,
        targets=8,
        limits=limits_size(64),
        logs=logs_size(512),
        shares=shares_size(16, 2),
        plugins=plugins_size(2),
    )
    prepare(segment)
    prepare_shares(segment)
    return segment


USERS = {
    "targets": TargetRows,
    "events": EventRing,
    "limits": lambda region: TokenBucket(1, region=region),
    "logs": lambda region: SlidingWindowLog(1, region=region),
    "shares": lambda region: Concurrency(1, region=region),
    "plugins": lambda region: PluginTimes(region, 0, "a"),
}


@pytest.mark.parametrize("name", USERS)
def test_each_region_opens_for_what_it_is_and_for_nothing_else(name: str) -> None:
    segment = whole()
    for other in NAMES:
        if other == name:
            USERS[name](segment.region(other))
        else:
            with pytest.raises(SegmentError, match=f"this is the region '{other}', not '{name}'"):
                USERS[name](segment.region(other))


def test_a_region_has_the_name_size_and_slots_that_were_asked_for() -> None:
    segment = whole()
    assert {name: segment.region(name).name for name in NAMES} == {name: name for name in NAMES}
    assert segment.region("limits").size == limits_size(64)
    assert {segment.region(name).slots for name in NAMES} == {2}
    with pytest.raises(SegmentError, match="no region 'ledger': two versions of fastgate met"):
        segment.region("ledger")
    with pytest.raises(TypeError, match=r"Segment\.region"):
        Region()


@pytest.mark.parametrize("number", range(len(NAMES)), ids=NAMES)
def test_a_region_of_another_version_is_named(number: int) -> None:
    """Where the directory has the version of each: behind 48 bytes, 32 for each region."""
    segment = whole()
    with mmap.mmap(segment.fd, 4096) as memory:
        struct.pack_into("=I", memory, 48 + 32 * number + 16, 7)
    message = f"layout 7 of the region '{NAMES[number]}' is not 1: two versions of fastgate met"
    with pytest.raises(SegmentError, match=message):
        Segment.attach(os.dup(segment.fd))


@pytest.mark.parametrize("number", range(len(NAMES)), ids=NAMES)
@pytest.mark.parametrize("size", [1 << 40, (1 << 64) - 1])
def test_a_region_that_would_lie_behind_the_end_is_refused(number: int, size: int) -> None:
    segment = whole()
    with mmap.mmap(segment.fd, 4096) as memory:
        struct.pack_into("=Q", memory, 48 + 32 * number + 24, size)
    with pytest.raises(SegmentError, match="contradicts its size"):
        Segment.attach(os.dup(segment.fd))


def test_what_lies_in_a_region_outlives_the_segment_object() -> None:
    segment = whole()
    limit, shares, rows = (
        FixedWindow(2, 3600, region=segment.region("limits")),
        Concurrency(1, region=segment.region("shares")),
        segment.rows,
    )
    events, worker = ring(segment), engine(None, segment, 1, print)
    descriptor = segment.fd
    del segment
    gc.collect()
    assert [bool(limit.take("k")) for _ in range(3)] == [True, True, False]
    assert shares.take("k")
    add_in_flight(rows, rows.row("a"), 1, 1)
    events.append("drained", 1, "up", "drained")
    assert os.fstat(descriptor)
    del limit, shares, rows, events, worker
    gc.collect()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_a_slot_that_a_region_has_not() -> None:
    segment = whole()
    for slot in (-1, 2):
        with pytest.raises(IndexError, match=f"slot {slot} of 2"):
            engine(None, segment, slot, print)
        with pytest.raises(IndexError, match=f"slot {slot} of 2"):
            release_slot(segment.region("shares"), slot)


def test_a_limit_with_memory_of_its_own_shares_it_with_those_that_are_forked() -> None:
    limit = TokenBucket(2, 3600)
    child = os.fork()
    if child == 0:
        limit.take("k")
        os._exit(0)
    os.waitpid(child, 0)
    assert limit.take("k").remaining == 0
    assert evictions(limit.region) == 0
