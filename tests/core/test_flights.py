"""Flights in one process: against a model, where there is no room, and what waiters are told."""

import os
import random
import select
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from core.flight_workers import LAYOUT, flights_in, wakers_for
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgate._core.memory.cache.flights import Flights, Waiter, flights_size
from fastgate._core.memory.region import SegmentError
from fastgate._core.probes import flight_probe as probe
from fastgate._core.probes.shared import region_in

NOWHERE = (0, 0, 0, 0)
Ticket = tuple[int, int]


class Workers:
    """The flights of several slots, all in this process."""

    def __init__(self, slots: int) -> None:
        self.file = os.memfd_create("flights")
        os.ftruncate(self.file, flights_size(slots))
        self.wakers = wakers_for(slots)
        self.flights = [flights_in(slot, slots, self.wakers, self.file) for slot in range(slots)]
        self.supervisor = flights_in(-1, slots, self.wakers, self.file)

    def is_poked(self, slot: int) -> bool:
        return bool(select.select([self.wakers[slot]], [], [], 0)[0])

    def close(self) -> None:
        for descriptor in (self.file, *self.wakers):
            os.close(descriptor)


@pytest.fixture
def workers() -> Iterator[Workers]:
    made = Workers(3)
    yield made
    made.close()


class Follower(probe.Follower):
    def __init__(self, flights: Flights, ticket: Ticket) -> None:
        super().__init__(flights, ticket)
        self.news: list[tuple[str, int]] = []

    def on_told(self, state: str, filled: int) -> None:
        self.news.append((state, filled))


# -- against a model ---------------------------------------------------------------------------------------------------


@dataclass
class Flight:
    """What a flight is: one leader, a state, and what it has brought."""

    ticket: Ticket
    owner: int
    number: int
    state: str = "asking"
    filled: int = 0
    cause: int = 0
    place: tuple[int, ...] = NOWHERE
    until: int = 0
    joined: bool = False


@dataclass
class Waiting:
    follower: Follower
    slot: int
    flight: Flight
    seen: tuple[str, int]
    waits: bool = False
    told: list[tuple[str, int]] = field(default_factory=list)

    @property
    def has_news(self) -> bool:
        return (self.flight.state, self.flight.filled) != self.seen or self.flight.state not in ("asking", "filling")


SLOTS = st.integers(0, 2)
KEYS = st.integers(0, 3)
NUMBERS = st.integers(0, 50)
STEPS = st.one_of(
    st.tuples(st.just("enter"), SLOTS, KEYS, NUMBERS),
    st.tuples(st.just("enter"), SLOTS, KEYS, NUMBERS),
    st.tuples(st.just("retire"), SLOTS, KEYS, NUMBERS),
    st.tuples(st.sampled_from(["answered", "fill", "fill", "complete", "fail", "give_up"]), SLOTS, NUMBERS, NUMBERS),
    st.tuples(st.just("refuse"), SLOTS, NUMBERS, st.integers(0, 30)),
    st.tuples(st.just("take_over"), SLOTS, NUMBERS, NUMBERS),
    st.tuples(st.sampled_from(["follow", "follow", "wait", "wait", "leave"]), SLOTS, NUMBERS, st.none()),
    st.tuples(st.sampled_from(["woken", "woken", "sweep", "release"]), SLOTS, st.none(), st.none()),
    st.tuples(st.just("later"), SLOTS, st.integers(1, 20), st.none()),
)


