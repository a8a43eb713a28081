"""Durations, sizes and days."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgate.config.syntax.units import format_duration, format_size, parse_day, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (0, 0.0), (2, 2.0), (0.25, 0.25), ("250ms", 0.25), ("2s", 2.0), ("5m", 300.0), ("1h", 3600.0), ("1d", 86400.0),
        ("1m30s", 90.0), ("1.5s", 1.5), ("75", 75.0), (" 2s ", 2.0), ("2000ms", 2.0), ("100ms", 0.1),
    ],
)  # fmt: skip
def test_durations(text: str | float, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "5 m", "-1s", -1, "1w", "1S", "1e3", "٣s", math.inf, math.nan, "one"])
def test_what_is_no_duration(text: str | float) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (0, 0), (10, 10), ("10", 10), ("64KB", 65536), ("10MB", 10 * 1024**2), ("1GB", 1024**3), ("1kb", 1024),
        ("1 KiB", 1024), ("1.5KB", 1536), ("8k", 8192), ("512B", 512), ("1TB", 1024**4),
    ],
)  # fmt: skip
def test_sizes(text: str | int, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MB", "-1", -1, "1XB", "1.5", "1.0001KB", "1 0"])
def test_what_is_no_size(text: str | int) -> None:
    with pytest.raises(ValueError, match="size"):
        parse_size(text)


@given(st.integers(0, 10**9))
def test_a_duration_is_read_back(milliseconds: int) -> None:
    assert parse_duration(format_duration(milliseconds / 1000)) == pytest.approx(milliseconds / 1000, rel=1e-5)


@given(st.integers(0, 2**50))
def test_a_size_is_read_back(size: int) -> None:
    assert parse_size(format_size(size)) == size


@pytest.mark.parametrize(("seconds", "text"), [(0, "0s"), (60, "60s"), (75, "75s"), (300, "5m"), (0.25, "250ms")])
def test_durations_are_written_as_people_do(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_days() -> None:
    assert parse_day("1970-01-01") == 0
    assert parse_day("2026-01-01") == 1767225600


@pytest.mark.parametrize("text", ["", "2026", "2026-13-01", "2026-02-30", "01.01.2026", "2026-01-01T00:00:00Z"])
def test_what_is_no_day(text: str) -> None:
    with pytest.raises(ValueError, match='expected a day such as "2027-01-01"'):
        parse_day(text)
