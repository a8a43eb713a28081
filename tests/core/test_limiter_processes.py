"""Limits that several processes share: exact together, and after one of them was killed at any instruction."""

import signal
import time
from collections import Counter
from typing import Any

import pytest
from core.limits_workers import workers
from core.reference_limiter import S, border_of, excess_over_bucket, most_in_a_window
from core.regions import evictions, prepare, room

from fastgate._core.limits.rate import (
    FixedWindow,
    Limit,
    SlidingWindowLog,
    TokenBucket,
    limits_size,
    logs_size,
)
from fastgate._core.memory.segment import Segment

FLOOD = """
until = int(input())
limit = {make}
flood(limit, b"one client", until, memoryview(admitted))
"""


def shared() -> Segment:
    segment = Segment.create(targets=1, limits=limits_size(4096), logs=logs_size(16384))
    prepare(segment)
    return segment


def flooded(segment: Segment, make: str, seconds: float, *, kill_after: float = 0) -> list[tuple[int, int]]:
    """The times of all admissions of four processes that ask for one key without a pause; one of them may be killed."""
    with workers(segment, FLOOD.format(make=make)) as started:
        until = time.monotonic_ns() + int(seconds * S)
        for worker in started:
            worker.say(str(until))
        if kill_after:
            time.sleep(kill_after)
            started[0].kill()
        for worker in started[bool(kill_after) :]:
            worker.output()
        return sorted(times for worker in started for times in worker.admissions())


def times_of(segment: Segment, make: str, seconds: float, *, kill_after: float = 0) -> list[int]:
    return [told for told, _ in flooded(segment, make, seconds, kill_after=kill_after)]


@pytest.mark.parametrize("kill_after", [0, 0.5], ids=["all live", "one is killed"])
def test_four_processes_get_out_of_a_bucket_what_is_in_it(kill_after: float) -> None:
    stamps = times_of(shared(), "TokenBucket(100, 1, 50, region=limits)", 1.2, kill_after=kill_after)
    assert excess_over_bucket(stamps, 100, S, 50) <= 1
    assert abs(len(stamps) - (50 + (stamps[-1] - stamps[0]) * 100 / S)) <= 1
    assert stamps[-1] - stamps[0] > S


