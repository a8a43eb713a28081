"""The breaker against a plain model, between processes, and after a kill."""

import os
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
from core.processes import kill, output_of, release, start, wait_ready
from core.regions import ring as ring_of
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgate._core.delivery.breaker import Breaker
from fastgate._core.delivery.health import UpstreamHealth
from fastgate._core.memory.events import EventRing, StateEvent
from fastgate._core.memory.segment import Segment

T0 = 1_000_000
REJECT, ADMIT, PROBE = 0, 1, 2


def breaker(segment: Segment | None = None, target: str | None = None, **options: Any) -> Breaker:
    segment = segment or Segment.create(targets=64)
    return Breaker(segment.rows, "backend", target, events=ring_of(segment), **options)


def request(each: Breaker, ok: bool, now: int) -> int:
    """Asks, and records if it was admitted."""
    admitted = each.admit(now, 0)
    if admitted:
        each.record(admitted, ok, now)
    return admitted & 3


def opened(segment: Segment | None = None, **options: Any) -> Breaker:
    each = breaker(segment, failures=1, **options)
    request(each, False, T0)
    assert each.state == "open"
    return each


def changes(ring: EventRing) -> list[tuple[str, str]]:
    return [(event.old, event.new) for event in ring.read() if event.kind == "breaker"]


# --- the model -------------------------------------------------------------------------------------------------------


@dataclass
class Ticket:
    kind: int
    round: int
    lease: int = 0


