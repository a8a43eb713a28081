"""Limits of concurrency: against a model, between processes, and the adaptive one against a server that is known."""

import heapq
import os
import random
import signal
import time
from typing import Any

import pytest
from core.limits_workers import workers
from core.regions import merged, prepare_shares, release_slot
from hypothesis import given
from hypothesis import strategies as st

from fastgate._core.limits.concurrency import Concurrency, Share, shares_size
from fastgate._core.memory.segment import Segment, SegmentError

S = 1_000_000_000


def shared(*, slots: int = 4, entries: int = 256) -> Segment:
    segment = Segment.create(slots=slots, targets=1, shares=shares_size(entries, slots))
    prepare_shares(segment)
    return segment


steps = st.lists(
    st.tuples(
        st.sampled_from(["take", "take", "wait", "promote", "end", "die"]),
        st.integers(0, 2),
        st.sampled_from("ab"),
        st.integers(0, 99),
    ),
    max_size=100,
)


amounts = st.tuples(
    st.sampled_from(["take", "take", "wait", "promote", "end", "die"]),
    st.integers(0, 2),
    st.integers(0, 99),
    st.one_of(st.just(1), st.integers(1, 8)),
)


@given(st.integers(1, 9), st.integers(0, 4), st.lists(amounts, max_size=60))
def test_amounts_run_together_up_to_the_most_and_a_larger_one_alone(most: int, queue: int, history: Any) -> None:
    segment = shared(slots=3)
    limits = [Concurrency(most, queue=queue, region=segment.region("shares"), slot=slot) for slot in range(3)]
    held: list[tuple[int, int, Share]] = []

    def running() -> int:
        return sum(amount for _, amount, share in held if share.state == "running")

    def waiting() -> int:
        return sum(share.state == "waiting" for _, _, share in held)

    def fits(amount: int) -> bool:
        return running() + amount <= most or (running() == 0 and amount > 1)

    for step, slot, pick, amount in history:
        share = None
        if step == "take":
            expected = fits(amount)
            share = limits[slot].take("k", amount)
            assert (share is not None) == expected
        elif step == "wait":
            expected = waiting() < queue
            share = limits[slot].wait("k", amount)
            assert (share is not None) == expected
        elif step == "promote":
            queued = [(wanted, other) for _, wanted, other in held if other.state == "waiting"]
            if queued:
                wanted, other = queued[pick % len(queued)]
                expected = fits(wanted)
                assert other.promote() == expected
        elif step == "end" and held:
            held.pop(pick % len(held))[2].release()
        elif step == "die":
            release_slot(segment, slot)
            held = [entry for entry in held if entry[0] != slot]
        if share is not None:
            held.append((slot, amount, share))
        assert limits[0].running("k") == running()
        assert limits[1].waiting("k") == waiting()


@pytest.mark.parametrize("amount", [0, -1, 1.5, 1 << 31])
def test_an_amount_that_makes_no_sense_is_refused(amount: Any) -> None:
    limit = Concurrency(2, queue=2)
    for call in (limit.take, limit.wait):
        with pytest.raises(ValueError, match="an amount is a whole number"):
            call("k", amount)
    assert (limit.running("k"), limit.waiting("k")) == (0, 0)


@given(st.integers(1, 5), st.integers(0, 4), steps)
def test_it_counts_as_a_list_of_shares_would(most: int, queue: int, history: Any) -> None:
    segment = shared(slots=3)
    limits = [Concurrency(most, queue=queue, region=segment.region("shares"), slot=slot) for slot in range(3)]
    held: list[tuple[int, str, Share]] = []

    def count(key: str, state: str) -> int:
        return sum(share.state == state for _, name, share in held if name == key)

    for step, slot, key, pick in history:
        if step == "take":
            share = limits[slot].take(key)
            assert (share is not None) == (count(key, "running") < most)
        elif step == "wait":
            share = limits[slot].wait(key)
            assert (share is not None) == (count(key, "waiting") < queue)
        else:
            share = None
        if share is not None:
            held.append((slot, key, share))
        if step == "promote":
            waiting = [(name, other) for _, name, other in held if other.state == "waiting"]
            if waiting:
                name, other = waiting[pick % len(waiting)]
                fits = count(name, "running") < most
                assert other.promote() == fits
        elif step == "end" and held:
            held.pop(pick % len(held))[2].release()
        elif step == "die":
            release_slot(segment, slot)
            held = [entry for entry in held if entry[0] != slot]
        for name in "ab":
            assert limits[0].running(name) == count(name, "running")
            assert limits[1].waiting(name) == count(name, "waiting")
    assert merged(segment) == 0


