"""The retry budget against a plain model, between processes, and after a kill."""

import os
from dataclasses import dataclass
from fractions import Fraction

import pytest
from core.processes import kill, output_of, release, start
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgate._core.delivery.budget import RetryBudget
from fastgate._core.memory.segment import Segment
from fastgate._core.probes.shared import add_first_tries, count_first_tries

T0 = 1_000_000


def budget(segment: Segment | None = None, share: float = 0.2, now: int = T0) -> RetryBudget:
    return RetryBudget((segment or Segment.create(slots=4, targets=16)).rows, "backend", share, now=now)


def taken(each: RetryBudget, now: int, wanted: int = 1_000_000) -> int:
    count = 0
    while count < wanted and each.take(now):
        count += 1
    return count


def test_the_cap_is_of_the_present() -> None:
    each = budget()
    add_first_tries(each, 0, 10_000)
    each.settle(T0 + 1000)
    assert each.tokens == 2000
    add_first_tries(each, 0, 1000)
    each.settle(T0 + 20_000)
    assert each.tokens == pytest.approx(2200 / 2)


def test_several_are_taken_together_or_not_at_all() -> None:
    each = budget(share=1.0)
    assert not each.take(T0, 4)
    assert each.take(T0, 2)
    assert each.tokens == 1
    assert not each.take(T0, 2)
    assert each.take(T0)


def test_what_was_not_needed_is_there_again_and_no_more_than_may_be_held() -> None:
    each = budget()
    assert each.take(T0, 3)
    each.give_back(T0, 2)
    assert each.tokens == 2
    each.give_back(T0, 100)
    assert each.tokens == 3


# --- the model -------------------------------------------------------------------------------------------------------


