"""Each kind of limit against its reference model, by itself; between processes: test_limiter_processes.py."""

import os
import time
from fractions import Fraction
from typing import Any

import pytest
from core.reference_limiter import (
    MS,
    START,
    Bucket,
    Log,
    S,
    Said,
    Window,
    border_of,
    excess_over_bucket,
    most_in_a_window,
)
from core.regions import evictions, lifted, prepare, room
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgate._core.limits.rate import (
    Decision,
    FixedWindow,
    Limit,
    SlidingWindowLog,
    TokenBucket,
    limits_size,
    logs_size,
)
from fastgate._core.memory.segment import Segment, SegmentError

KINDS = [TokenBucket, FixedWindow, SlidingWindowLog]


def said(decision: Decision) -> Said:
    return Said(decision.admitted, decision.remaining, round(decision.reset * 1000), round(decision.retry_after * 1000))


def shared(*, entries: int = 1024, stamps: int = 4096) -> Segment:
    segment = Segment.create(targets=1, limits=limits_size(entries), logs=logs_size(stamps))
    prepare(segment)
    return segment


# Rates whose step is a whole number of 1/16 ns, so that every number can be compared.
even_rates = st.sampled_from([(1, 1), (1, 60), (2, 1), (10, 1), (100, 60), (1_000_000, 1), (16_000_000, 1), (3, 3600)])
steps = st.one_of(
    st.integers(0, 3), st.integers(0, MS), st.integers(0, S), st.integers(0, 100 * S), st.sampled_from([S, 60 * S])
)
commands = st.lists(
    st.tuples(st.sampled_from(["take", "take", "take", "peek", "put_back"]), st.sampled_from("abc"), steps), max_size=80
)


def run_both(limit: Limit, models: dict[str, Any], history: list[tuple[str, str, int]]) -> None:
    now = START
    admitted_at: dict[str, int] = {}
    for command, key, step in history:
        now += step
        if command == "put_back":
            # Only what was just admitted is put back: that is what it is for.
            if admitted_at.get(key) == now:
                limit.put_back(key, now_ns=now)
                models[key].put_back(now)
                del admitted_at[key]
            continue
        answer = said(getattr(limit, command)(key, now_ns=now))
        assert answer == getattr(models[key], command)(now)
        if command == "take" and answer.admitted:
            admitted_at[key] = now


@given(even_rates, st.integers(1, 40), commands)
def test_a_token_bucket_is_a_bucket_of_tokens(pace: tuple[int, int], burst: int, history: Any) -> None:
    rate, per = pace
    limit = TokenBucket(rate, per, burst, entries=64)
    run_both(limit, {key: Bucket(rate, per * S, burst, at=START) for key in "abc"}, history)


@given(st.integers(1, 40), st.sampled_from([0.05, 0.0777, 1, 60, 3600.001]), commands)
def test_a_fixed_window_is_a_count_that_starts_again(rate: int, per: float, history: Any) -> None:
    limit = FixedWindow(rate, per, entries=64)
    border = border_of(limit)
    run_both(limit, {key: Window(rate, round(per * S), border) for key in "abc"}, history)


@given(st.one_of(st.integers(1, 5), st.integers(30, 70)), st.sampled_from([0.001, 1, 60]), commands)
def test_a_sliding_log_is_a_list_of_times(rate: int, per: float, history: Any) -> None:
    limit = SlidingWindowLog(rate, per, stamps=4096)
    run_both(limit, {key: Log(rate, round(per * S)) for key in "abc"}, history)


def test_a_sliding_log_over_many_blocks() -> None:
    limit, model = SlidingWindowLog(1000, 1, stamps=65536), Log(1000, S)
    for number in range(5000):
        now = START + number * 700_001
        assert said(limit.take("k", now_ns=now)) == model.take(now)


@settings(max_examples=200)
@given(
    st.sampled_from([1, 3, 7, 11, 999_983, 3_000_000, 999_999_937, 1_000_000_000]),
    st.sampled_from([1, 0.7, 3, 60]),
    st.integers(1, 20),
    st.lists(st.floats(0, 2.5), min_size=1, max_size=150),
)
def test_a_bucket_of_any_rate_admits_exactly_what_flows_in(
    rate: int, per: float, burst: int, waits: list[float]
) -> None:
    rate = min(rate, round(per * S))
    limit = TokenBucket(rate, per, burst, entries=64)
    per_ns = round(per * S)
    model = Bucket(rate, S, burst, at=START)
    model.per = per_ns
    now, admitted = START, []
    for wait in waits:
        now += int(wait * per_ns / rate)
        model.fill(now)
        took = limit.take("k", now_ns=now).admitted
        # The lattice may be two units of 1/16 ns off, never more.
        assert took == (model.tokens >= 1) or abs(model.tokens - 1) * per_ns / rate <= Fraction(1, 4)
        if took:
            admitted.append(now)
            model.tokens -= 1
    assert excess_over_bucket(admitted, rate, per_ns, burst) <= Fraction(1, 2)