def test_a_share_ends_once() -> None:
    limit = Concurrency(2, queue=1)
    first, second, waiting = limit.take("k"), limit.take("k"), limit.wait("k")
    assert first is not None
    assert second is not None
    assert waiting is not None
    assert limit.take("k") is None
    assert not waiting.promote()
    first.release()
    first.release()
    assert limit.running("k") == 1
    assert waiting.promote()
    assert (waiting.state, limit.running("k"), limit.waiting("k")) == ("running", 2, 0)
    with pytest.raises(ValueError, match="this share is running"):
        waiting.promote()
    with second:
        assert limit.running("k") == 2
    assert (second.state, limit.running("k")) == ("released", 1)


def filled(segment: Segment, **options: Any) -> list[Share | None]:
    """Another limit's shares that take all of a room of sixteen entries."""
    other = Concurrency(1, region=segment.region("shares"), name="other", **options)
    held = [other.take(str(number)) for number in range(16)]
    assert all(held)
    return held


def test_where_there_is_no_room_keys_of_one_limit_count_together() -> None:
    limit = Concurrency(2, entries=16)
    held = [limit.take(str(number)) for number in range(16)]
    assert all(held)
    assert merged(limit) == 0
    # The seventeenth key counts with that which has least under way, until all have as many as may be.
    extra = [limit.take("one more") for _ in range(17)]
    assert [bool(share) for share in extra] == [True] * 16 + [False]
    assert merged(limit) == 17
    assert [limit.running(str(number)) for number in range(16)] == [2] * 16
    assert limit.take("3") is None
    assert extra[0] is not None
    extra[0].release()
    assert limit.take("one more")
    assert limit.take("one more") is None


def test_an_entry_that_nobody_holds_makes_room() -> None:
    limit = Concurrency(1, entries=16)
    held = [limit.take(str(number)) for number in range(16)]
    assert limit.take("one more") is None
    assert held[5] is not None
    held[5].release()
    assert limit.take("one more")
    assert limit.take("one more") is None


def test_a_limit_whose_keys_find_no_room_still_holds_for_all_of_them_together() -> None:
    segment = shared(entries=16)
    held = filled(segment)
    one, same = (Concurrency(2, queue=1, region=segment.region("shares"), slot=slot, name="a") for slot in (1, 2))
    first, second = one.take("x"), same.take("y")
    assert first is not None
    assert second is not None
    assert one.take("z") is None
    waiting = one.wait("z")
    assert waiting is not None
    assert same.wait("z") is None
    assert not waiting.promote()
    first.release()
    assert waiting.promote()
    assert same.take("x") is None
    # What a dead worker held comes back, here as everywhere.
    release_slot(segment, 1)
    assert same.take("x")
    assert same.take("x") is None
    # Another limit has an entry of its own.
    assert Concurrency(1, region=segment.region("shares"), name="b").take("x")
    for share in held:
        assert share is not None
        share.release()
    assert [bool(one.take("with room again")) for _ in range(3)] == [True, True, False]


def test_keys_that_clients_choose_have_room_apart() -> None:
    segment = shared(entries=16)
    filled(segment, chosen=True)
    limit = Concurrency(1, region=segment.region("shares"), name="by address")
    assert [bool(limit.take(str(number))) for number in range(16)] == [True] * 16
    assert merged(segment) == 0


crowds = st.lists(
    st.tuples(
        st.sampled_from(["take", "take", "take", "wait", "promote", "end", "die"]),
        st.integers(0, 2), st.integers(0, 2), st.integers(0, 30), st.integers(0, 999),
    ),
    max_size=150,
)


@given(st.integers(1, 4), crowds)
def test_a_full_table_never_lets_more_through_than_each_limit_says(most: int, history: Any) -> None:
    segment = shared(slots=3, entries=16)
    region = segment.region("shares")
    limits = [
        [Concurrency(most, queue=2, region=region, slot=slot, name=name, chosen=name == "c") for slot in range(3)]
        for name in "abc"
    ]
    held: list[tuple[int, tuple[int, int], Share]] = []
    for step, slot, which, key, pick in history:
        limit = limits[which][slot]
        if step in ("take", "wait"):
            share = limit.take(str(key)) if step == "take" else limit.wait(str(key))
            if share is not None:
                held.append((slot, (which, key), share))
        elif step == "promote":
            waiting = [share for _, _, share in held if share.state == "waiting"]
            if waiting:
                waiting[pick % len(waiting)].promote()
        elif step == "end" and held:
            held.pop(pick % len(held))[2].release()
        elif step == "die":
            release_slot(segment, slot)
            held = [entry for entry in held if entry[0] != slot]
        running: dict[tuple[int, int], int] = {}
        for _, name, share in held:
            running[name] = running.get(name, 0) + (share.state == "running")
        assert max(running.values(), default=0) <= most
    for _, _, share in held:
        share.release()
    for each in limits:
        assert [bool(each[0].take("afterwards")) for _ in range(most + 1)] == [True] * most + [False]


