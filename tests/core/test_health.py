"""Health of targets against a plain model, between processes, and after a kill."""

import os
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import floor
from typing import Any

import pytest
from core.processes import kill, output_of, release, start, wait_ready
from core.regions import ring as ring_of
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgate._core.delivery.health import NEVER, TargetHealth, UpstreamHealth
from fastgate._core.memory.events import EventRing, StateEvent
from fastgate._core.memory.segment import Segment

T0 = 1_000_000


def health(segment: Segment | None = None, targets: Sequence[str] = "abcd", **options: Any) -> UpstreamHealth:
    segment = segment or Segment.create(targets=64)
    return UpstreamHealth(segment.rows, "backend", targets, events=ring_of(segment), **options)


def kinds(ring: EventRing) -> list[tuple[str, str, str]]:
    return [(event.kind, event.old, event.new) for event in ring.read()]


def fail(target: TargetHealth, times: int, now: int) -> None:
    for _ in range(times):
        target.record(False, now)


def state(target: TargetHealth, now: int) -> str:
    return target.status(now).state


# --- the model -------------------------------------------------------------------------------------------------------


@dataclass
class ModelTarget:
    backup: bool
    probe: str = "unknown"
    drained: bool = False
    ejected: bool = False
    until: int = 0
    times: int = 0
    up_since: int = 0
    streak: list[int] = field(default_factory=list)


