"""Numbers that come from Python are compared with the memory that they are an index into."""

from typing import Any

import pytest
from core.playbook import world
from core.regions import engine, prepare, ring

from fastgate._core.delivery.health import UpstreamHealth
from fastgate._core.delivery.pool import Target
from fastgate._core.delivery.retry import Judgement
from fastgate._core.limits.rate import TokenBucket, limits_size
from fastgate._core.memory.plugin_times import PluginTimes, plugin_times, plugins_size
from fastgate._core.memory.segment import Segment
from fastgate._core.probes.limits import flood


@pytest.mark.parametrize("word", ["600", "999", "99", "0", "-1", "123456789", "9xx", "6xx", "0xx", "-xx"])
def test_statuses_that_count_as_failures(word: str) -> None:
    with pytest.raises(ValueError, match=r"not a status|invalid literal"):
        Judgement([word])
    Judgement(["100", "599", "1xx", "5xx"])


@pytest.mark.parametrize("slot", [-1, 1, 1 << 20])
def test_the_slot_of_a_worker(slot: int) -> None:
    with pytest.raises(IndexError, match=f"slot {slot} of 1"):
        engine(None, Segment.create(slots=1, targets=4), slot, print)


@pytest.mark.parametrize("number", [-1, 16, 1 << 20])
def test_the_row_of_a_target(number: int) -> None:
    with world() as play, pytest.raises(IndexError, match=f"target {number} of 16"):
        Target(play.engine, name="t", number=number)


def test_a_region_for_plugins_that_is_too_small() -> None:
    """Its rows would lie behind it, where nothing is mapped."""
    for size in (plugins_size(2), plugins_size(2) - 1, 8, 0):
        segment = Segment.create(slots=2, targets=4, plugins=size)
        PluginTimes(segment.region("plugins"), 1, "name")
        assert plugin_times(segment.region("plugins"), ["name"])["name"]["over_budget"] == 0
    with pytest.raises(IndexError, match="slot 2 of 2"):
        PluginTimes(segment.region("plugins"), 2, "name")


def test_nobody_needs_a_target() -> None:
    """The smallest arrays there can be."""
    segment = Segment.create(slots=1, targets=4)
    assert UpstreamHealth(segment.rows, "none", (), events=ring(segment)).weights() == []


def test_a_board_that_is_too_small_to_write_on() -> None:
    segment = Segment.create(slots=1, targets=4, limits=limits_size(10))
    prepare(segment)
    limit: Any = TokenBucket(1, 60, region=segment.region("limits"))
    with pytest.raises(ValueError, match="16 bytes at least"):
        flood(limit, b"key", 0, bytearray(15))