def test_limits_of_another_name_are_others() -> None:
    segment = shared()
    one, same, other = (Concurrency(1, region=segment.region("shares"), name=name) for name in ("a", "a", "b"))
    assert one.take("k")
    assert same.take("k") is None
    assert other.take("k")


def test_memory_is_taken_where_it_is_used() -> None:
    segment = shared(slots=64, entries=100_000)
    assert segment.size > 50_000_000
    limit = Concurrency(10, region=segment.region("shares"), slot=63)
    assert [bool(limit.take("k")) for _ in range(11)] == [True] * 10 + [False]
    release_slot(segment, 63)
    assert limit.running("k") == 0
    assert os.fstat(segment.fd).st_blocks * 512 < 300_000


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Concurrency(0), "max must be a whole number"),
        (lambda: Concurrency(1, queue=-1), "queue must be a whole number"),
        (lambda: Concurrency(5, minimum=6), "minimum must be a whole number from 1 to max"),
        (lambda: Concurrency(5, minimum=0), "minimum must be a whole number from 1 to max"),
        (lambda: prepare_shares(Segment.create(shares=4096)), "too few"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_segment_has_to_be_prepared_and_to_have_the_slot() -> None:
    for segment, message in [(Segment.create(), "0 bytes"), (Segment.create(shares=1 << 20), "not prepared")]:
        with pytest.raises(SegmentError, match=message):
            Concurrency(1, region=segment.region("shares"))
    segment = shared(slots=2)
    for slot in (-1, 2):
        with pytest.raises(IndexError):
            Concurrency(1, region=segment.region("shares"), slot=slot)
        with pytest.raises(IndexError):
            release_slot(segment, slot)
    release_slot(Segment.create(), 0)
    limit = Concurrency(1, region=segment.region("shares"))
    assert limit.take("k")
    prepare_shares(segment)
    assert limit.take("k") is None
    with pytest.raises(TypeError):
        Share()


# Between processes.


def test_four_processes_never_hold_more_than_the_limit() -> None:
    """Each holds one at most and counts itself elsewhere: never more than two, often two, none at the end."""
    segment = shared()
    program = """
until = int(input())
limit = Concurrency(2, region=shares, slot=SLOT)
print(*flood_shares(limit, b"k", until, memoryview(board)))
"""
    with workers(segment, program) as started:
        until = time.monotonic_ns() + S // 2
        for worker in started:
            worker.say(str(until))
        outputs = [list(map(int, worker.output().split())) for worker in started]
    assert all(taken > 0 for taken, _ in outputs)
    assert max(most for _, most in outputs) == 2
    assert Concurrency(2, region=segment.region("shares")).running("k") == 0


def test_what_a_killed_worker_held_comes_back_and_nothing_else() -> None:
    segment = shared()
    program = """
limit = Concurrency(10, queue=9, region=shares, slot=SLOT)
held = [limit.take("k") for _ in range(4)] + [limit.wait("k") for _ in range(3)]
print(sum(share is not None for share in held), flush=True)
input()
"""
    with workers(segment, program, count=2) as started:
        assert [worker.hear() for worker in started] == ["7", "7"]
        limit = Concurrency(10, queue=9, region=segment.region("shares"), slot=2)
        assert [bool(limit.take("k")) for _ in range(3)] == [True, True, False]
        started[0].kill()
        assert (limit.running("k"), limit.waiting("k")) == (10, 6)
        release_slot(segment, 0)
        assert (limit.running("k"), limit.waiting("k")) == (6, 3)
        assert [bool(limit.take("k")) for _ in range(5)] == [True] * 4 + [False]


def test_a_limit_survives_whoever_is_killed_inside_it() -> None:
    segment = shared()
    program = """
limit = Concurrency(3, region=shares, slot=SLOT)
until = int(input())
flood_shares(limit, b"k", until, memoryview(board))
"""
    for _ in range(12):
        with workers(segment, program, count=2) as started:
            for worker in started:
                worker.say(str(time.monotonic_ns() + 20 * S))
            time.sleep(0.01)
            for slot, worker in enumerate(started):
                worker.kill()
                release_slot(segment, slot)
    limit = Concurrency(3, region=segment.region("shares"), slot=3)
    assert [bool(limit.take("k")) for _ in range(4)] == [True, True, True, False]
    with workers(segment, "die_with_every_lock(limits, logs, shares)", count=1) as [worker]:
        worker.process.communicate(timeout=30)
        assert worker.process.returncode == -signal.SIGKILL
    program = "limit = Concurrency(3, region=shares, slot=1)\nprint(limit.take('k'), bool(limit.take('other')))"
    with workers(segment, program, count=1) as [worker]:
        assert worker.hear().split() == ["None", "True"]


# The adaptive limit.


class Server:
    """A server that does ``best`` requests at once in ``latency`` seconds each, and more of them in proportion slower.

    It is asked for more all the time (or by so many ``callers``); the limit lets in what it lets in. Time is simulated.
    """

    def __init__(self, limit: Concurrency, *, best: int, latency: float, noise: float = 0.1, callers: int = 10**6):
        self.limit, self.best, self.latency, self.noise, self.callers = limit, best, latency, noise, callers
        self.now = 1000.0
        self.random = random.Random(7)
        self.under_way: list[tuple[float, float, Share]] = []
        self.limits: list[int] = []

    def run(self, seconds: float) -> "tuple[float, float]":
        """Goes on for so long. Returns answers a second and their mean latency."""
        until, done, waited = self.now + seconds, 0, 0.0
        self.limits = []
        while self.now < until:
            while len(self.under_way) < self.callers and (share := self.limit.take("k")) is not None:
                pressed = max(1.0, (len(self.under_way) + 1) / self.best)
                takes = self.latency * pressed * self.random.uniform(1 - self.noise, 1 + self.noise)
                heapq.heappush(self.under_way, (self.now + takes, self.now, share))
            self.now, begun, share = heapq.heappop(self.under_way)
            share.release(self.now - begun, now_ns=round(self.now * S))
            done += 1
            waited += self.now - begun
            self.limits.append(self.limit.limit("k"))
        return done / seconds, waited / done

    def typical(self) -> int:
        return sorted(self.limits)[len(self.limits) // 2]


@pytest.mark.parametrize("best", [5, 40, 150])
def test_the_adaptive_limit_finds_what_a_server_can_take(best: int) -> None:
    limit = Concurrency(1000, minimum=1)
    server = Server(limit, best=best, latency=0.05)
    server.run(30)
    rate, latency = server.run(60)
    # It comes to rest at 1.2 * best + sqrt(limit), and costs at most a fiftieth of the throughput.
    rest = 1.2 * best
    for _ in range(10):
        rest = 1.2 * best + rest**0.5
    assert server.typical() == pytest.approx(rest, rel=0.15)
    assert rate >= 0.95 * best / 0.05
    assert latency <= 0.05 * rest / best * 1.15


def test_the_adaptive_limit_does_not_creep_up_under_steady_overload() -> None:
    server = Server(Concurrency(1000, minimum=1), best=20, latency=0.02)
    server.run(30)
    early = server.typical()
    server.run(300)
    assert server.typical() <= early * 1.15


def test_the_adaptive_limit_follows_a_server_that_changes() -> None:
    limit = Concurrency(500, minimum=2)
    server = Server(limit, best=80, latency=0.02)
    server.run(30)
    wide = server.typical()
    server.best = 20
    server.run(30)
    server.run(10)
    narrow = server.typical()
    assert narrow < wide / 2
    server.best = 80
    server.run(30)
    server.run(10)
    assert server.typical() == pytest.approx(wide, rel=0.15)


def test_the_adaptive_limit_accepts_that_a_server_is_slower_for_good() -> None:
    server = Server(Concurrency(500, minimum=2), best=40, latency=0.02)
    server.run(30)
    before = server.typical()
    server.latency = 0.06
    server.run(90)
    server.run(10)
    assert server.typical() == pytest.approx(before, rel=0.2)


def test_the_adaptive_limit_does_not_grow_for_want_of_requests() -> None:
    limit = Concurrency(1000, minimum=1)
    server = Server(limit, best=1000, latency=0.05, callers=5)
    server.run(60)
    assert limit.limit("k") == 20


def test_the_adaptive_limit_stays_between_its_bounds() -> None:
    low, high = Concurrency(50, minimum=10), Concurrency(30, minimum=1)
    Server(low, best=1, latency=0.02).run(20)
    Server(high, best=500, latency=0.02).run(20)
    # What is measured with ten at once is the least that it can learn of.
    assert 10 <= low.limit("k") <= 18
    assert low.limit("never seen") == 20
    assert high.limit("k") == 30
    assert Concurrency(8, minimum=1).limit("never seen") == 8


def test_dropped_requests_lower_the_adaptive_limit() -> None:
    limit = Concurrency(100, minimum=5)
    now = 1000 * S
    for number in range(200):
        share = limit.take("k")
        assert share is not None
        share.release(dropped=True, now_ns=now + number * S // 50)
    assert limit.limit("k") == 5


def test_a_limit_without_room_learns_all_the_same() -> None:
    segment = shared(entries=16)
    held = filled(segment)
    limit = Concurrency(50, minimum=2, region=segment.region("shares"), name="adaptive")
    now = 1000 * S
    for number in range(200):
        share = limit.take("no room")
        assert share is not None
        share.release(dropped=True, now_ns=now + number * S // 50)
    assert [bool(limit.take(str(number))) for number in range(3)] == [True, True, False]
    assert all(held)
