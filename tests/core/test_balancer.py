"""The balancers that take turns, and what all kinds have in common, against their plain-Python models."""

import itertools
import math
import os
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest
from core.reference_balancers import Least, Smooth, Turns
from hypothesis import given
from hypothesis import strategies as st

from fastgate._core.delivery.balancer import (
    Balancer,
    IPHash,
    LeastConnections,
    PowerOfTwoChoices,
    Random,
    RoundRobin,
    SmoothWeightedRoundRobin,
)
from fastgate._core.delivery.ring import ConsistentHash
from fastgate._core.memory.segment import Segment
from fastgate._core.probes.core import SharedCounts, nanoseconds_per_pick, use_members
from fastgate._core.probes.shared import add_in_flight

KINDS: list[Any] = [
    Balancer, RoundRobin, SmoothWeightedRoundRobin, LeastConnections, Random, PowerOfTwoChoices, IPHash, ConsistentHash,
]
weights = st.lists(st.integers(0, 5), min_size=1, max_size=8)
skips = st.sets(st.integers(0, 7), max_size=4)


def within(skip: set[int], size: int) -> list[int]:
    return [number for number in skip if number < size]


# --- round robin


@given(st.lists(st.text(), min_size=1, max_size=20), st.integers(0, 100))
def test_round_robin_takes_every_target_in_turn_from_its_offset(targets: list[str], offset: int) -> None:
    balancer = RoundRobin(targets, offset=offset)
    model = itertools.islice(itertools.cycle(targets), offset % len(targets), None)
    assert [balancer.choose() for _ in range(50)] == list(itertools.islice(model, 50))


def test_workers_with_different_offsets_begin_with_different_targets() -> None:
    assert [RoundRobin("abc", offset=slot).choose() for slot in range(4)] == ["a", "b", "c", "a"]


@given(weights, st.integers(0, 10), st.lists(st.tuples(st.integers(1, 5), weights, skips), max_size=10))
def test_round_robin_keeps_its_turn_when_weights_change(
    first: list[int], offset: int, course: list[tuple[int, list[int], set[int]]]
) -> None:
    size = len(first)
    balancer, model = RoundRobin(range(size), first, offset), Turns(first, offset)
    for picks, changed, skip in course:
        changed = (changed * size)[:size]
        for _ in range(picks):
            skip = set(within(skip, size))
            assert balancer.index(skip=list(skip)) == model.pick(skip)
            assert balancer.index() == model.pick()
        balancer.weigh(changed)
        model.weights = changed


# --- smooth weighted round robin


def test_five_one_one_is_spread() -> None:
    balancer = SmoothWeightedRoundRobin("abc", [5, 1, 1])
    assert "".join(balancer.choose() for _ in range(14)) == "aabacaa" * 2


@given(weights, st.integers(0, 20), st.lists(skips, max_size=30))
def test_smooth_weighted_round_robin_is_nginx_s(shares: list[int], offset: int, courses: list[set[int]]) -> None:
    size = len(shares)
    balancer, model = SmoothWeightedRoundRobin(range(size), shares, offset), Smooth(shares)
    for _ in range(offset % size):
        model.pick()
    for _ in range(20):
        assert balancer.index() == model.pick()
    if len(set(shares) - {0}) > 1:
        for skip in courses:
            assert balancer.index(skip=within(skip, size)) == model.pick(skip)


@given(st.integers(1, 8), st.floats(0.01, 100), st.integers(0, 20))
def test_equal_weights_are_round_robin(size: int, weight: float, offset: int) -> None:
    smooth = SmoothWeightedRoundRobin(range(size), [weight] * size, offset)
    turns = RoundRobin(range(size), None, offset)
    for skip in ([], [0], [], [size - 1], list(range(size)), [], []):
        assert smooth.index(skip=skip) == turns.index(skip=skip)


@given(weights, st.integers(0, 30), st.integers(1, 9))
def test_the_same_weights_or_a_multiple_change_nothing(shares: list[int], picks: int, factor: int) -> None:
    balancer, model = SmoothWeightedRoundRobin(range(len(shares)), shares), Smooth(shares)
    for turn in range(picks + 20):
        if turn == picks:
            balancer.weigh(shares)
        if turn == picks + 1:
            balancer.weigh([weight * factor for weight in shares])
        assert balancer.index() == model.pick()


@given(st.lists(st.tuples(weights, st.integers(0, 20)), min_size=2, max_size=8), st.integers(1, 8))
def test_after_any_change_of_weights_each_round_is_fair(course: list[tuple[list[int], int]], size: int) -> None:
    balancer = SmoothWeightedRoundRobin(range(size), [1] * size)
    for shares, picks in course:
        shares = (shares * size)[:size]
        balancer.weigh(shares)
        rounds = Counter(balancer.index() for _ in range(3 * sum(shares)))
        assert all(abs(rounds[number] - 3 * weight) <= 2 for number, weight in enumerate(shares))
        for _ in range(picks):
            balancer.index()


