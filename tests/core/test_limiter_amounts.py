"""Amounts: each kind of limit against its reference model, with what is taken at once and what it turns out to be."""

from fractions import Fraction
from typing import Any

import pytest
from core.reference_limiter import MS, START, Bucket, Log, S, Said, Window, border_of
from hypothesis import given
from hypothesis import strategies as st

from fastgate._core.limits.rate import Decision, FixedWindow, Limit, SlidingWindowLog, TokenBucket

KINDS = [TokenBucket, FixedWindow, SlidingWindowLog]


def said(decision: Decision) -> Said:
    return Said(decision.admitted, decision.remaining, round(decision.reset * 1000), round(decision.retry_after * 1000))


# Rates whose step is a whole number of 1/16 ns, so that every number can be compared.
even_rates = st.sampled_from([(1, 1), (1, 60), (2, 1), (10, 1), (100, 60), (1_000_000, 1), (3, 3600)])
steps = st.one_of(
    st.integers(0, 3), st.integers(0, MS), st.integers(0, S), st.integers(0, 100 * S), st.sampled_from([S, 60 * S])
)
amounts = st.one_of(st.integers(1, 5), st.integers(1, 60))
commands = st.lists(
    st.tuples(
        st.sampled_from(["take", "take", "take", "peek", "adjust first", "adjust last"]),
        st.sampled_from("ab"),
        steps,
        amounts,
        st.one_of(st.just(0), amounts),
    ),
    max_size=60,
)


def run_both(limit: Limit, models: dict[str, Any], history: list[tuple[str, str, int, int, int]]) -> None:
    now = START
    admitted: dict[str, list[tuple[int, int]]] = {"a": [], "b": []}
    for command, key, step, amount, actual in history:
        now += step
        if command.startswith("adjust"):
            if admitted[key]:
                taken_at, taken = admitted[key].pop(0 if command == "adjust first" else -1)
                limit.adjust(key, taken, actual, taken_ns=taken_at, now_ns=now)
                models[key].adjust(taken_at, taken, actual, now)
            continue
        answer = said(getattr(limit, command)(key, amount, now_ns=now))
        assert answer == getattr(models[key], command)(now, amount)
        if command == "take" and answer.admitted:
            admitted[key].append((now, amount))


@given(even_rates, st.integers(1, 40), st.integers(0, 100), commands)
def test_a_token_bucket_is_a_bucket_of_tokens(
    pace: tuple[int, int], burst: int, overdraft: int, history: Any
) -> None:
    rate, per = pace
    limit = TokenBucket(rate, per, burst, overdraft=overdraft, entries=64)
    run_both(limit, {key: Bucket(rate, per * S, burst, overdraft, at=START) for key in "ab"}, history)


@given(st.integers(1, 40), st.sampled_from([0.05, 0.0777, 1, 60, 3600.001]), commands)
def test_a_fixed_window_is_a_count_that_starts_again(rate: int, per: float, history: Any) -> None:
    limit = FixedWindow(rate, per, entries=64)
    border = border_of(limit)
    run_both(limit, {key: Window(rate, round(per * S), border) for key in "ab"}, history)


@given(st.one_of(st.integers(1, 5), st.integers(30, 70)), st.sampled_from([0.001, 1, 60]), commands)
def test_a_sliding_log_is_a_list_of_times(rate: int, per: float, history: Any) -> None:
    limit = SlidingWindowLog(rate, per, stamps=8192)
    run_both(limit, {key: Log(rate, round(per * S)) for key in "ab"}, history)