@dataclass
class Model:
    """The rules of health, told once more and slowly."""

    targets: list[ModelTarget]
    failures: int
    window: int
    eject: int
    max_eject: int
    max_ejected: float
    slow_start: int
    panic_threshold: float
    panic_over_probes: bool
    panic: str = "off"
    events: list[tuple[str, int]] = field(default_factory=list)

    def give_back(self, index: int, now: int) -> None:
        target = self.targets[index]
        if target.ejected and target.until <= now:
            target.ejected, target.up_since, target.streak = False, now, []
            self.events.append(("returned", index))

    def failed(self, index: int, now: int) -> None:
        target = self.targets[index]
        if not self.failures:
            return
        self.give_back(index, now)
        if target.ejected:
            return
        if target.streak and now - target.streak[0] > self.window:
            target.streak = []
        target.streak.append(now)
        if len(target.streak) % self.failures:
            return
        for other in range(len(self.targets)):
            self.give_back(other, now)
        if sum(other.ejected for other in self.targets) >= floor(self.max_ejected * len(self.targets)):
            return
        target.times = max(0, target.times - max(0, now - target.until) // self.eject) + 1
        target.until = now + min(target.times * self.eject, self.max_eject)
        target.ejected, target.streak = True, []
        self.events.append(("ejected", index))

    def succeeded(self, index: int) -> None:
        self.targets[index].streak = []

    def set_probe(self, index: int, up: bool | None, now: int) -> None:
        target = self.targets[index]
        word = {None: "unknown", True: "up", False: "down"}[up]
        if word != target.probe:
            if target.probe == "down":
                target.up_since = now
            target.probe = word
            self.events.append(("health", index))

    def drain(self, index: int) -> None:
        if not self.targets[index].drained:
            self.targets[index].drained = True
            self.events.append(("drained", index))

    def enable(self, index: int, now: int) -> None:
        if self.targets[index].drained:
            self.targets[index].drained = False
            self.targets[index].up_since = now
            self.events.append(("enabled", index))

    def state(self, index: int) -> str:
        target = self.targets[index]
        if target.drained:
            return "drained"
        return "down" if target.probe == "down" else "ejected" if target.ejected else target.probe

    def look(self, now: int) -> str:
        """What a sweep does; which primaries are used beside healthy ones."""
        for index in range(len(self.targets)):
            self.give_back(index, now)
        primaries = [index for index, target in enumerate(self.targets) if not target.backup and not target.drained]
        healthy = [index for index in primaries if self.state(index) in {"up", "unknown"}]
        backups = [i for i, target in enumerate(self.targets) if target.backup and self.state(i) in {"up", "unknown"}]
        states = {self.state(index) for index in primaries}
        panic = "off"
        if len(healthy) < self.panic_threshold * len(primaries) - 1e-9 and (healthy or not backups):
            if states == {"down"} or (self.panic_over_probes and "down" in states):
                panic = "all"
            elif "ejected" in states:
                panic = "on"
        if panic != self.panic:
            self.panic = panic
            self.events.append(("panic", -1))
        return panic

    def weights(self, now: int) -> list[float]:
        panic = self.look(now)
        usable = [self.state(index) in {"up", "unknown"} for index in range(len(self.targets))]
        primary = any(ok and not target.backup for ok, target in zip(usable, self.targets, strict=True))
        answer = []
        for ok, target in zip(usable, self.targets, strict=True):
            if target.probe == "down" and panic == "on":
                answer.append(0.0)
            elif panic != "off":
                answer.append(float(not target.backup and not target.drained))
            elif not ok or target.backup == primary:
                answer.append(0.0)
            elif not target.up_since or now - target.up_since >= self.slow_start:
                answer.append(1.0)
            else:
                answer.append(max(0.1, (now - target.up_since) * 20 // self.slow_start / 20))
        return answer


steps = st.one_of(
    st.tuples(st.sampled_from(["fail", "fail", "fail", "ok"]), st.integers(0, 4), st.integers(0, 1)),
    st.tuples(st.just("burst"), st.integers(0, 4), st.integers(0, 1)),
    st.tuples(st.sampled_from(["up", "down", "forget", "drain", "enable"]), st.integers(0, 4), st.just(0)),
    st.tuples(st.just("wait"), st.sampled_from([1, 90, 100, 101, 300, 499, 1000, 1001, 5000]), st.just(0)),
    st.tuples(st.sampled_from(["sweep", "weights"]), st.just(0), st.integers(0, 1)),
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(steps, max_size=60),
    st.integers(0, 4),
    st.sampled_from([0.0, 0.2, 0.5, 0.6, 1.0]),
    st.sampled_from([0.0, 0.5, 0.51, 1.0]),
    st.sampled_from([0, 700, 1000]),
    st.integers(0, 2),
    st.booleans(),
)
def test_two_workers_together_are_the_model(
    steps: list[tuple[str, int, int]],
    failures: int,
    max_ejected: float,
    panic_threshold: float,
    slow_start: int,
    backups: int,
    panic_over_probes: bool,
) -> None:
    segment = Segment.create(targets=64)
    ring = ring_of(segment)
    workers = [
        health(
            Segment.attach(os.dup(segment.fd)), "abcde", failures=failures, window=0.5, eject=1.0, max_eject=2.5,
            max_ejected=max_ejected, slow_start=slow_start / 1000, panic_threshold=panic_threshold,
            panic_over_probes=panic_over_probes, backups="ed"[:backups],
        )
        for _ in range(2)
    ]
    model = Model(
        [ModelTarget(name in "ed"[:backups]) for name in "abcde"], failures, 500, 1000, 2500, max_ejected, slow_start,
        panic_threshold, panic_over_probes,
    )
    rows = {workers[0].target(index).row: index for index in range(5)} | {workers[0].row: -1}
    now = T0
    last = [workers[each].weights(now=now) for each in range(2)]
    assert last == [model.weights(now)] * 2
    for step, index, worker in steps:
        target = workers[worker].target(index) if step not in {"wait", "sweep", "weights"} else None
        if step == "wait":
            now += index
        elif step == "sweep":
            workers[worker].sweep(now)
            model.look(now)
        elif step == "weights":
            last[worker] = workers[worker].weights(now=now)
            assert last[worker] == model.weights(now)
        elif target is not None:
            if step == "ok":
                target.record(True, now)
                model.succeeded(index)
            elif step in {"fail", "burst"}:
                for _ in range(max(failures, 1) if step == "burst" else 1):
                    target.record(False, now)
                    model.failed(index, now)
            elif step == "drain":
                target.drain(now)
                model.drain(index)
            elif step == "enable":
                target.enable(now)
                model.enable(index, now)
            else:
                up = {"up": True, "down": False, "forget": None}[step]
                target.set_probe(up, now)
                model.set_probe(index, up, now)
        assert sum(target.ejected for target in model.targets) <= floor(max_ejected * 5)
        # Who was not told of a change sees none.
        for each in range(2):
            if not workers[each].is_changed(now):
                model_now = model.weights(now)
                assert last[each] == model_now
    for index, expected in enumerate(model.targets):
        status = workers[1].target(index).status(now)
        model.give_back(index, now)
        assert (status.state, status.until, status.up_since, status.times, status.failures) == (
            model.state(index), expected.until, expected.up_since, expected.times, len(expected.streak),
        )
    assert [(event.kind, rows[event.row]) for event in ring.read()] == model.events


# --- one rule a test -------------------------------------------------------------------------------------------------


def test_a_target_is_ejected_after_failures_in_a_row_and_comes_back_by_itself() -> None:
    segment = Segment.create(targets=64)
    ring = ring_of(segment)
    upstream = health(segment, failures=3, eject=30)
    target = upstream.target(0)
    fail(target, 2, T0)
    target.record(True, T0)
    fail(target, 2, T0)
    assert upstream.weights(now=T0) == [1, 1, 1, 1]
    target.record(False, T0 + 1)
    assert upstream.is_changed(T0 + 1)
    assert upstream.weights(now=T0 + 1) == [0, 1, 1, 1]
    assert target.status(T0 + 2)[:4] == ("ejected", T0 + 1, T0 + 30_001, 0)
    assert upstream.retry_after(T0 + 2) == 29.999
    assert not upstream.is_changed(T0 + 30_000)
    assert upstream.is_changed(T0 + 30_001)
    assert upstream.weights(now=T0 + 30_001) == [1, 1, 1, 1]
    assert kinds(ring) == [("ejected", "unknown", "ejected"), ("returned", "ejected", "unknown")]
    assert upstream.next_change == NEVER
    assert upstream.retry_after(T0) == 0


def test_the_event_of_a_return_comes_once_and_from_whoever_notices() -> None:
    segment = Segment.create(targets=64)
    ring = ring_of(segment)
    one, other = health(segment, failures=1), health(segment, failures=1)
    one.target(0).record(False, T0)
    for upstream in (one, other, one):
        upstream.sweep(T0 + 29_999)
    assert kinds(ring) == [("ejected", "unknown", "ejected")]
    for upstream in (other, one, other):
        upstream.sweep(T0 + 30_000)
        upstream.weights(now=T0 + 30_000)
    assert kinds(ring) == [("returned", "ejected", "unknown")]


def test_failures_farther_apart_than_the_window_do_not_eject() -> None:
    upstream = health(failures=3, window=10)
    target = upstream.target(0)
    for number in range(8):
        target.record(False, T0 + number * 5001)
    assert state(target, T0) == "unknown"
    target = upstream.target(1)
    for number in range(3):
        target.record(False, T0 + number * 5000)
    assert state(target, T0 + 10_000) == "ejected"


def test_ejections_grow_and_are_forgiven() -> None:
    upstream = health(failures=1, eject=30, max_eject=80)
    target = upstream.target(0)
    now = T0
    for length in (30_000, 60_000, 80_000, 80_000):
        target.record(False, now)
        assert target.status(now).until == now + length
        now += length
    assert target.status(now).times == 4
    now += 65_000       # two whole 30 s without another one
    target.record(False, now)
    assert (target.status(now).times, target.status(now).until) == (3, now + 80_000)
    now += 80_000 + 30_000 * 9
    target.record(False, now)
    assert (target.status(now).times, target.status(now).until) == (1, now + 30_000)
    assert target.status(now).ejections == 6


@pytest.mark.parametrize(
    ("count", "share", "allowed"), [(1, 0.5, 0), (2, 0.5, 1), (3, 0.5, 1), (3, 1.0, 3), (100, 0.29, 29)]
)
def test_never_more_than_the_allowed_share_is_ejected(count: int, share: float, allowed: int) -> None:
    upstream = health(
        Segment.create(targets=256), [f"t{index}" for index in range(count)], failures=2, max_ejected=share,
        panic_threshold=0,
    )
    for index in range(count):
        fail(upstream.target(index), 8, T0)
    assert upstream.weights(now=T0).count(0.0) == allowed


def test_a_target_that_left_while_ejected_takes_no_place() -> None:
    segment = Segment.create(targets=64)
    ring = ring_of(segment)
    before = health(segment, "ab", failures=1)
    before.target(0).record(False, T0)
    after = health(segment, "bc", failures=1)
    after.target(0).record(False, T0 + 1)
    assert after.weights(now=T0 + 1) == [0, 1]
    again = health(segment, "ab", failures=1)
    assert again.weights(now=T0 + 100_000) == [1, 1]
    assert [kind for kind, _, _ in kinds(ring)] == ["ejected", "ejected", "returned", "returned"]


def test_what_a_target_does_while_it_is_ejected_counts_for_nothing() -> None:
    upstream = health(failures=2, eject=30)
    target = upstream.target(0)
    fail(target, 9, T0)
    assert target.status(T0 + 1).until == T0 + 30_000
    target.record(False, T0 + 30_000)
    assert target.status(T0 + 30_000)[:1] == ("unknown",)
    target.record(False, T0 + 30_000)
    assert target.status(T0 + 30_000)[:3] == ("ejected", T0 + 30_000, T0 + 90_000)


def test_other_numbers_apply_to_the_state_that_is_there() -> None:
    segment = Segment.create(targets=64)
    fail(health(segment, failures=5).target(0), 2, T0)
    after = health(segment, failures=3, eject=1)
    after.target(0).record(False, T0)
    assert after.target(0).status(T0)[:3] == ("ejected", T0, T0 + 1000)


def test_probes_and_drains_say_what_is_used_and_when_it_began() -> None:
    segment = Segment.create(targets=64)
    ring = ring_of(segment)
    upstream = health(segment, panic_threshold=0)
    a, b, _, _ = (upstream.target(index) for index in range(4))
    a.set_probe(False, T0 + 1)
    a.set_probe(False, T0 + 2)
    b.drain(T0 + 3)
    b.drain(T0 + 4)
    assert upstream.weights(now=T0 + 5) == [0, 0, 1, 1]
    assert (a.status(T0).state, a.status(T0).since) == ("down", T0 + 1)
    assert (b.status(T0).state, b.status(T0).since) == ("drained", T0 + 3)
    b.set_probe(True, T0 + 5)
    assert state(b, T0 + 5) == "drained"
    a.set_probe(True, T0 + 6)
    b.enable(T0 + 7)
    b.enable(T0 + 8)
    assert upstream.weights(now=T0 + 9) == [1, 1, 1, 1]
    assert (a.status(T0).state, a.status(T0).up_since) == ("up", T0 + 6)
    assert (b.status(T0).state, b.status(T0).up_since) == ("up", T0 + 7)
    a.set_probe(None, T0 + 9)
    assert state(a, T0 + 9) == "unknown"
    assert kinds(ring) == [
        ("health", "unknown", "down"), ("drained", "unknown", "drained"), ("health", "unknown", "up"),
        ("health", "down", "up"), ("enabled", "drained", "up"), ("health", "up", "unknown"),
    ]


def test_slow_start_is_a_ramp_in_steps_from_a_tenth() -> None:
    upstream = health(slow_start=10)
    target = upstream.target(0)
    target.set_probe(True, T0)
    assert upstream.weights(now=T0) == [1, 1, 1, 1]
    target.set_probe(False, T0)
    target.set_probe(True, T0)
    seen = []
    now = T0
    while True:
        seen.append(upstream.weights([4, 1, 1, 1], now=now)[0])
        if upstream.next_change == NEVER:
            break
        assert not upstream.is_changed(upstream.next_change - 1)
        now = upstream.next_change
    assert seen == pytest.approx([4 * max(0.1, step / 20) for step in range(21)])
    assert now == T0 + 10_000


def test_backups_are_used_when_no_primary_can_be() -> None:
    upstream = health(targets="abc", backups="c")
    assert upstream.weights(now=T0) == [1, 1, 0]
    upstream.target(0).set_probe(False, T0)
    assert upstream.weights(now=T0) == [0, 1, 0]
    upstream.target(1).set_probe(False, T0)
    assert upstream.weights(now=T0) == [0, 0, 1]
    assert not upstream.panic
    upstream.target(2).set_probe(False, T0)
    assert upstream.weights(now=T0) == [1, 1, 0]
    assert upstream.panic
    upstream.target(0).drain(T0)
    upstream.target(1).drain(T0)
    assert upstream.weights(now=T0) == [0, 0, 0]


def test_panic_begins_and_ends_with_an_event() -> None:
    segment = Segment.create(targets=64)
    ring = ring_of(segment)
    upstream, other = (health(segment, failures=1, max_ejected=1, panic_threshold=0.5) for _ in range(2))
    upstream.target(3).drain(T0)
    for index in range(2):
        fail(upstream.target(index), 1, T0)
    assert upstream.weights(now=T0) == other.weights(now=T0) == [1, 1, 1, 0]
    assert upstream.panic
    for index in range(3):
        upstream.target(index).set_probe(False, T0)
    assert upstream.weights(now=T0) == other.weights(now=T0) == [1, 1, 1, 0]
    upstream.target(2).set_probe(True, T0)
    other.sweep(T0)
    assert not upstream.panic
    assert upstream.weights(now=T0) == [0, 0, 1, 0]
    panics = [event for event in ring.read() if event.kind == "panic"]
    assert [(event.old, event.new, event.value, event.row) for event in panics] == [
        ("off", "on", 1, upstream.row), ("on", "all", 0, upstream.row), ("all", "off", 1, upstream.row),
    ]


DOWN, EJECTED, UP = "down", "ejected", "up"


@pytest.mark.parametrize(
    ("states", "used", "over_probes"),
    [
        ([DOWN, DOWN, DOWN, UP], [0, 0, 0, 1], [1, 1, 1, 1]),
        ([EJECTED, EJECTED, EJECTED, UP], [1, 1, 1, 1], [1, 1, 1, 1]),
        ([DOWN, DOWN, EJECTED, UP], [0, 0, 1, 1], [1, 1, 1, 1]),
        ([DOWN, DOWN, EJECTED, EJECTED], [0, 0, 1, 1], [1, 1, 1, 1]),
        ([DOWN, DOWN, UP, UP], [0, 0, 1, 1], [0, 0, 1, 1]),
        ([EJECTED, EJECTED, UP, UP], [0, 0, 1, 1], [0, 0, 1, 1]),
        ([DOWN, DOWN, DOWN, DOWN], [1, 1, 1, 1], [1, 1, 1, 1]),
    ],
    ids=lambda each: " ".join(map(str, each)),
)
def test_what_panic_uses(states: list[str], used: list[int], over_probes: list[int]) -> None:
    """Targets that the probe says are down only when it says so of all, or where that is asked for."""
    for option, expected in ((False, used), (True, over_probes)):
        segment = Segment.create(targets=64)
        upstream = health(segment, failures=1, max_ejected=1, panic_over_probes=option)
        for index, each in enumerate(states):
            upstream.target(index).set_probe(each != DOWN, T0)
            if each == EJECTED:
                fail(upstream.target(index), 1, T0)
        assert upstream.weights(now=T0) == expected
        assert upstream.panic == (expected != [float(each == UP) for each in states])
        never = health(segment, panic_threshold=0, panic_over_probes=option)
        assert never.weights(now=T0) == [float(each == UP) for each in states]


def test_mistakes_are_refused() -> None:
    with pytest.raises(ValueError, match="backup of upstream 'backend'"):
        health(backups=["x"])
    with pytest.raises(ValueError, match="1 weights for 4 targets"):
        health().weights([1.0])
    for index in (-1, 4):
        with pytest.raises(IndexError):
            health().target(index)
    with pytest.raises(TypeError, match="UpstreamHealth"):
        TargetHealth()


def test_an_upstream_without_targets_has_no_weights() -> None:
    upstream = health(targets=())
    upstream.sweep(T0)
    assert upstream.weights(now=T0) == []


# --- between processes -----------------------------------------------------------------------------------------------

PROGRAM = """
from fastgate._core.delivery.health import UpstreamHealth
from fastgate._core.memory.events import EventRing
from fastgate._core.probes.shared import hold_lock
events = EventRing(segment.region("events"))
upstream = UpstreamHealth(
    segment.rows, "backend", {targets!r}, events=events, failures={failures}, eject={eject}, max_ejected=0.5
)
print("ready", flush=True)
input()
"""


def program(targets: Sequence[str], failures: int, eject: float, body: str) -> str:
    return PROGRAM.format(targets=list(targets), failures=failures, eject=eject) + body


def test_failures_of_all_workers_add_up_to_one_ejection() -> None:
    segment = Segment.create(targets=64)
    names = "abcdefghijklmnop"
    body = f"""
targets = [upstream.target(index) for index in range({len(names)})]
for _ in range(15_000):
    for target in targets: target.record(False, {T0})
"""
    workers = [start(segment, program(names, 60_000, 30, body)) for _ in range(4)]
    release(workers)
    for worker in workers:
        output_of(worker)
    upstream = health(segment, names, panic_threshold=0)
    # Only half of them may be ejected; of the others all failures are still counted.
    assert upstream.weights(now=T0).count(0.0) == 8
    assert Counter(upstream.target(index).status(T0).failures for index in range(16)) == {0: 8, 60_000: 8}
    assert [event.kind for event in ring_of(segment).read()].count("ejected") == 8


def replay(events: list[StateEvent], allowed: int) -> None:
    """What events in a row tell: never too many at once, and each target in and out by turns."""
    first = {event.row: event.kind for event in reversed(events)}
    out = {row for row, kind in first.items() if kind == "returned"}
    for event in events:
        assert (event.row in out) == (event.kind == "returned")
        out ^= {event.row}
        assert len(out) <= allowed


def unbroken(events: list[StateEvent]) -> list[list[StateEvent]]:
    """Events cut where writers that were faster than the reader have overwritten some of them."""
    runs: list[list[StateEvent]] = []
    for event in events:
        if not runs or runs[-1][-1].sequence + 1 != event.sequence:
            runs.append([])
        runs[-1].append(event)
    return runs


def test_workers_that_eject_at_once_never_eject_too_many() -> None:
    segment = Segment.create(targets=64)
    body = """
targets = [upstream.target(index) for index in range(6)]
for step in range(1_000_000, 1_100_000):
    for target in targets: target.record(False, step // 4)
"""
    workers = [start(segment, program("abcdef", 1, 0.003, body)) for _ in range(3)]
    release(workers)
    ring = ring_of(segment)
    while any(worker.poll() is None for worker in workers) or ring.cursor < ring.last:
        for run in unbroken(ring.read()):
            replay([event for event in run if event.kind != "panic"], 3)
    for worker in workers:
        output_of(worker)
    assert ring.last > 100


def test_workers_that_are_killed_anywhere_leave_a_usable_state() -> None:
    segment = Segment.create(targets=64)
    body = """
import random
from itertools import count
for now in count(1_000_000):
    target = upstream.target(random.randrange(6))
    for _ in range(2): target.record(False, now)
    upstream.weights(now=now)
"""
    for _ in range(8):
        workers = [start(segment, program("abcdef", 2, 0.002, body)) for _ in range(2)]
        release(workers)
        ring = ring_of(segment, after=ring_of(segment).last)
        while not ring.read():
            pass
        for worker in workers:
            kill(worker)
    upstream = health(segment, "abcdef", failures=2, eject=1)
    now = 1 << 40
    assert upstream.weights(now=now) == [1] * 6
    for index in range(6):
        fail(upstream.target(index), 2, now)
    assert upstream.weights(now=now).count(0.0) == 3
    assert upstream.weights(now=now + 10_000_000) == [1] * 6


def holder_of(segment: Segment) -> "subprocess.Popen[str]":
    """A process that has the lock of the upstream and does not go on."""
    holder = start(segment, program("abcd", 1, 1, "hold_lock(upstream)\nprint('ready', flush=True)\ninput()"))
    release([holder])
    wait_ready(holder)
    return holder


def test_the_lock_of_a_dead_process_is_taken_over_and_everybody_looks_again() -> None:
    segment = Segment.create(targets=64)
    upstream = health(segment, failures=1)
    upstream.weights(now=T0)
    holder = holder_of(segment)
    assert not upstream.is_changed(T0)
    kill(holder)
    upstream.target(0).set_probe(None, T0)      # changes nothing, but takes the lock
    assert upstream.is_changed(T0)
    upstream.target(0).record(False, T0)
    assert upstream.weights(now=T0) == [0, 1, 1, 1]


def test_nobody_hangs_on_the_lock_of_a_process_that_stands_still() -> None:
    segment = Segment.create(targets=64)
    upstream = health(segment, failures=1)
    holder = holder_of(segment)
    upstream.target(0).record(False, T0)
    assert upstream.weights(now=T0) == [1, 1, 1, 1]
    with pytest.raises(TimeoutError, match="'backend' is locked"):
        upstream.target(0).drain(T0)
    kill(holder)
    upstream.target(0).record(False, T0)
    assert upstream.weights(now=T0) == [0, 1, 1, 1]