class Play:
    def __init__(self) -> None:
        self.workers = Workers(3)
        self.listed: dict[int, Flight] = {}
        self.flights: list[Flight] = []
        self.waiting: list[Waiting] = []
        self.now = 1000

    def do(self, step: str, slot: int, what: Any, more: Any) -> None:
        if step in ("enter", "retire"):
            self.enter(slot, what, more, step == "retire")
        elif step in ("follow", "wait", "leave"):
            self.follow(step, slot, what)
        elif step in ("woken", "sweep"):
            getattr(self.workers.flights[slot], step)()
            for each in self.waiting:
                if each.slot == slot and each.waits and each.has_news:
                    each.waits = False
                    each.told.append((each.flight.state, each.flight.filled))
        elif step == "release":
            self.workers.supervisor.release(slot)
            for flight in self.flights:
                if flight.owner == slot and flight.state == "asking":
                    flight.state = "given up"
                elif flight.owner == slot and flight.state == "filling":
                    flight.state, flight.cause = "failed", 0
            # Its waiters died with it.
            for each in self.waiting:
                if each.slot == slot:
                    each.follower.leave()
            self.waiting = [each for each in self.waiting if each.slot != slot]
        elif step == "later":
            self.now += what
        elif self.flights:
            self.lead(step, slot, self.flights[-1 - what % len(self.flights)], more)
        self.check()

    def enter(self, slot: int, key: int, number: int, retire: bool) -> None:
        flight = self.listed.get(key)
        retired = flight.ticket if flight and retire else None
        hashed = random.Random(key).randrange(1 << 64)
        way, ticket = probe.enter(self.workers.flights[slot], hashed, number, retired, self.now)
        if flight and flight.state == "refused" and self.now < flight.until:
            assert way == "alone"
        elif flight and not retire and flight.state in ("asking", "filling"):
            assert (way, ticket) == ("follow", flight.ticket)
        elif flight and not retire and flight.state == "given up":
            assert (way, ticket) == ("lead", flight.ticket)
            flight.state, flight.owner, flight.number = "asking", slot, number
        else:
            assert way == "lead"
            assert ticket not in [each.ticket for each in self.flights]
            for each in self.flights:
                if each.ticket[0] == ticket[0]:
                    assert each.state not in ("asking", "filling")
                    each.state = "over"
            self.listed[key] = Flight(ticket, slot, number)
            self.flights.append(self.listed[key])

    def lead(self, step: str, slot: int, flight: Flight, more: int) -> None:
        worker, ticket = self.workers.flights[slot], flight.ticket
        leads = flight.owner == slot
        asking, filling = flight.state == "asking", flight.state == "filling"
        if step == "answered":
            place = (more, 1, 2, 3)
            right = leads and asking
            assert probe.answered(worker, ticket, place, more) == right
            if right:
                flight.state, flight.place, flight.filled = "filling", place, more
        elif step == "fill":
            right = leads and filling
            assert probe.fill(worker, ticket, more) == right
            if right:
                flight.filled = more
        elif step == "complete":
            right = leads and (asking or filling)
            assert probe.complete(worker, ticket) == right
            if right:
                flight.state = "complete"
        elif step == "fail":
            right = leads and (asking or filling)
            assert probe.fail(worker, ticket, more) == right
            if right:
                flight.state, flight.cause = "failed", more
        elif step == "refuse":
            right = leads and asking
            assert probe.refuse(worker, ticket, self.now + more) == right
            if right:
                flight.state, flight.until = ("refused", self.now + more) if flight.joined else ("over", 0)
        elif step == "give_up":
            right = leads and asking
            assert probe.give_up(worker, ticket) == right
            if right:
                flight.state = "given up" if flight.joined else "over"
        else:
            right = flight.state == "given up"
            assert probe.take_over(worker, ticket, more) == right
            if right:
                flight.state, flight.owner, flight.number = "asking", slot, more

    def follow(self, step: str, slot: int, what: int) -> None:
        if step == "follow":
            if self.flights:
                flight = self.flights[-1 - what % len(self.flights)]
                follower = Follower(self.workers.flights[slot], flight.ticket)
                self.waiting.append(Waiting(follower, slot, flight, self.seen(follower, flight)))
            return
        if not self.waiting:
            return
        each = self.waiting[what % len(self.waiting)]
        if step == "leave":
            each.follower.leave()
            each.waits = False
        elif not each.waits:
            if each.told:
                each.seen = self.seen(each.follower, each.flight)
            each.flight.joined = True
            each.waits = not each.has_news
            assert each.follower.wait() == each.waits
            if not each.waits:
                each.seen = self.seen(each.follower, each.flight)

    def seen(self, follower: Follower, flight: Flight) -> tuple[str, int]:
        state, filled = follower.look()
        assert state == flight.state
        if state != "over":
            assert filled == flight.filled
        else:
            flight.filled = filled      # of nobody any more
        return state, flight.filled

    def check(self) -> None:
        for flight in self.flights:
            state, owner, number, filled, cause, place = probe.look(self.workers.supervisor, flight.ticket)
            assert state == flight.state
            if state == "over":
                flight.filled = filled
                continue
            assert (owner, number, filled) == (flight.owner, flight.number, flight.filled)
            if state in ("filling", "complete") and flight.place != NOWHERE:
                assert place == flight.place
            if state == "failed":
                assert cause == flight.cause
        for slot in range(3):
            waits = sum(each.waits for each in self.waiting if each.slot == slot)
            assert probe.waiting(self.workers.flights[slot]) == waits
        for each in self.waiting:
            assert [state for state, _ in each.follower.news] == [state for state, _ in each.told]
            assert each.follower.is_waiting() == each.waits
            # Whatever is news to one that waits, its worker is woken for.
            if each.waits and each.has_news:
                assert self.workers.is_poked(each.slot)