@dataclass
class Model:
    """The rules of the breaker, told once more and slowly."""

    failures: int
    ratio: float
    min_requests: int
    window: int
    open: int
    half_open: int
    recovery: int
    state: str = "closed"
    round: int = 0
    time: int = 0
    row: int = 0
    outcomes: list[tuple[int, bool]] = field(default_factory=list)
    lease: int = 0
    flying: int = 0
    done: int = 0
    admitted_at: int = 0
    changes: list[tuple[str, str, int]] = field(default_factory=list)

    def move(self, to: str, now: int) -> None:
        self.round += 1
        self.changes.append((self.state, to, self.round))
        self.state, self.time = to, now + self.open if to == "open" else now
        self.row, self.outcomes = 0, []
        self.lease = self.flying = self.done = 0

    def settle(self, now: int) -> None:
        if self.state == "open" and now >= self.time:
            self.move("half-open", now)
        elif self.state == "recovering" and now - self.time >= self.recovery:
            self.move("closed", now)

    def admit(self, now: int, random: int) -> Ticket:
        self.settle(now)
        if self.state == "open":
            return Ticket(REJECT, self.round)
        if self.state == "half-open":
            if self.flying + self.done >= self.half_open:
                if now - self.admitted_at < max(self.open, 1000):
                    return Ticket(REJECT, self.round)
                self.lease, self.flying = self.lease + 1, 0
            self.flying += 1
            self.admitted_at = now
            return Ticket(PROBE, self.round, self.lease)
        if self.state == "recovering" and random / 2**64 >= (now - self.time) / self.recovery:
            return Ticket(REJECT, self.round)
        return Ticket(ADMIT, self.round)

    def record(self, ticket: Ticket, ok: bool, now: int) -> None:
        if ticket.round != self.round or ticket.kind == REJECT:
            return
        if ticket.kind == PROBE:
            if not ok:
                self.move("open", now)
                return
            self.done += 1
            self.flying -= ticket.lease == self.lease
            if self.done >= self.half_open:
                self.move("recovering" if self.recovery else "closed", now)
            return
        self.row = 0 if ok else self.row + 1
        width = self.window // 10
        self.outcomes.append((now // width, ok))
        if ok:
            return
        counted = [good for bucket, good in self.outcomes if now // width - bucket < 10]
        bad = counted.count(False)
        if (self.failures and self.row >= self.failures) or (
            self.ratio and len(counted) >= self.min_requests and bad >= self.ratio * len(counted)
        ):
            self.move("open", now)

    def retry_after(self, now: int) -> int:
        if self.state == "open":
            return max(0, self.time - now)
        full = self.state == "half-open" and self.flying + self.done >= self.half_open
        return 1000 if full or (self.state == "recovering" and now - self.time < self.recovery) else 0

    def cancel(self, ticket: Ticket) -> None:
        if ticket.kind == PROBE and (ticket.round, ticket.lease) == (self.round, self.lease):
            self.flying -= 1


steps = st.one_of(
    st.tuples(st.sampled_from(["good", "bad", "bad", "bad", "begin"]), st.integers(0, 2**64 - 1)),
    st.tuples(st.sampled_from(["good", "bad", "begin"]), st.just(0)),
    st.tuples(st.sampled_from(["end good", "end bad", "cancel"]), st.integers(0, 5)),
    st.tuples(st.just("wait"), st.sampled_from([1, 50, 99, 100, 101, 450, 999, 1000, 1001, 3000])),
    st.tuples(st.just("settle"), st.just(0)),
)


@settings(max_examples=500, deadline=None)
@given(
    st.lists(steps, max_size=80),
    st.integers(0, 4),
    st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    st.integers(1, 6),
    st.sampled_from([500, 1000, 2000]),
    st.integers(1, 3),
    st.sampled_from([0, 1000]),
)
def test_two_workers_together_are_the_model(
    steps: list[tuple[str, int]],
    failures: int,
    ratio: float,
    min_requests: int,
    open: int,
    half_open: int,
    recovery: int,
) -> None:
    segment = Segment.create(targets=64)
    ring = ring_of(segment)
    workers = [
        breaker(
            Segment.attach(os.dup(segment.fd)), failures=failures, ratio=ratio, min_requests=min_requests, window=1.0,
            open=open / 1000, half_open=half_open, recovery=recovery / 1000,
        )
        for _ in range(2)
    ]
    model = Model(failures, ratio, min_requests, 1000, open, half_open, recovery)
    now = T0
    running: list[tuple[int, Ticket]] = []
    for number, (step, argument) in enumerate(steps):
        worker = workers[number % 2]
        if step == "wait":
            now += argument
        elif step == "settle":
            worker.settle(now)
            model.settle(now)
        elif step in {"good", "bad", "begin"}:
            expected = model.admit(now, argument)
            admitted = worker.admit(now, argument)
            assert admitted & 3 == expected.kind
            assert bool(admitted) == (expected.kind != REJECT)
            if step == "begin" and admitted:
                running.append((admitted, expected))
            elif admitted:
                worker.record(admitted, step == "good", now)
                model.record(expected, step == "good", now)
        elif running:
            admitted, expected = running.pop(argument % len(running))
            if step == "cancel":
                worker.cancel(admitted)
                model.cancel(expected)
            else:
                worker.record(admitted, step == "end good", now)
                model.record(expected, step == "end good", now)
        assert [each.state for each in workers] == [model.state] * 2
        assert worker.retry_after_ms(now) == model.retry_after(now)
    assert [(event.old, event.new, event.value) for event in ring.read()] == model.changes
    assert workers[0].openings == sum(new == "open" for _, new, _ in model.changes)


# --- one rule a test -------------------------------------------------------------------------------------------------


def test_it_opens_half_opens_and_closes() -> None:
    segment = Segment.create(targets=64)
    ring = ring_of(segment)
    each = breaker(segment, failures=3, open=30)
    assert [request(each, False, T0) for _ in range(4)] == [ADMIT, ADMIT, ADMIT, REJECT]
    assert each.retry_after_ms(T0 + 1) == 29_999
    assert each.admit(T0 + 29_999, 0) == REJECT
    assert each.retry_after_ms(T0 + 30_000) == 0
    probe = each.admit(T0 + 30_000, 0)
    assert probe & 3 == PROBE
    assert each.admit(T0 + 30_000, 0) == REJECT
    assert each.retry_after_ms(T0 + 30_000) == 1000
    each.record(probe, False, T0 + 31_000)
    assert each.admit(T0 + 60_999, 0) == REJECT
    assert request(each, True, T0 + 61_000) == PROBE
    assert each.state == "closed"
    assert request(each, True, T0 + 61_000) == ADMIT
    assert changes(ring) == [
        ("closed", "open"), ("open", "half-open"), ("half-open", "open"), ("open", "half-open"),
        ("half-open", "closed"),
    ]
    assert each.openings == 2


def test_a_share_of_failures_opens_it_once_there_are_enough_outcomes() -> None:
    each = breaker(failures=0, ratio=0.5, min_requests=20, window=10)
    for number in range(19):
        request(each, number % 2 == 1, T0 + number * 100)
    assert each.state == "closed"
    request(each, False, T0 + 2000)
    assert each.state == "open"


def test_outcomes_older_than_the_window_are_forgotten() -> None:
    each = breaker(failures=0, ratio=0.5, min_requests=4, window=10)
    for _ in range(3):
        request(each, False, T0)
    request(each, False, T0 + 10_000)
    assert each.state == "closed"
    for _ in range(2):
        request(each, False, T0 + 19_000)
    assert each.state == "closed"
    request(each, False, T0 + 19_999)
    assert each.state == "open"


def test_a_full_bucket_keeps_its_share() -> None:
    each = breaker(failures=0, ratio=0.75, min_requests=20, window=1000)
    admitted = each.admit(T0, 0)
    for _ in range(60_000):
        for ok in (True, True, True, True, False):
            each.record(admitted, ok, T0)
    assert each.state == "closed"
    bad = total = 0
    for number in range(300_000):
        if total == 2**18 - 1:
            bad, total = bad // 2, total // 2
        bad, total = bad + (number % 5 == 4), total + 1
    while each.state == "closed":
        assert bad < 0.75 * total
        if total == 2**18 - 1:
            bad, total = bad // 2, total // 2
        bad, total = bad + 1, total + 1
        each.record(admitted, False, T0)
    assert bad >= 0.75 * total


def test_half_open_probes_are_bounded_and_as_many_have_to_succeed() -> None:
    each = opened(half_open=3, open=1)
    now = T0 + 1000
    probes = [each.admit(now, 0) for _ in range(5)]
    assert [probe & 3 for probe in probes] == [PROBE, PROBE, PROBE, REJECT, REJECT]
    each.record(probes[0], True, now)
    assert each.admit(now, 0) == REJECT         # one that succeeded and two on their way are enough
    each.cancel(probes[1])
    probes[1] = each.admit(now, 0)
    each.record(probes[1], True, now)
    assert each.state == "half-open"
    each.record(probes[2], True, now)
    assert each.state == "closed"


def test_what_belongs_to_an_earlier_round_is_ignored() -> None:
    each = breaker(failures=1, open=1)
    late = [each.admit(T0, 0) for _ in range(4)]
    each.record(late[0], False, T0)
    each.record(late[1], True, T0)
    probe = each.admit(T0 + 1000, 0)
    each.record(late[2], False, T0 + 1000)
    assert each.state == "half-open"
    each.record(probe, True, T0 + 1000)
    each.record(late[3], False, T0 + 1000)
    each.record(probe, False, T0 + 1000)
    each.cancel(probe)
    assert each.state == "closed"


@pytest.mark.parametrize(("open", "lease"), [(0.1, 1000), (5, 5000)])
def test_probes_that_never_come_back_hold_their_places_for_a_time_only(open: float, lease: int) -> None:
    each = opened(open=open)
    now = T0 + 10_000
    lost = each.admit(now, 0)
    assert each.admit(now + lease - 1, 0) == REJECT
    probe = each.admit(now + lease, 0)
    assert probe & 3 == PROBE
    each.cancel(lost)           # too late: it must not free the place of the other one
    assert each.admit(now + lease, 0) == REJECT
    each.record(lost, True, now + lease + 1)
    assert each.state == "closed"


def test_a_probe_of_an_earlier_lease_does_not_free_the_place_of_another_one() -> None:
    each = opened(open=1, half_open=2)
    now = T0 + 1000
    lost = [each.admit(now, 0) for _ in range(2)]
    now += 1000
    assert each.admit(now, 0)
    each.record(lost[0], True, now)
    assert each.admit(now, 0) == REJECT
    each.record(lost[1], True, now)
    assert each.state == "closed"


def test_recovery_admits_a_growing_share() -> None:
    each = opened(open=1, recovery=10)
    now = T0 + 1000
    assert request(each, True, now) == PROBE
    assert each.state == "recovering"
    for share in range(11):
        for part in range(20):
            random = int((part + 0.5) / 20 * 2**64)
            assert bool(each.admit(now + share * 1000, random)) == (part + 0.5 < share * 2)
    assert each.state == "closed"


def test_a_failure_in_recovery_counts_from_zero() -> None:
    each = breaker(failures=2, ratio=0, open=1, recovery=10)
    for _ in range(2):
        request(each, False, T0)
    request(each, True, T0 + 1000)
    request(each, False, T0 + 2000)
    assert each.state == "recovering"
    request(each, False, T0 + 2000)
    assert each.state == "open"


def test_settling_brings_what_time_brings() -> None:
    segment = Segment.create(targets=64)
    ring = ring_of(segment)
    each = opened(segment, open=1, recovery=2)
    each.settle(T0 + 999)
    assert each.state == "open"
    each.settle(T0 + 1000)
    each.settle(T0 + 1001)
    assert each.state == "half-open"
    request(each, True, T0 + 1500)
    each.settle(T0 + 3499)
    assert each.state == "recovering"
    each.settle(T0 + 3500)
    assert changes(ring) == [
        ("closed", "open"), ("open", "half-open"), ("half-open", "recovering"), ("recovering", "closed"),
    ]


def test_other_numbers_apply_to_the_state_that_is_there() -> None:
    segment = Segment.create(targets=64)
    each = opened(segment, half_open=3, open=1)
    request(each, True, T0 + 1000)
    assert each.state == "half-open"
    after = breaker(segment, failures=1, half_open=1, open=9)
    assert request(after, True, T0 + 1001) == ADMIT
    assert after.state == "closed"
    wide = breaker(segment, failures=0, ratio=0.5, min_requests=2, window=20)
    narrow = breaker(segment, failures=0, ratio=0.5, min_requests=2, window=10)
    request(narrow, False, T0 + 2000)
    for _ in range(2):
        request(wide, False, T0 + 2000)
    assert wide.state == "open"


def test_the_breaker_of_a_target_takes_it_out_of_its_upstream() -> None:
    segment = Segment.create(targets=64)
    health = UpstreamHealth(segment.rows, "backend", "ab", events=ring_of(segment), panic_threshold=0.9)
    assert health.weights(now=T0) == [1, 1]
    each = breaker(segment, "a", failures=1, open=1)
    assert each.row == health.target(0).row
    request(each, False, T0)
    assert health.is_changed(T0)
    assert health.weights(now=T0) == [0, 1]
    assert not health.panic             # a breaker is not passed over
    assert health.target(0).status(T0).breaker == "open"
    assert health.next_change == T0 + 1000
    assert health.weights(now=T0 + 1000) == [1, 1]
    assert request(each, True, T0 + 1000) == PROBE
    assert health.is_changed(T0 + 1000)
    other = breaker(segment, failures=1)
    assert other.row == health.row
    assert other.state == "closed"


def test_panic_over_targets_that_are_down_waits_for_one_that_is_up_behind_its_breaker() -> None:
    segment = Segment.create(targets=64)
    health = UpstreamHealth(segment.rows, "backend", "abc", events=ring_of(segment))
    request(breaker(segment, "a", failures=1, open=1), False, T0)
    for index, up in enumerate([True, False, False]):
        health.target(index).set_probe(up, T0)
    assert health.weights(now=T0) == [0, 0, 0]
    assert health.weights(now=T0 + 1000) == [1, 0, 0]
    health.target(0).set_probe(False, T0)
    assert health.weights(now=T0) == [0, 1, 1]
    assert health.weights(now=T0 + 1000) == [1, 1, 1]


# --- between processes -----------------------------------------------------------------------------------------------

PROGRAM = """
from fastgate._core.delivery.breaker import Breaker
from fastgate._core.memory.events import EventRing
each = Breaker(segment.rows, "backend", events=EventRing(segment.region("events")), {options})
print("ready", flush=True)
input()
"""


def in_turn(events: list[StateEvent]) -> None:
    """Every change begins where the one before ended, and has the next number."""
    for before, after in pairwise(events):
        assert (after.old, after.value) == (before.new, before.value + 1)


def test_failures_of_all_workers_add_up_to_one_opening() -> None:
    segment = Segment.create(targets=64)
    body = f"for _ in range(250): each.record(each.admit({T0}, 0), False, {T0})"
    workers = [start(segment, PROGRAM.format(options="failures=1000, ratio=0") + body) for _ in range(4)]
    release(workers)
    for worker in workers:
        output_of(worker)
    assert [(event.old, event.new, event.value) for event in ring_of(segment).read()] == [("closed", "open", 1)]


def test_outcomes_of_all_workers_are_counted_exactly() -> None:
    segment = Segment.create(targets=64)
    options = "failures=0, ratio=1e-9, min_requests=250_000"
    body = f"for _ in range(60_000): each.record(each.admit({T0}, 0), True, {T0})"
    workers = [start(segment, PROGRAM.format(options=options) + body) for _ in range(4)]
    release(workers)
    for worker in workers:
        output_of(worker)
    exact = breaker(segment, failures=0, ratio=1e-9, min_requests=240_002)
    request(exact, False, T0)
    assert exact.state == "closed"
    request(exact, False, T0)
    assert exact.state == "open"


def test_probes_are_bounded_over_all_workers() -> None:
    segment = Segment.create(targets=64)
    opened(segment, half_open=5, open=1)
    body = f"print(sum(each.admit({T0 + 1000}, 0) != 0 for _ in range(3000)))"
    workers = [start(segment, PROGRAM.format(options="half_open=5, open=1") + body) for _ in range(4)]
    release(workers)
    assert sum(int(output_of(worker)) for worker in workers) == 5


def test_changes_of_many_workers_come_in_turn() -> None:
    segment = Segment.create(targets=64)
    body = """
import random
now = 1_000_000
for _ in range(60_000):
    now += 1
    admitted = each.admit(now, random.getrandbits(64))
    if admitted: each.record(admitted, random.random() < 0.5, now)
"""
    options = "failures=1, open=0.002, half_open=2, recovery=0.002"
    workers = [start(segment, PROGRAM.format(options=options) + body) for _ in range(3)]
    release(workers)
    for worker in workers:
        output_of(worker)
    ring = ring_of(segment)
    events = ring.read()
    assert events[-1].value == ring.last > 50       # one event a change
    in_turn(events)


def test_workers_that_are_killed_anywhere_leave_a_breaker_that_works() -> None:
    segment = Segment.create(targets=64)
    body = """
import random
from itertools import count
for now in count(1_000_000):
    admitted = each.admit(now, random.getrandbits(64))
    if admitted: each.record(admitted, random.random() < 0.5, now)
"""
    options = "failures=2, open=0.002, half_open=2"
    for _ in range(8):
        workers = [start(segment, PROGRAM.format(options=options) + body) for _ in range(2)]
        release(workers)
        ring = ring_of(segment, after=ring_of(segment).last)
        while not ring.read():
            pass
        for worker in workers:
            kill(worker)
    each = breaker(segment, failures=2, open=0.002, half_open=2)
    now = 1 << 30               # later than all of theirs, and not by so much that 32 bits of time take it for earlier
    kinds: Counter[int] = Counter()
    while each.state != "closed":
        kinds[request(each, True, now)] += 1
        now += 500
        assert kinds.total() < 10
    for _ in range(2):
        request(each, False, now)
    assert each.state == "open"


def test_a_change_waits_for_a_lock_that_is_held_and_requests_do_not() -> None:
    segment = Segment.create(targets=64)
    program = """
from fastgate._core.delivery.health import UpstreamHealth
from fastgate._core.memory.events import EventRing
from fastgate._core.probes.shared import hold_lock
hold_lock(UpstreamHealth(segment.rows, "backend", "a", events=EventRing(segment.region("events"))))
print("ready", flush=True)
input()
"""
    each = opened(segment, open=1)
    holder = start(segment, program)
    wait_ready(holder)
    assert each.admit(T0 + 1000, 0) == REJECT
    assert each.state == "open"
    kill(holder)
    assert request(each, True, T0 + 1000) == PROBE
    assert each.state == "closed"