def test_a_turn_goes_on_where_equal_weights_become_others_and_back() -> None:
    balancer = SmoothWeightedRoundRobin("abcd")
    assert [balancer.choose() for _ in range(2)] == ["a", "b"]
    balancer.weigh([1.5, 1, 1, 1])
    assert [balancer.choose() for _ in range(2)] == ["c", "d"], "those who had no turn yet"
    balancer.weigh([1, 1, 1, 1])
    assert balancer.choose() == "a"


def test_a_member_that_was_heavy_is_not_made_to_pay() -> None:
    balancer = SmoothWeightedRoundRobin("ab", [1000, 1])
    for _ in range(500):
        balancer.choose()
    balancer.weigh([1, 2])
    assert Counter(balancer.choose() for _ in range(9)) == {"a": 3, "b": 6}


# --- least connections


@given(st.lists(st.integers(1, 4), min_size=1, max_size=6), st.integers(0, 9), st.data())
def test_least_connections(shares: list[int], offset: int, data: st.DataObject) -> None:
    size = len(shares)
    balancer = LeastConnections(range(size), shares, offset)
    counts = [0] * size
    model = Least(shares, counts, offset)
    for _ in range(30):
        action = data.draw(st.sampled_from(["pick", "pick", "skip", "done", "weigh"]))
        if action == "weigh":
            changed = data.draw(st.lists(st.integers(0, 4), min_size=size, max_size=size))
            balancer.weigh(changed)
            model.weights = changed
        elif action == "done":
            busy = [number for number in range(size) if counts[number]]
            if busy:
                number = data.draw(st.sampled_from(busy))
                balancer.done(number)
                counts[number] -= 1
        else:
            skip = within(data.draw(skips), size) if action == "skip" else []
            number = balancer.index(skip=skip)
            assert number == model.pick(skip)
            if number >= 0:
                balancer.begin(number)
                counts[number] += 1
        assert [balancer.in_flight(number) for number in range(size)] == counts


def test_idle_targets_are_used_evenly() -> None:
    balancer = LeastConnections("abc")
    taken = []
    for _ in range(6):
        with balancer.taken() as target:
            taken.append(target)
    assert "".join(taken) == "abcabc"


# --- what they have in common


def test_the_targets_are_as_given() -> None:
    targets = [object(), object()]
    assert RoundRobin(iter(targets)).targets == tuple(targets)
    assert len(RoundRobin(targets)) == RoundRobin(targets).size == 2


@pytest.mark.parametrize("kind", KINDS)
def test_without_targets_there_is_no_choice(kind: Any) -> None:
    for balancer in (kind([]), kind("ab", [0, 0])):
        with pytest.raises(LookupError, match="no targets"):
            balancer.choose()
        assert balancer.index(hash=5) == -1
    assert balancer.index(skip=[0]) == -1


@pytest.mark.parametrize("kind", KINDS)
def test_weight_zero_is_out_of_rotation_and_comes_back(kind: Any) -> None:
    balancer = kind("abc", [1, 0, 2])
    assert {balancer.choose(key) for key in range(100)} <= {"a", "c"}
    balancer.weigh([0, 1, 0])
    assert {balancer.choose(key) for key in range(100)} == {"b"}
    balancer.weigh([1, 1, 1])
    if kind is not Balancer:
        assert {balancer.choose(key) for key in range(100)} == {"a", "b", "c"}


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_tried_is_avoided_unless_nothing_else_is_left(kind: Any) -> None:
    balancer = kind(range(4), [3, 0, 2, 1])
    for key in range(50):
        assert balancer.index(key, key << 33, skip=[0, 2]) == 3
        assert balancer.index(key, key << 33, skip=[3]) in {0, 2}
        assert balancer.index(key, key << 33, skip=[0, 2, 3]) in {0, 2, 3}
        assert balancer.index(key, key << 33, skip=[0, 1, 2, 3]) in {0, 2, 3}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wrong", [[1], [1, 2, 3], [1, -1], [1, math.nan], [1, math.inf], [1, 1e10]])
def test_what_is_no_weight_changes_nothing(kind: Any, wrong: list[float]) -> None:
    with pytest.raises(ValueError, match="weight"):
        kind("ab", wrong)
    balancer = kind("ab", [0, 1])
    with pytest.raises(ValueError, match="weight"):
        balancer.weigh(wrong)
    assert [balancer.choose(key) for key in range(5)] == ["b"] * 5


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("extreme", [[5e-324, 1e9], [1e-300, 1e-300], [1e9, 1e9], [0.1, 0.3]])
def test_extreme_weights_are_weights(kind: Any, extreme: list[float]) -> None:
    balancer = kind("ab", extreme)
    for key in range(100):
        balancer.begin(balancer.choose(key))
    assert balancer.in_flight("a") + balancer.in_flight("b") == 100
    if extreme[0] == extreme[1] and kind is not Balancer:
        assert balancer.in_flight("a") > 20 < balancer.in_flight("b")