@settings(max_examples=300)
@given(st.lists(STEPS, max_size=100))
def test_against_the_model(steps: list[tuple[str, int, Any, Any]]) -> None:
    play = Play()
    try:
        for step in steps:
            play.do(*step)
        for slot in range(3):
            play.do("woken", slot, None, None)
        assert not any(each.waits and each.has_news for each in play.waiting)
    finally:
        play.workers.close()


def test_a_long_play() -> None:
    """So long that rows have many lives, and their followers find another one in them."""
    seed = random.randrange(1 << 32)
    print("seed", seed)
    draw = random.Random(seed)
    play = Play()
    often = ["enter", "enter", "answered", "fill", "fill", "take_over", "woken", "wait", *4 * ["follow"]]
    seldom = ["complete", "refuse", "fail", "give_up", "leave", "retire", "release", "sweep"]
    seen: set[str] = set()
    try:
        for _ in range(4000):
            step = draw.choice([*often, *often, *seldom])
            what: Any = draw.randrange(4) if step in ("enter", "retire") else draw.randrange(6)
            play.do("later", 0, 1, None)
            play.do(step, draw.randrange(3), what, draw.randrange(30))
            if step == "follow":
                play.do("wait", 0, len(play.waiting) - 1, None)
            play.flights = play.flights[-40:]
            play.waiting = [
                each
                for each in play.waiting[-30:] + [each for each in play.waiting[:-30] if each.waits]
                if each.flight in play.flights or each.waits
            ]
            seen |= {state for each in play.waiting for state, _ in each.told}
    finally:
        play.workers.close()
    assert {"filling", "complete", "refused", "failed", "given up", "over"} <= seen


# -- room --------------------------------------------------------------------------------------------------------------

BUCKET = 5 << 55


def test_a_bucket_without_room_means_no_flight(workers: Workers) -> None:
    one = workers.flights[0]
    tickets = [probe.enter(one, BUCKET + number)[1] for number in range(7)]
    assert len({row for row, _ in tickets}) == 7
    assert probe.enter(one, BUCKET + 7)[0] == "full"
    assert probe.enter(workers.flights[1], BUCKET + 3) == ("follow", tickets[3])
    assert probe.complete(one, tickets[4])
    assert probe.enter(one, BUCKET + 7) == ("lead", (tickets[4][0], tickets[4][1] + 1))
    assert probe.look(one, tickets[4])[0] == "over"
    assert workers.supervisor.stats()[:4] == (8, 1, 0, 1)


def test_how_a_flight_ended_can_be_read_while_there_is_room(workers: Workers) -> None:
    one = workers.flights[0]
    ended = []
    for number in range(7):
        way, ticket = probe.enter(one, BUCKET + 1, now=number)
        assert way == "lead"
        probe.fail(one, ticket, number)
        ended.append(ticket)
    assert [probe.look(one, ticket)[4] for ticket in ended] == list(range(7))
    # The next takes the row of the one that is over for longest, though its own is over too.
    assert probe.enter(one, BUCKET + 1, now=9)[1][0] == ended[0][0]
    assert [probe.look(one, ticket)[0] for ticket in ended] == ["over"] + ["failed"] * 6


def refused(workers: Workers, hashed: int, until: int, now: int = 0) -> Ticket:
    way, ticket = probe.enter(workers.flights[0], hashed, now=now)
    assert way == "lead"
    follower = Follower(workers.flights[1], ticket)
    follower.look()
    assert follower.wait()
    assert probe.refuse(workers.flights[0], ticket, until)
    workers.flights[1].woken()
    assert follower.news == [("refused", 0)]
    return ticket


def test_a_refused_key_is_not_waited_for_until_its_time_is_over(workers: Workers) -> None:
    refused(workers, BUCKET, 500)
    assert probe.enter(workers.flights[2], BUCKET, now=499)[0] == "alone"
    assert probe.enter(workers.flights[2], BUCKET, now=500)[0] == "lead"
    assert probe.enter(workers.flights[1], BUCKET, now=501)[0] == "follow"


def test_a_key_that_nobody_waited_for_is_not_remembered_as_refused(workers: Workers) -> None:
    _, ticket = probe.enter(workers.flights[0], BUCKET)
    assert probe.refuse(workers.flights[0], ticket, 1 << 60)
    assert probe.enter(workers.flights[1], BUCKET)[0] == "lead"