@pytest.mark.parametrize("kill_after", [0, 0.5], ids=["all live", "one is killed"])
def test_four_processes_fill_each_window_and_no_more(kill_after: float) -> None:
    segment = shared()
    border = border_of(FixedWindow(500, 0.25, region=segment.region("limits")))
    admitted = flooded(segment, "FixedWindow(500, 0.25, region=limits)", 1.2, kill_after=kill_after)
    # A process may wait between clock and check while others begin the next window: it is then admitted in that one.
    certain: Counter[int] = Counter()
    possible: Counter[int] = Counter()
    for before, after in admitted:
        numbers = {(before - border) * 4 // S, (after - border) * 4 // S}
        possible.update(numbers)
        certain.update(numbers if len(numbers) == 1 else ())
    # The last one is cut off. Who is killed between an admission and its note takes one with it.
    inner = sorted(possible)[:-1]
    assert len(inner) >= 4
    assert all(certain[number] <= 500 <= possible[number] + bool(kill_after) for number in inner)
    assert sum(possible[number] >= 500 for number in inner) >= len(inner) - 1


@pytest.mark.parametrize("kill_after", [0, 0.5], ids=["all live", "one is killed"])
def test_no_span_holds_more_than_a_log_admits(kill_after: float) -> None:
    stamps = times_of(shared(), "SlidingWindowLog(100, 0.2, region=logs)", 1.2, kill_after=kill_after)
    assert most_in_a_window(stamps, S // 5) == 100
    # And it admits all it may: 100 at once, then each as one leaves.
    assert len(stamps) >= 100 * ((stamps[-1] - stamps[0]) // (S // 5) + 1) - (2 if kill_after else 1)


@pytest.mark.parametrize(
    "make",
    ["TokenBucket(1000000, 1, 1000, region=limits)", "SlidingWindowLog(100000, 0.1, region=logs)"],
    ids=["bucket", "log"],
)
def test_a_limit_survives_whoever_is_killed_inside_it(make: str) -> None:
    """Processes that do nothing but check, killed one after the other: nearly every one of them dies inside a check."""
    segment = shared()
    for _ in range(12):
        with workers(segment, FLOOD.format(make=make), count=2) as started:
            for worker in started:
                worker.say(str(time.monotonic_ns() + 20 * S))
            time.sleep(0.01)
            for worker in started:
                worker.kill()
    limit: Any = eval(make, globals(), {name: segment.region(name) for name in ("limits", "logs")})
    later = time.monotonic_ns() + S
    for number in range(300):
        assert limit.take("one client", now_ns=later + number)
        assert limit.take(f"another {number}", now_ns=later + number)


def test_a_process_that_dies_with_every_lock_holds_up_nobody() -> None:
    segment = shared()
    with workers(segment, "die_with_every_lock(limits, logs, shares)", count=1) as [worker]:
        worker.process.communicate(timeout=30)
        assert worker.process.returncode == -signal.SIGKILL
    program = """
for limit in (TokenBucket(2, 60, region=limits), SlidingWindowLog(2, 60, region=logs)):
    for number in range(500):
        assert [bool(limit.take(f"client {number}")) for _ in range(3)] == [True, True, False]
"""
    with workers(segment, program, count=1) as [worker]:
        worker.output()


@pytest.mark.parametrize("kind", ["TokenBucket", "FixedWindow", "SlidingWindowLog"])
def test_a_key_that_many_enter_at_once_is_entered_once(kind: str) -> None:
    """Each key admits one. Whoever is ahead enters keys and is overtaken by those who find them: so they meet."""
    program = f"""
limit = {kind}(1, 86400 * 366, region={'logs' if kind == 'SlidingWindowLog' else 'limits'})
print(take_numbers(limit, 200_000, int(input())))
"""
    memory = {"logs": logs_size(32 * 800_000)} if kind == "SlidingWindowLog" else {"limits": limits_size(800_000)}
    segment = Segment.create(targets=1, **memory)
    prepare(segment)
    with workers(segment, program) as started:
        now = time.monotonic_ns()
        for worker in started:
            worker.say(str(now))
        assert sum(int(worker.output()) for worker in started) == 200_000
    assert evictions(segment) == 0


def test_evictions_of_all_processes_are_counted_together() -> None:
    program = """
start = int(input()) * 1000
limit = TokenBucket(1, 86400, region=segment.region("limits"))
admitted = [limit.take(str(number)).admitted for number in range(start, start + 1000)]
print(all(admitted))
"""
    segment = Segment.create(targets=1, limits=limits_size(512))
    prepare(segment)
    with workers(segment, program) as started:
        for number, worker in enumerate(started):
            worker.say(str(number))
        assert [worker.output().strip() for worker in started] == ["True"] * 4
    # 4000 keys are in 512 entries, almost all of which are taken.
    assert 3488 <= evictions(segment) <= 3520


def test_what_one_process_takes_another_one_sees() -> None:
    segment = shared()
    kinds: list[type[Limit]] = [TokenBucket, FixedWindow, SlidingWindowLog]
    program = """
kinds = {TokenBucket: limits, FixedWindow: limits, SlidingWindowLog: logs}
print([bool(kind(3, 86400 * 300, region=region).take("k")) for kind, region in kinds.items()])
"""
    with workers(segment, program, count=1) as [worker]:
        assert worker.hear() == "[True, True, True]"
    for kind in kinds:
        assert kind(3, 86400 * 300, region=room(segment, kind)).peek("k").remaining == 2  # type: ignore[call-arg]