@dataclass
class Model:
    """The rules of the budget in fractions. Marks are (tenths of a second, first tries)."""

    share: Fraction
    now: int
    tries: int = 0
    booked: int = 0
    balance: Fraction = Fraction(3)

    def __post_init__(self) -> None:
        self.recent = self.earlier = (self.now // 100, 0)

    def look(self, now: int) -> None:
        tenths = now // 100
        self.balance += self.share * (self.tries - self.booked)
        self.booked = self.tries
        passed = tenths - self.earlier[0]
        most = self.share * (self.tries - self.earlier[1])
        if passed > 100:
            most = Fraction(int(most * 1000 * 100 / passed), 1000)
        self.balance = min(self.balance, max(most, Fraction(3)))

    def turn(self, now: int) -> None:
        if now // 100 - self.recent[0] >= 100:
            self.earlier, self.recent = self.recent, (now // 100, self.tries)

    def settle(self, now: int) -> None:
        self.look(now)
        self.turn(now)

    def take(self, now: int) -> bool:
        self.look(now)
        given = self.balance >= 1
        self.balance -= given
        self.turn(now)
        return given


steps = st.one_of(
    st.tuples(st.just("tries"), st.integers(0, 200)),
    st.tuples(st.just("takes"), st.integers(1, 30)),
    st.tuples(st.just("wait"), st.sampled_from([1, 99, 100, 1000, 5000, 10_000, 25_000, 100_000])),
    st.tuples(st.just("settle"), st.just(0)),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(steps, max_size=60), st.sampled_from(["0", "0.001", "0.2", "0.333", "1", "2.5"]))
def test_two_workers_together_are_the_model(steps: list[tuple[str, int]], share: str) -> None:
    segment = Segment.create(slots=4, targets=16)
    workers = [budget(Segment.attach(os.dup(segment.fd)), float(share)) for _ in range(2)]
    model = Model(Fraction(share), T0)
    now = T0
    for number, (step, amount) in enumerate(steps):
        worker = workers[number % 2]
        if step == "tries":
            add_first_tries(worker, number % 4, amount)
            model.tries += amount
        elif step == "wait":
            now += amount
        elif step == "settle":
            worker.settle(now)
            model.settle(now)
        else:
            for _ in range(amount):
                assert worker.take(now) == model.take(now)
        assert worker.tokens == float(model.balance)


# --- one rule a test -------------------------------------------------------------------------------------------------


def test_a_thousand_first_tries_that_all_fail_get_at_most_203_retries() -> None:
    each = budget()
    retries = 0
    for number in range(1000):
        add_first_tries(each, number % 4)
        retries += each.take(T0 + number)
        retries += each.take(T0 + number)
    assert retries == 202       # the first deposit found the budget full


def test_it_begins_with_three() -> None:
    each = budget()
    assert each.tokens == 3
    assert taken(each, T0) == 3
    assert taken(each, T0 + 3_600_000) == 0


def test_a_quiet_budget_holds_three_and_a_busy_one_ten_seconds() -> None:
    each = budget()
    now = T0
    for _ in range(60):                 # 100 a second for a minute: 20 tokens a second
        add_first_tries(each, 0, 100)
        now += 1000
        each.settle(now)
    assert each.tokens == pytest.approx(200, rel=0.02)
    assert taken(each, now) == pytest.approx(200, rel=0.02)
    add_first_tries(each, 0, 1000)
    now += 10_000
    each.settle(now)
    for _ in range(60):
        now += 1000
        each.settle(now)
    assert each.tokens == 3


def test_a_budget_that_comes_with_a_reload_does_not_begin_with_the_past() -> None:
    segment = Segment.create(slots=4, targets=16)
    count_first_tries(segment.rows, "backend", 1, 1_000_000)
    each = budget(segment)
    assert each.first_tries == 1_000_000
    assert each.tokens == 3
    add_first_tries(each, 2, 50)
    assert taken(each, T0) == 10


def test_other_numbers_apply_to_the_state_that_is_there() -> None:
    segment = Segment.create(slots=4, targets=16)
    each = budget(segment)
    add_first_tries(each, 0, 100)
    each.settle(T0)
    more = budget(segment, 0.5, T0 + 1)
    assert more.tokens == 20
    add_first_tries(more, 0, 10)
    assert taken(more, T0 + 1) == 25
    assert not each.take(T0 + 1)


def test_upstreams_have_budgets_of_their_own() -> None:
    segment = Segment.create(slots=4, targets=16)
    one, other = RetryBudget(segment.rows, "one", now=T0), RetryBudget(segment.rows, "other", now=T0)
    assert taken(one, T0) == 3
    add_first_tries(one, 0, 100)
    assert taken(other, T0) == 3


def test_more_first_tries_than_the_word_holds_go_round() -> None:
    each = budget()
    add_first_tries(each, 0, (1 << 33) - 1)
    each.settle(T0)
    assert each.tokens == 3 + 536_870.911       # the most there can be
    for number in range(1, 6):
        add_first_tries(each, 0, (1 << 33) - 1)
        each.settle(T0 + number * 100_000)
        assert each.first_tries == (number + 1) * ((1 << 33) - 1) % (1 << 34)
    taken(each, T0 + 600_000)
    add_first_tries(each, 0, 10)
    assert taken(each, T0 + 600_000) == 2


def test_mistakes_are_refused() -> None:
    for share in (-0.1, 1001, float("nan")):
        with pytest.raises(ValueError, match="share of first tries"):
            budget(share=share)
    with pytest.raises(IndexError):
        add_first_tries(budget(), 4)


# --- between processes -----------------------------------------------------------------------------------------------

PROGRAM = """
from fastgate._core.delivery.budget import RetryBudget
from fastgate._core.probes.shared import add_first_tries, add_in_flight
each = RetryBudget(segment.rows, "backend", 0.2, now=1_000_000)
print("ready", flush=True)
input()
"""


def test_all_workers_share_one_budget_exactly() -> None:
    segment = Segment.create(slots=4, targets=16)
    each = budget(segment)
    assert taken(each, T0) == 3
    body = """
retries = 0
for _ in range(200_000):
    add_first_tries(each, {slot})
    retries += each.take(1_000_000)
print(retries)
"""
    workers = [start(segment, PROGRAM + body.format(slot=slot)) for slot in range(4)]
    release(workers)
    retries = sum(int(output_of(worker)) for worker in workers)
    assert retries + taken(each, T0) == 160_000


def test_workers_that_are_killed_cost_at_most_one_token_each() -> None:
    segment = Segment.create(slots=4, targets=16)
    # A worker writes down each retry that it got, in a word of its own of the segment.
    body = """
while True:
    add_first_tries(each, {slot})
    if each.take(1_000_000): add_in_flight(segment.rows, 0, {slot}, 1)
"""
    observer = budget(segment)
    assert taken(observer, T0) == 3
    for _ in range(6):
        workers = [start(segment, PROGRAM + body.format(slot=slot)) for slot in range(2)]
        release(workers)
        before = segment.rows.requests_in_flight(0)
        while segment.rows.requests_in_flight(0) < before + 100:
            pass
        for worker in workers:
            kill(worker)
    observer.settle(T0)
    lost = observer.first_tries / 5 - segment.rows.requests_in_flight(0) - observer.tokens
    assert -1e-6 < lost < 12 + 1e-6
