"""HTTP dates: the three forms of RFC 9110 section 5.6.7 and nothing else, compared with a plain reading of them."""

import random
import subprocess
import sys
from datetime import timedelta

import pytest
from core import reference_cache as reference
from core.cache_heads import HEADS, MUTATED, MUTATED_LONG, mutations, seeded

from fastgate._core.probes import cache_rules

NOW = 1_793_000_000
NAMES = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
LONG_NAMES = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
MONTHS = [name.decode().title() for name in reference.MONTHS]
ALPHABET = b"0123456789 ,:-GMTgmtSunayovJFe\x00\xff\t/+Z"


def test_what_was_never_read_is_not_known() -> None:
    """The last date is kept as read: what it is before the first has to be one too."""
    program = (
        "from fastgate._core.probes.cache_rules import date\n"
        "texts = [bytes(29), b'Thu, 01 Jan 1970 00:00:00 GMT', b'Thu, 01 Jan 1970 00:00:01 GMT']\n"
        "print(*[date(text, 0) for text in texts])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "None 0 1\n"


def written(seconds: int, form: int) -> bytes:
    moment = reference.EPOCH + timedelta(seconds=seconds)
    clock = f"{moment:%H:%M:%S}"
    month = MONTHS[moment.month - 1]
    if form == 0:
        text = f"{NAMES[moment.weekday()]}, {moment.day:02d} {month} {moment.year:04d} {clock} GMT"
    elif form == 1:
        text = f"{LONG_NAMES[moment.weekday()]}, {moment.day:02d}-{month}-{moment.year % 100:02d} {clock} GMT"
    else:
        text = f"{NAMES[moment.weekday()]} {month} {moment.day:2d} {clock} {moment.year:04d}"
    return text.encode()


def drawn(draw: random.Random) -> bytes:
    """A date of any form and case; in one of three its numbers are drawn, near their bounds, and it may be none."""
    seconds = draw.randrange(-(2**34), 2**36) if draw.random() < 0.5 else NOW + draw.randrange(-(2**20), 2**20)
    form = draw.randrange(3)
    text = written(seconds, form)
    if draw.randrange(3) == 0:
        day = draw.choice([0, 1, 9, 28, 29, 30, 31, 32])
        year = draw.choice([0, 1, 1900, 1996, 2000, 2023, 2024, 2076, 2077, 2100, 9999])
        hour, minute, second = draw.choice([0, 23, 24]), draw.choice([0, 59, 60]), draw.choice([0, 59, 60, 61, 99])
        clock = f"{hour:02d}:{minute:02d}:{second:02d}"
        month = draw.choice(MONTHS)
        text = (
            f"Mon, {day:02d} {month} {year:04d} {clock} GMT",
            f"Monday, {day:02d}-{month}-{year % 100:02d} {clock} GMT",
            f"Mon {month} {day:2d} {clock} {year:04d}",
        )[form].encode()
    return draw.choice([text, text, text.lower(), text.upper()])


@pytest.mark.parametrize("text", [
    b"Sun, 06 Nov 1994 08:49:37 GMT",
    b"Sunday, 06-Nov-94 08:49:37 GMT",
    b"Sun Nov  6 08:49:37 1994",
    b"sUN, 06 nOV 1994 08:49:37 gmt",
    b"Mon, 06 Nov 1994 08:49:37 GMT",  # the wrong day of the week
])  # fmt: skip
def test_the_three_forms_in_any_case(text: bytes) -> None:
    assert cache_rules.date(text, NOW) == 784111777


@pytest.mark.parametrize("text", [
    b"", b"0", b"-1", b"784111777",
    b"Sun, 06 Nov 1994 08:49:37 UTC",
    b"Sun, 06 Nov 1994 08:49:37 +0000",
    b"Sun, 06 Nov 1994 08:49:37",
    b"Sun, 6 Nov 1994 08:49:37 GMT",
    b"Sun,  06 Nov 1994 08:49:37 GMT",
    b"Sun, 06 Nov 94 08:49:37 GMT",
    b"Sunday, 06 Nov 1994 08:49:37 GMT",
    b"Sun, 06-Nov-94 08:49:37 GMT",
    b"Son, 06 Nov 1994 08:49:37 GMT",
    b"Sun, 31 Nov 1994 08:49:37 GMT",
    b"Sun, 29 Feb 1900 08:49:37 GMT",
    b"Sun, 00 Nov 1994 08:49:37 GMT",
    b"Sun, 06 Nov 1994 24:00:00 GMT",
    b"Sun, 06 Nov 1994 23:60:00 GMT",
    b"Sun, 06 Nov 1994 23:59:61 GMT",
    b"Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
    b"Sun Nov 6 08:49:37 1994",
    b"Sun Nov  6 08:49:37 1994 GMT",
    b"Sun Nov 06  08:49:37 1994",
    b"1994-11-06T08:49:37Z",
    b"Sunday, 06-Nov-1994 08:49:37 GMT",
])  # fmt: skip
def test_everything_else_is_no_date(text: bytes) -> None:
    assert cache_rules.date(text, NOW) is None
    assert reference.date(text, NOW) is None


def test_a_leap_second_is_the_second_before_it() -> None:
    before = cache_rules.date(b"Sat, 31 Dec 2016 23:59:59 GMT", NOW)
    assert cache_rules.date(b"Sat, 31 Dec 2016 23:59:60 GMT", NOW) == before


def test_two_digits_of_a_year_are_at_most_fifty_years_ahead() -> None:
    now = cache_rules.date(b"Mon, 30 Nov 2026 12:00:00 GMT", 0)
    assert now is not None
    ahead = cache_rules.date(b"Monday, 30-Nov-76 12:00:00 GMT", now)
    assert ahead == cache_rules.date(b"Mon, 30 Nov 2076 12:00:00 GMT", 0)
    past = cache_rules.date(b"Monday, 30-Nov-76 12:00:01 GMT", now)
    assert past == cache_rules.date(b"Mon, 30 Nov 1976 12:00:01 GMT", 0)
    assert cache_rules.date(b"Monday, 29-Feb-00 00:00:00 GMT", now) == cache_rules.date(
        b"Tue, 29 Feb 2000 00:00:00 GMT", 0
    )


def test_generated_dates_are_those_of_the_reference() -> None:
    draw = seeded()
    valid = 0
    for _ in range(HEADS):
        text = drawn(draw)
        now = draw.choice([0, NOW, NOW, draw.randrange(2**35)])
        found = cache_rules.date(text, now)
        assert found == reference.date(text, now), (text, now)
        valid += found is not None
    assert HEADS / 2 < valid < HEADS


def mutated_dates(count: int) -> None:
    draw = seeded()
    valid = 0
    for text in mutations(draw, count, lambda: drawn(draw), ALPHABET):
        found = cache_rules.date(text, NOW)
        assert found == reference.date(text, NOW), text
        valid += found is not None
    assert 0 < valid < count


def test_mutated_dates() -> None:
    mutated_dates(MUTATED)


@pytest.mark.long
def test_a_million_mutated_dates() -> None:
    mutated_dates(MUTATED_LONG)
