"""The histogram against a sorted list."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgate._core.memory.histogram import Histogram

RANGE = 1 << 36

durations = st.one_of(st.integers(0, 300), st.integers(0, 10_000_000), st.integers(0, RANGE - 1))


def made_of(values: list[int]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    return histogram


@given(st.lists(durations, min_size=1, max_size=200), st.floats(0, 100))
def test_a_percentile_is_within_one_percent_of_the_nearest_rank(values: list[int], percent: float) -> None:
    rank = max(math.ceil(len(values) * percent / 100.0), 1)
    truth = sorted(values)[rank - 1]
    answer = made_of(values).percentile(percent)
    assert abs(answer - truth) <= truth * 0.01


@given(st.lists(durations, max_size=100), st.lists(durations, max_size=100))
def test_merging_is_recording_both(some: list[int], others: list[int]) -> None:
    merged = made_of(some)
    merged.merge(made_of(others))
    assert merged == made_of(some + others)
    assert merged.count == len(merged) == len(some) + len(others)
    assert merged.sum == sum(some) + sum(others)


@given(st.lists(durations, max_size=100))
def test_buckets_lie_side_by_side_and_hold_what_was_recorded(values: list[int]) -> None:
    buckets = made_of(values).buckets()
    assert sum(count for _, _, count in buckets) == len(values)
    for low, high, count in buckets:
        assert count == sum(low <= value <= high for value in values)
        assert high - low <= low / 64
    assert all(before[1] < after[0] for before, after in itertools.pairwise(buckets))


@given(durations)
def test_every_value_lies_in_its_bucket(value: int) -> None:
    [(low, high, count)] = made_of([value]).buckets()
    assert low <= value <= high
    assert count == 1


@given(st.lists(durations, max_size=50), durations)
def test_counting_up_to_a_value_includes_its_bucket(values: list[int], bound: int) -> None:
    [(_, high, _)] = made_of([bound]).buckets()
    assert made_of(values).count_up_to(bound) == sum(value <= high for value in values)


@pytest.mark.parametrize("value", [RANGE - 1, RANGE, 1 << 63, 1 << 100])
def test_what_is_longer_than_the_range_counts_in_the_last_bucket(value: int) -> None:
    [(_, high, count)] = made_of([value]).buckets()
    assert (high, count) == (RANGE - 1, 1)


def test_nothing_recorded() -> None:
    histogram = Histogram()
    assert (histogram.count, histogram.sum, histogram.mean, histogram.percentile(99)) == (0, 0, 0.0, 0.0)
    assert histogram.buckets() == []


def test_the_mean_is_exact() -> None:
    assert made_of([1_000_000, 3_000_001]).mean == 2_000_000.5


def test_a_negative_duration_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        Histogram().record(-1)


@pytest.mark.parametrize("percent", [-0.1, 100.1, math.nan])
def test_a_percentile_outside_its_range_is_refused(percent: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 100"):
        Histogram().percentile(percent)