def test_the_row_that_is_refused_for_the_shortest_time_yet_goes_first(workers: Workers) -> None:
    for number in range(7):
        refused(workers, BUCKET + number, 1000 + (number + 3) % 7)
    assert probe.enter(workers.flights[0], BUCKET + 100, now=1)[0] == "lead"
    gone = [probe.enter(workers.flights[1], BUCKET + number, now=2)[0] for number in range(7) if number != 4]
    assert gone == ["alone"] * 6


def test_two_hashes_that_are_listed_alike_exclude_each_other(workers: Workers) -> None:
    _, ticket = probe.enter(workers.flights[0], BUCKET + 9)
    assert probe.enter(workers.flights[1], BUCKET + 9 + 65535)[0] == "full"
    assert probe.enter(workers.flights[1], BUCKET + 9)[0] == "follow"
    probe.complete(workers.flights[0], ticket)
    assert probe.enter(workers.flights[1], BUCKET + 9 + 65535)[0] == "lead"
    assert probe.enter(workers.flights[1], BUCKET + 9)[0] == "full"


# -- waiters -----------------------------------------------------------------------------------------------------------


def test_a_retired_flight_goes_on_for_those_who_follow_it(workers: Workers) -> None:
    one, two = workers.flights[:2]
    _, old = probe.enter(one, BUCKET, 1)
    follower = Follower(two, old)
    follower.look()
    assert follower.wait()
    assert probe.enter(two, BUCKET, 2, retired=old)[0] == "lead"
    way, new = probe.enter(workers.flights[2], BUCKET, 2, retired=old)
    assert (way, new != old) == ("follow", True)
    assert probe.answered(one, old, (1, 2, 3, 4), 10)
    assert probe.complete(one, old)
    two.woken()
    assert follower.news == [("complete", 10)]


def test_what_one_is_told_may_make_others_leave_and_wait(workers: Workers) -> None:
    one, two = workers.flights[:2]
    _, ticket = probe.enter(one, BUCKET)
    told = []

    class Acting(Follower):
        def on_told(self, state: str, filled: int) -> None:
            told.append(self)
            for each in followers:
                each.leave()
            self.look()
            assert self.wait()

    followers = [Acting(two, ticket) for _ in range(4)]
    for each in followers:
        each.look()
        assert each.wait()
    probe.answered(one, ticket, NOWHERE, 5)
    two.woken()
    assert told == followers[:1]
    assert probe.waiting(two) == 1
    probe.fill(one, ticket, 6)
    two.woken()
    assert told == followers[:1] * 2
    followers[0].leave()
    assert probe.waiting(two) == 0


def test_one_that_was_woken_for_what_it_knows_is_woken_again(workers: Workers) -> None:
    one, two = workers.flights[:2]
    _, ticket = probe.enter(one, BUCKET)
    probe.answered(one, ticket, NOWHERE, 5)
    follower = Follower(two, ticket)
    follower.look()
    assert follower.wait()
    assert probe.fill(one, ticket, 5)
    assert workers.is_poked(1)
    two.woken()
    assert follower.news == []
    assert not workers.is_poked(1)
    assert probe.fill(one, ticket, 6)
    assert workers.is_poked(1)
    two.woken()
    assert follower.news == [("filling", 6)]


def test_one_that_raises_keeps_no_other_from_its_news(workers: Workers) -> None:
    one, two = workers.flights[:2]

    class Failing(Follower):
        def on_told(self, state: str, filled: int) -> None:
            super().on_told(state, filled)
            raise RuntimeError("not this one")

    tickets = [probe.enter(one, BUCKET + number)[1] for number in range(3)]
    followers = [Failing(two, ticket) for ticket in tickets for _ in range(2)]
    for each in followers:
        each.look()
        each.wait()
    for ticket in tickets:
        probe.complete(one, ticket)
    with pytest.raises(RuntimeError, match="not this one"):
        two.woken()
    assert [each.news for each in followers] == [[("complete", 0)]] * 6


def test_many_waiters_may_go_with_the_flights_that_they_wait_for() -> None:
    workers = Workers(1)
    _, ticket = probe.enter(workers.flights[0], BUCKET)
    for _ in range(100_000):
        follower = Follower(workers.flights[0], ticket)
        follower.look()
        follower.wait()
    assert probe.waiting(workers.flights[0]) == 100_000
    del follower
    workers.close()