@pytest.mark.parametrize(("rate", "per"), [(3, 1), (3_000_000, 1), (700_001, 1), (7, 0.000_001)])
def test_steps_that_are_no_whole_number_do_not_drift(rate: int, per: float) -> None:
    """A hundred thousand admissions at once, as an enormous burst: what they moved the arrival time by is their sum."""
    count = 100_000
    limit = TokenBucket(rate, per, count, entries=64)
    per_ns = round(per * S)
    for _ in range(count):
        assert limit.take("k", now_ns=START).admitted
    assert not limit.take("k", now_ns=START).admitted
    # All are back after count steps, and one of them is missing a step before that.
    full = START + -(-count * per_ns // rate)
    assert limit.peek("k", now_ns=full).remaining == count
    assert limit.peek("k", now_ns=full - max(2 * per_ns // rate, 1)).remaining in (count - 1, count - 2, count - 3)


@given(st.lists(st.tuples(st.integers(0, 200 * MS), st.integers(0, 50 * MS)), max_size=150), st.integers(1, 8))
def test_callers_with_clocks_a_little_apart_stay_inside_the_limit(times: list[tuple[int, int]], rate: int) -> None:
    log, tokens = SlidingWindowLog(rate, 0.3, stamps=4096), TokenBucket(rate, 0.3, 4, entries=64)
    stamps: dict[str, list[int]] = {"log": [], "tokens": []}
    now = START
    for step, late in times:
        now += step
        if log.take("k", now_ns=now - late):
            stamps["log"].append(now - late)
        if tokens.take("k", now_ns=now - late):
            stamps["tokens"].append(now - late)
    assert most_in_a_window(stamps["log"], 300 * MS) <= rate
    assert excess_over_bucket(stamps["tokens"], rate, 300 * MS, 4) <= 0.001


def test_a_worker_whose_clock_is_behind_counts_in_the_window_that_others_have_begun() -> None:
    limit = FixedWindow(3, 1)
    border = border_of(limit)
    assert limit.take("k", now_ns=border).remaining == 2
    assert limit.take("k", now_ns=border - 5).remaining == 1
    assert limit.take("k", now_ns=border - 5).remaining == 0
    assert not limit.take("k", now_ns=border - 5)
    assert not limit.take("k", now_ns=border + 5)


def test_windows_begin_at_multiples_of_the_wall_clock() -> None:
    limit = FixedWindow(1, 60)
    reset = limit.peek("k").reset
    assert (time.time() + reset) % 60 == pytest.approx(0, abs=0.1) or (time.time() + reset) % 60 > 59.9


@pytest.mark.parametrize("kind", KINDS)
def test_the_clock_is_the_monotonic_one(kind: type[Limit]) -> None:
    limit = kind(2, 3600)  # type: ignore[call-arg]
    assert [limit.take("k").admitted for _ in range(2)] == [True, True]
    if kind is not FixedWindow:
        assert not limit.take("k")
        assert not limit.take("k", now_ns=time.monotonic_ns())
    assert limit.take("k", now_ns=time.monotonic_ns() + 3601 * S)


@pytest.mark.parametrize("kind", KINDS)
def test_a_str_is_the_same_key_as_its_bytes_and_others_are_others(kind: type[Limit]) -> None:
    limit = kind(1, 3600)  # type: ignore[call-arg]
    assert limit.take("schlüssel", now_ns=START)
    assert not limit.take("schlüssel".encode(), now_ns=START)
    assert limit.take("schlussel", now_ns=START)
    assert limit.take("", now_ns=START)
    with pytest.raises(TypeError):
        limit.take(7)  # type: ignore[arg-type]


def test_limits_of_one_segment_share_what_has_the_same_name_and_kind() -> None:
    segment = shared()
    for kind in KINDS:
        one, same, other = (kind(1, 60, region=room(segment, kind), name=name) for name in ("a", "a", "b"))  # type: ignore[operator]
        assert one.take("k", now_ns=START)
        assert not same.take("k", now_ns=START)
        assert other.take("k", now_ns=START)
    assert TokenBucket(1, 60).take("k", now_ns=START)


def test_changed_numbers_apply_to_what_a_bucket_has_counted() -> None:
    segment = shared()
    slow = TokenBucket(10, 86400, region=segment.region("limits"))
    assert [slow.take("k", now_ns=START).admitted for _ in range(11)] == [True] * 10 + [False]
    # Under the new numbers the bucket is empty, not a day in debt.
    fast = TokenBucket(100, 1, region=segment.region("limits"))
    assert said(fast.peek("k", now_ns=START)) == Said(False, 0, 1000, 10)
    assert not fast.take("k", now_ns=START)
    assert fast.take("k", now_ns=START + 10 * MS)
    # And what was taken counts under more generous ones.
    assert TokenBucket(100, 1, 200, region=segment.region("limits")).peek("k", now_ns=START + 10 * MS).remaining == 100


def test_changed_numbers_apply_to_what_a_window_has_counted() -> None:
    segment = shared()
    day = FixedWindow(10, 86400, region=segment.region("limits"))
    now = border_of(day) + 100
    for _ in range(6):
        day.take("k", now_ns=now)
    assert FixedWindow(20, 86400, region=segment.region("limits")).peek("k", now_ns=now).remaining == 14
    second = FixedWindow(10, 1, region=segment.region("limits"))
    assert second.take("k", now_ns=now).remaining == 3
    assert second.take("k", now_ns=now + S).remaining == 9
    # A longer window takes over what the shorter one, which has not ended, has counted.
    assert day.take("k", now_ns=now + S).remaining == 8


def test_changed_numbers_apply_to_what_a_log_has_counted() -> None:
    segment = shared()
    few, many = (SlidingWindowLog(rate, 10, region=segment.region("logs")) for rate in (3, 50))
    for number in range(3):
        assert few.take("k", now_ns=START + number)
    assert not few.take("k", now_ns=START + 5)
    for number in range(47):
        assert many.take("k", now_ns=START + 10 + number)
    assert not many.take("k", now_ns=START + 100)
    assert said(few.peek("k", now_ns=START + 100)) == Said(False, 0, 10_000, 10_000)
    assert few.take("k", now_ns=START + 10 * S + 54)
    assert many.peek("k", now_ns=START + 10 * S + 54).remaining == 47


@pytest.mark.parametrize("kind", KINDS)
def test_putting_back_what_was_never_taken_does_nothing(kind: type[Limit]) -> None:
    limit = kind(2, 60)  # type: ignore[call-arg]
    limit.put_back("k", now_ns=START)
    assert [bool(limit.take("k", now_ns=START)) for _ in range(3)] == [True, True, False]


def test_putting_back_leaves_the_later_admission_of_another_worker_in_the_log() -> None:
    log = SlidingWindowLog(40, 10)
    for number in range(35):
        log.take("k", now_ns=START + number)
    log.put_back("k", now_ns=START + 30)
    # 34 are left, the last of them the last: ten seconds after it, and not before, all are gone.
    assert log.peek("k", now_ns=START + 34).remaining == 6
    assert log.peek("k", now_ns=START + 33 + 10 * S).remaining == 39
    assert log.peek("k", now_ns=START + 34 + 10 * S).remaining == 40


def test_putting_back_in_a_window_that_has_ended_does_nothing() -> None:
    limit = FixedWindow(2, 1)
    border = border_of(limit)
    limit.take("k", now_ns=border - 1)
    limit.take("k", now_ns=border)
    limit.put_back("k", now_ns=border - 1)
    assert limit.peek("k", now_ns=border).remaining == 1


@pytest.mark.parametrize("kind", [TokenBucket, FixedWindow])
def test_a_full_table_forgets_the_least_used_and_counts_it(kind: type[TokenBucket | FixedWindow]) -> None:
    limit = kind(5, 366 * 86400, entries=64)
    limited = "the client that is being limited"
    for _ in range(5):
        assert limit.take(limited, now_ns=START)
    for number in range(5000):
        assert limit.take(f"stranger {number}", now_ns=START)
        assert not limit.take(limited, now_ns=START)
    assert 4930 <= evictions(limit) < 5000
    assert lifted(limit) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_what_has_expired_makes_room_without_loss(kind: type[Limit]) -> None:
    memory = {"stamps": 4096} if kind is SlidingWindowLog else {"entries": 64}
    limit = kind(5, 1, **memory)  # type: ignore[call-arg]
    now = START
    for number in range(200):
        now += 2 * S
        for key in range(10):
            assert limit.take(f"{number} {key}", now_ns=now).remaining == 4
    assert evictions(limit) == 0


def test_full_logs_forget_keys_and_count_them() -> None:
    limit = SlidingWindowLog(50, 60, stamps=2048)
    for key in range(500):
        for _ in range(50):
            limit.take(f"client {key}", now_ns=START + key)
    assert evictions(limit) > 400
    # The last one has lost nothing.
    assert not limit.take("client 499", now_ns=START + 500)


def test_a_table_is_filled_to_four_fifths_almost_without_loss() -> None:
    limit = TokenBucket(1, 3600, entries=10_000)
    for number in range(8_000):
        limit.take(str(number), now_ns=START)
    assert evictions(limit) <= 20
    refused = sum(not limit.take(str(number), now_ns=START) for number in range(8_000))
    assert refused >= 7_960


def test_memory_is_what_was_asked_for() -> None:
    limits, locks = 16_384 * 32, 64 * 128
    assert limits_size(262_144) == 2 * 262_144 * 16 + 128 + locks + limits
    assert limits_size(0) == limits_size(1) == limits_size(8) < limits_size(9)
    assert 2 * 11 * 65536 < logs_size(65536) - 2 * locks - limits < 2 * 12 * 65536
    segment = Segment.create(targets=1, limits=limits_size(100_000))
    prepare(segment)
    limit = TokenBucket(1, 3600, region=segment.region("limits"))
    assert os.fstat(segment.fd).st_blocks * 512 < 65536
    for number in range(200_000):
        limit.take(str(number), now_ns=START)
    # The other half is for keys that clients choose.
    assert os.fstat(segment.fd).st_blocks * 512 < 100_000 * 16 + 131072


@pytest.mark.parametrize("kind", KINDS)
def test_a_segment_has_to_be_prepared(kind: type[Limit]) -> None:
    for segment, message in [(Segment.create(), "0 bytes"), (Segment.create(limits=1 << 20, logs=1 << 20), "prepared")]:
        with pytest.raises(SegmentError, match=message):
            kind(1, 1, region=room(segment, kind))  # type: ignore[call-arg]


def test_a_segment_is_prepared_once() -> None:
    segment = shared()
    limits = [kind(1, 60, region=room(segment, kind)) for kind in KINDS]  # type: ignore[operator]
    assert all(limit.take("k", now_ns=START) for limit in limits)
    prepare(segment)
    assert not any(limit.take("k", now_ns=START) for limit in limits)
    prepare(Segment.create())
    for sizes in ({"limits": 4096}, {"logs": 4096}):
        with pytest.raises(ValueError, match="4096 bytes are too few"):
            prepare(Segment.create(**sizes))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TokenBucket(0), "rate must be a whole number"),
        (lambda: TokenBucket(1.5), "rate must be a whole number"),
        (lambda: TokenBucket(1 << 31), "rate must be a whole number"),
        (lambda: TokenBucket(1, 0), "per must be more than 0 s"),
        (lambda: TokenBucket(1, -1), "per must be more than 0 s"),
        (lambda: TokenBucket(1, float("nan")), "per must be more than 0 s"),
        (lambda: TokenBucket(1, 367 * 86400), "per must be more than 0 s"),
        (lambda: TokenBucket(1, 1, 0), "burst must be a whole number"),
        (lambda: TokenBucket(1, 1, 2.5), "burst must be a whole number"),
        (lambda: TokenBucket(1_000_000_001), "at most one request per nanosecond"),
        (lambda: TokenBucket(1, 86400, 4000), "ten years"),
        (lambda: FixedWindow(1, 0.01), "at least 0.05 s"),
        (lambda: FixedWindow(1 << 28, 60), "at most 268435455 for a fixed window"),
        (lambda: SlidingWindowLog(0), "rate must be a whole number"),
        (lambda: TokenBucket(1).take("k", now_ns=-1), "CLOCK_MONOTONIC"),
        (lambda: TokenBucket(1).take("k", now_ns=1 << 58), "CLOCK_MONOTONIC"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_the_limits_of_the_numbers() -> None:
    assert TokenBucket(1, 366 * 86400).take("k", now_ns=(1 << 58) - 1).reset == 366 * 86400
    assert TokenBucket((1 << 31) - 1, 366 * 86400).take("k").remaining == (1 << 31) - 2
    assert FixedWindow((1 << 28) - 1, 366 * 86400).take("k", now_ns=(1 << 58) - 1).remaining == (1 << 28) - 2
    assert SlidingWindowLog(1, 366 * 86400).take("k", now_ns=MS).reset == 366 * 86400


def test_the_base_class_is_not_a_limit() -> None:
    with pytest.raises(TypeError, match="TokenBucket, FixedWindow or SlidingWindowLog"):
        Limit()


def test_a_decision_shows_itself() -> None:
    limit = TokenBucket(2, 1)
    assert repr(limit.take("k", now_ns=START)) == "<Decision admitted remaining=1 reset=0.5 retry_after=0.0>"
    assert (limit.rate, limit.per, limit.burst) == (2, 1.0, 2)