@pytest.mark.parametrize("kind", KINDS[1:])
def test_members_come_and_go_at_the_end(kind: Any) -> None:
    balancer = kind("abc")
    if kind is ConsistentHash:
        with pytest.raises(ValueError, match="5 members need as many names, not 3"):
            use_members(balancer, [1] * 5)
        balancer.names = ("a", "b", "c", "d", "e")
    for size in (5, 2, 0, 1, 300, 4):
        if kind is ConsistentHash and size > 5:
            continue
        use_members(balancer, [1] * size)
        assert balancer.size == len(balancer) == size
        found = {balancer.index(key, key * 0x9E3779B97F4A7C15 % 2**64) for key in range(1, 20 * size + 1)}
        assert found <= set(range(size))
        assert len(found) == size or (size == 300 and len(found) > 280)
        if not size:
            assert balancer.index(3) == -1


@given(st.lists(st.tuples(weights, st.integers(0, 9)), max_size=6))
def test_a_turn_is_kept_while_members_come_and_go(course: list[tuple[list[int], int]]) -> None:
    balancer, model = RoundRobin("abc"), Turns([1, 1, 1])
    for shares, picks in course:
        use_members(balancer, shares)
        model.weights = shares
        model.position = model.position if model.position < len(shares) else 0
        assert [balancer.index() for _ in range(picks)] == [model.pick() for _ in range(picks)]


@given(st.lists(st.tuples(weights, st.integers(0, 9)), min_size=1, max_size=6))
def test_rounds_are_fair_while_members_come_and_go(course: list[tuple[list[int], int]]) -> None:
    balancer = SmoothWeightedRoundRobin("abc", [3, 1, 1])
    for shares, picks in course:
        use_members(balancer, shares)
        counts = Counter(balancer.index() for _ in range(3 * sum(shares)))
        assert all(abs(counts[number] - 3 * weight) <= 2 for number, weight in enumerate(shares))
        for _ in range(picks):
            balancer.index()


def test_the_base_class_answers_with_the_first_target_in_rotation() -> None:
    balancer = Balancer("ab")
    assert [balancer.choose() for _ in range(3)] == ["a", "a", "a"]
    balancer.weigh([0, 1])
    assert balancer.choose() == "b"


# --- counts


def test_a_block_is_a_request_in_flight_however_it_ends() -> None:
    balancer = LeastConnections("ab")
    with balancer.taken() as first, balancer.taken() as second:
        assert {first, second} == {"a", "b"}
        assert balancer.in_flight("a") == balancer.in_flight("b") == 1
    with pytest.raises(KeyError), balancer.taken():
        raise KeyError
    assert balancer.in_flight("a") == balancer.in_flight("b") == 0


def test_counts_need_a_target_that_is_there_and_a_beginning() -> None:
    balancer = RoundRobin([[1], [2]])  # lists have no hash
    balancer.begin([2])
    assert balancer.in_flight([2]) == 1
    with pytest.raises(LookupError):
        balancer.begin([3])
    with pytest.raises(ValueError, match="in flight"):
        balancer.done([1])
    balancer.done([2])
    with pytest.raises(LookupError):
        RoundRobin("ab").in_flight("c")


def test_of_equal_targets_the_first_is_counted_by_name_and_each_by_its_turn() -> None:
    balancer = LeastConnections("aa")
    with balancer.taken(), balancer.taken():
        assert balancer.in_flight("a") == 1


def test_counts_are_those_of_all_workers() -> None:
    segment = Segment.create(slots=3, targets=8)
    balancer = LeastConnections("abc")
    counts = SharedCounts(balancer, segment.rows, [5, 0, 7])
    add_in_flight(segment.rows, 5, 0, 1)
    add_in_flight(segment.rows, 7, 2, 3)
    assert [balancer.in_flight(target) for target in "abc"] == [1, 0, 3]
    assert [balancer.choose() for _ in range(2)] == ["b", "b"]
    other_worker = (
        "import sys\n"
        "from fastgate._core.memory.segment import Segment\n"
        "from fastgate._core.probes.shared import add_in_flight\n"
        "segment = Segment.attach(int(sys.argv[1])); rows = segment.rows; add_in_flight(rows, 0, 1, 2);"
        " add_in_flight(rows, 5, 1, 4)"
    )
    command = [sys.executable, "-c", other_worker, str(segment.fd)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run(command, pass_fds=[segment.fd], check=True, timeout=60, env=environment)
    assert [balancer.in_flight(target) for target in "abc"] == [5, 2, 3]
    assert balancer.choose() == "b"
    add_in_flight(segment.rows, 0, 0, 2)
    assert balancer.choose() == "c"
    segment.release(1)
    assert [balancer.in_flight(target) for target in "abc"] == [1, 2, 3]
    balancer.weigh([1, 1, 4])
    assert balancer.choose() == "c", "(3 + 1) / 4 is less than (1 + 1) / 1"
    counts.end()
    assert balancer.in_flight("c") == 0


def test_a_pick_can_be_timed_and_leaves_the_counts_alone() -> None:
    balancer = LeastConnections("ab")
    balancer.begin("a")
    assert nanoseconds_per_pick(balancer, 1000, slots=2) > 0.0
    assert (balancer.in_flight("a"), balancer.in_flight("b")) == (1, 0)