@pytest.mark.parametrize("slots", [1, 64, 130])
def test_slots_that_share_a_bit_are_all_woken(slots: int) -> None:
    workers = Workers(slots)
    try:
        _, ticket = probe.enter(workers.flights[0], BUCKET)
        waits = sorted({slot % slots for slot in (0, 1, 63, 64, 65, 129)})
        followers = [Follower(workers.flights[slot], ticket) for slot in waits]
        for each in followers:
            each.look()
            assert each.wait()
        probe.complete(workers.flights[0], ticket)
        poked = {slot for slot in range(slots) if workers.is_poked(slot)}
        assert poked == {slot for slot in range(slots) if any((slot - each) % 64 == 0 for each in waits)}
        for slot in poked:
            workers.flights[slot].woken()
        assert [each.news for each in followers] == [[("complete", 0)]] * len(waits)
    finally:
        workers.close()


def test_who_died_before_it_woke_others_is_made_up_for(workers: Workers) -> None:
    """The mask was swapped, nobody woken, and the row is another's: the supervisor has everybody look."""
    one, two, three = workers.flights
    _, ticket = probe.enter(one, BUCKET)
    follower = Follower(two, ticket)
    follower.look()
    follower.wait()
    os.eventfd_write(workers.wakers[0], 1)
    probe.complete(one, ticket)
    two_was_poked = os.eventfd_read(workers.wakers[1])      # as if it had not been
    assert two_was_poked == 1
    for number in range(1, 8):
        probe.enter(three, BUCKET + number)
    assert probe.look(two, ticket)[0] == "over"
    workers.supervisor.release(0)
    assert all(workers.is_poked(slot) for slot in range(3))
    two.woken()
    assert [state for state, _ in follower.news] == ["over"]


def test_a_full_eventfd_wakes_too(workers: Workers) -> None:
    one, two = workers.flights[:2]
    _, ticket = probe.enter(one, BUCKET)
    follower = Follower(two, ticket)
    follower.look()
    follower.wait()
    os.eventfd_write(workers.wakers[1], (1 << 64) - 2)
    probe.complete(one, ticket)
    two.woken()
    assert follower.news == [("complete", 0)]


# -- memory ------------------------------------------------------------------------------------------------------------


def test_arguments() -> None:
    wakers = wakers_for(2)
    region = region_in(-1, "flights", LAYOUT, flights_size(2), 2)
    for slot in (-2, 2):
        with pytest.raises(IndexError, match=f"slot {slot} of 2"):
            Flights(region, slot, wakers)
    with pytest.raises(ValueError, match="1 eventfds for 2 slots"):
        Flights(region, 0, wakers[:1])
    with pytest.raises(SegmentError, match="needs"):
        Flights(region_in(-1, "flights", LAYOUT, flights_size(2) - 1, 2), 0, wakers)
    with pytest.raises(SegmentError, match="two versions of fastgate met"):
        Flights(region_in(-1, "flights", LAYOUT + 1, flights_size(2), 2), 0, wakers)
    with pytest.raises(SegmentError, match="cache line"):
        Flights(region_in(-1, "flights", LAYOUT, flights_size(2), 2, offset=8), 0, wakers)
    supervisor = Flights(region, -1, wakers)
    assert probe.enter(supervisor, 1)[0] == "full"
    with pytest.raises(IndexError, match="slot 2 of 2"):
        supervisor.release(2)
    with pytest.raises(RuntimeError, match="without a slot"):
        Follower(supervisor, (0, 0)).wait()
    assert issubclass(Follower, Waiter)
    for descriptor in wakers:
        os.close(descriptor)


def test_a_supervisor_gets_rid_of_an_abandoned_row_of_any_state() -> None:
    """Memory in which anything may stand: nothing crashes, and what is entered ends."""
    seed = random.randrange(1 << 32)
    print("seed", seed)
    draw = random.Random(seed)
    workers = Workers(2)
    try:
        for _ in range(300):
            os.pwrite(workers.file, draw.randbytes(1024), 1024 * draw.randrange(4))
            for number in range(6):
                way, ticket = probe.enter(workers.flights[0], draw.randrange(4) << 55 | number)
                assert way in ("lead", "follow", "alone", "full")
                probe.look(workers.flights[1], ticket)
                probe.answered(workers.flights[0], ticket)
                probe.complete(workers.flights[0], ticket)
            workers.supervisor.release(draw.randrange(2))
            for flights in workers.flights:
                flights.woken()
    finally:
        workers.close()
