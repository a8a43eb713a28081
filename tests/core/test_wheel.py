"""The timer wheel against a plain list of deadlines: never early, at most two ticks late."""

import gc
import weakref
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from fastgate._core.exchange.timers import TICK_MS
from fastgate._core.probes.core import Alarm, HandWheel

HORIZON = 512 * TICK_MS


class Clock:
    """A wheel, its clock, and what has rung when."""

    def __init__(self) -> None:
        self.failures: list[BaseException] = []
        self.wheel = HandWheel(self.failures.append)
        self.start = self.wheel.now
        self.rung: dict[int, list[int]] = {}
        self.time = self.start
        """What the time is; the wheel learns it at its next turn."""

    def alarm(self, number: int = 0) -> Alarm:
        rung = self.rung.setdefault(number, [])
        return Alarm(lambda: rung.append(self.time))

    def turn(self, milliseconds: int = TICK_MS) -> None:
        """One turn, so long after the last."""
        self.time = self.wheel.now + milliseconds
        self.wheel.turn(self.time)

    def pass_time(self, milliseconds: int) -> None:
        end = self.wheel.now + milliseconds
        while self.wheel.now < end:
            self.turn()


def test_a_deadline_rings_once_not_early_and_at_most_two_ticks_late() -> None:
    short = (1, 49, 50, 51, 99, 100, 101, 1000)
    long = (HORIZON - 51, HORIZON - 50, HORIZON - 1, HORIZON, HORIZON + 1, 3 * HORIZON + 7)
    for delay in (*short, *long):
        clock = Clock()
        alarm = clock.alarm()
        clock.wheel.arm(alarm, delay)
        assert alarm.is_set
        clock.pass_time(delay + 10 * TICK_MS)
        assert len(clock.rung[0]) == 1, delay
        assert delay <= clock.rung[0][0] - clock.start <= delay + 2 * TICK_MS, delay
        assert not alarm.is_set


def test_a_deadline_can_be_taken_away_and_set_again() -> None:
    clock = Clock()
    alarm = clock.alarm()
    clock.wheel.arm(alarm, 100)
    clock.wheel.arm(alarm, 0)
    assert not alarm.is_set
    clock.pass_time(1000)
    assert clock.rung[0] == []
    clock.wheel.arm(alarm, 100)
    clock.pass_time(1000)
    assert len(clock.rung[0]) == 1


def test_only_the_last_deadline_counts() -> None:
    for first, second in ((1000, 200), (200, 1000), (HORIZON * 2, 100), (100, HORIZON * 2)):
        clock = Clock()
        alarm = clock.alarm()
        clock.wheel.arm(alarm, first)
        clock.wheel.arm(alarm, second)
        clock.pass_time(max(first, second) + 1000)
        assert len(clock.rung[0]) == 1
        assert second <= clock.rung[0][0] - clock.start <= second + 2 * TICK_MS


def test_an_alarm_may_set_itself_again_while_it_rings() -> None:
    clock = Clock()
    rung: list[int] = []

    def ring() -> None:
        rung.append(clock.time)
        if len(rung) < 5:
            clock.wheel.arm(alarm, 1)

    alarm = Alarm(ring)
    clock.wheel.arm(alarm, 1)
    clock.pass_time(2000)
    assert len(rung) == 5
    assert all(1 <= later - earlier <= 2 * TICK_MS for earlier, later in pairwise(rung))


def test_an_alarm_may_take_another_away_or_let_it_go_while_it_rings() -> None:
    for _ in range(2):
        clock = Clock()
        others = [clock.alarm(number) for number in range(1, 20)]

        def ring(clock: Clock = clock, others: list[Alarm] = others) -> None:
            for other in others[:10]:
                clock.wheel.arm(other, 0)
            del others[10:]

        ringing = [Alarm(ring) for _ in range(2)]
        clock.wheel.arm(ringing[0], 100)
        for other in others:
            clock.wheel.arm(other, 300)
        del other
        clock.pass_time(1000)
        assert all(not rung for rung in clock.rung.values())


def test_what_an_alarm_raises_is_told_and_the_others_ring() -> None:
    clock = Clock()

    def fail() -> None:
        raise LookupError("wrong")

    alarms = [clock.alarm(0), Alarm(fail), clock.alarm(1)]
    for alarm in alarms:
        clock.wheel.arm(alarm, 100)
    clock.pass_time(500)
    assert [type(failure) for failure in clock.failures] == [LookupError]
    assert (len(clock.rung[0]), len(clock.rung[1])) == (1, 1)


def test_the_wheel_keeps_nothing_alive() -> None:
    class Marked(Alarm):
        pass

    clock = Clock()
    alarms = [Marked(lambda: None) for _ in range(10)]
    gone = [weakref.ref(alarm) for alarm in alarms]
    for alarm in alarms:
        clock.wheel.arm(alarm, 100)
    del alarms[3:], alarm
    gc.collect()
    assert [reference() is None for reference in gone] == [False] * 3 + [True] * 7
    clock.pass_time(500)


def test_alarms_may_outlive_their_wheel() -> None:
    clock = Clock()
    alarms = [clock.alarm() for _ in range(5)]
    for alarm in alarms:
        clock.wheel.arm(alarm, 100)
    wheel = clock.wheel
    del clock.wheel, wheel
    alarms.clear()
    gc.collect()


def test_after_the_loop_stood_still_everything_that_is_due_rings_at_once() -> None:
    for pause in (1000, HORIZON - TICK_MS, HORIZON, HORIZON + TICK_MS, HORIZON * 5 + 7):
        clock = Clock()
        alarms = [clock.alarm(number) for number in range(100)]
        for number, alarm in enumerate(alarms):
            clock.wheel.arm(alarm, 1 + number * HORIZON // 30)
        clock.turn(pause)
        for number in range(100):
            due = 1 + number * HORIZON // 30 + TICK_MS
            assert len(clock.rung[number]) == (due <= pause), (pause, number)
        clock.pass_time(4 * HORIZON)
        assert all(len(rung) == 1 for rung in clock.rung.values())


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("arm"), st.integers(0, 7), st.one_of(st.integers(1, 400), st.integers(1, 3 * HORIZON))),
        st.tuples(st.just("disarm"), st.integers(0, 7), st.just(0)),
        st.tuples(st.just("drop"), st.integers(0, 7), st.just(0)),
        st.tuples(st.just("wait"), st.just(0), st.one_of(st.integers(1, 20), st.integers(1, 700))),
    ),
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_any_course_of_things_against_a_list_of_deadlines(steps: list[tuple[str, int, int]]) -> None:
    clock = Clock()
    alarms = {number: clock.alarm(number) for number in range(8)}
    due: dict[int, int] = {}

    def turn() -> None:
        before = {number: len(rung) for number, rung in clock.rung.items()}
        clock.turn()
        for number, rung in clock.rung.items():
            if len(rung) > before[number]:
                assert len(rung) == before[number] + 1
                deadline = due.pop(number)
                assert deadline <= clock.time <= deadline + 2 * TICK_MS
        assert all(clock.time <= deadline + 2 * TICK_MS for deadline in due.values())

    for kind, number, amount in steps:
        if kind == "arm":
            clock.wheel.arm(alarms[number], amount)
            due[number] = clock.time + amount
        elif kind == "disarm":
            clock.wheel.arm(alarms[number], 0)
            due.pop(number, None)
        elif kind == "drop":
            alarms[number] = clock.alarm(number)
            due.pop(number, None)
        else:
            for _ in range(amount):
                turn()
    while due:
        turn()
    assert not clock.failures