@given(
    st.sampled_from([1, 3, 7, 11, 999_983, 3_000_000, 999_999_937, 1_000_000_000]),
    st.sampled_from([1, 0.7, 3, 60]),
    st.integers(1, 1000),
    st.lists(st.tuples(st.floats(0, 500), st.integers(1, 1000), st.integers(0, 1000)), min_size=1, max_size=100),
)
def test_amounts_of_any_rate_are_exact(
    rate: int, per: float, burst: int, history: list[tuple[float, int, int]]
) -> None:
    """Steps that are no whole number of units: two units of 1/16 ns off for each amount, and no more."""
    rate = min(rate, round(per * S))
    limit = TokenBucket(rate, per, burst, overdraft=5000, entries=64)
    per_ns = round(per * S)
    model = Bucket(rate, per_ns, burst, 5000, at=START)
    now = START
    for number, (wait, amount, actual) in enumerate(history):
        now += int(wait * per_ns / rate)
        model.fill(now)
        took = limit.take("k", amount, now_ns=now).admitted
        short = (min(amount, burst) - model.tokens) * per_ns / rate
        assert took == model.fits(amount) or abs(short) <= Fraction(1 + number, 4)
        if took:
            model.use(amount)
            limit.adjust("k", amount, actual, taken_ns=now, now_ns=now)
            model.use(actual - amount)


@pytest.mark.parametrize(("rate", "per"), [(3, 1), (3_000_000, 1), (700_001, 1), (7, 0.000_001)])
def test_an_amount_is_as_long_as_that_many_of_one(rate: int, per: float) -> None:
    """To the unit: whoever takes 999 and 1 is where a thousand single ones are."""
    whole, single = (TokenBucket(rate, per, 1000, entries=64) for _ in range(2))
    assert whole.take("k", 999, now_ns=START)
    assert whole.take("k", 1, now_ns=START)
    for _ in range(1000):
        assert single.take("k", now_ns=START)
    for now in (START, START + 1, START + round(per * S), START + round(per * S * 999 / rate)):
        assert said(whole.peek("k", now_ns=now)) == said(single.peek("k", now_ns=now))


@pytest.mark.parametrize("kind", KINDS)
def test_more_than_the_whole_limit_is_admitted_alone_and_uses_all_of_it(kind: Any) -> None:
    limit = kind(10, 60)
    assert limit.take("used", 1, now_ns=START)
    assert not limit.take("used", 11, now_ns=START)
    assert limit.take("idle", 11, now_ns=START)
    assert not limit.take("idle", 1, now_ns=START)
    assert not limit.take("idle", 11, now_ns=START + S)
    assert limit.take("idle", 11, now_ns=START + 121 * S)


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_too_little_keeps_those_who_come_next_waiting(kind: Any) -> None:
    limit = kind(10, 60)
    assert limit.take("k", 2, now_ns=START)
    limit.adjust("k", 2, 50, taken_ns=START, now_ns=START + S)
    refused = limit.take("k", 1, now_ns=START + S)
    assert not refused
    assert refused.remaining == 0
    assert refused.retry_after > 0
    assert limit.take("k", 1, now_ns=START + S + round(refused.retry_after * S))


def test_a_bucket_owes_up_to_its_overdraft() -> None:
    waits = {}
    for overdraft in (0, 20, 1000):
        limit = TokenBucket(1, 1, 10, overdraft=overdraft)
        limit.take("k", 10, now_ns=START)
        limit.adjust("k", 10, 110, now_ns=START, taken_ns=START)
        # Other workers' clocks may have been read a little earlier.
        waits[overdraft] = limit.take("k", now_ns=START - MS).retry_after
    assert waits == {0: 1.001, 20: 21.001, 1000: 101.001}


@pytest.mark.parametrize("kind", KINDS)
def test_what_no_longer_counts_is_not_adjusted(kind: Any) -> None:
    limit = kind(10, 1)
    assert limit.take("k", 10, now_ns=START)
    later = START + 5 * S
    assert limit.take("k", 6, now_ns=later)
    limit.adjust("k", 10, 1, taken_ns=START, now_ns=later)
    assert limit.peek("k", now_ns=later).remaining == (10 if kind is TokenBucket else 4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("amount", [0, -1, 1.5, 1 << 31])
def test_an_amount_that_makes_no_sense_is_refused(kind: Any, amount: Any) -> None:
    limit = kind(10, 1)
    with pytest.raises(ValueError, match="an amount is a whole number"):
        limit.take("k", amount)
