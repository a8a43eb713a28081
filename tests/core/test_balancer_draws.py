"""Random, power of two choices and IP hash: exact shares, their models, and distributions with fixed seeds."""

import random
from collections import Counter
from collections.abc import Sequence

import pytest
from core.reference_balancers import candidates, hash_of, mix, redrawn
from hypothesis import given
from hypothesis import strategies as st

from fastgate._core.delivery.balancer import IPHash, PowerOfTwoChoices, Random

weights = st.lists(st.integers(0, 9), min_size=1, max_size=8).filter(any)
words = st.integers(0, (1 << 64) - 1)
keys = st.integers(1, (1 << 64) - 1)
skips = st.sets(st.integers(0, 7), max_size=6)


def chi_square(counts: Counter[int], shares: Sequence[float]) -> float:
    """The deviation from the shares in units of what chance makes of it: the mean is 1 for any number of members."""
    total = counts.total()
    expected = {number: share * total / sum(shares) for number, share in enumerate(shares) if share}
    assert set(counts) <= set(expected)
    return sum((counts[number] - each) ** 2 / each for number, each in expected.items()) / (len(expected) - 1)


# --- random


@given(weights)
def test_each_member_has_its_share_of_all_random_words(shares: list[int]) -> None:
    balancer = Random(range(len(shares)), shares)
    width, parts = sum(map(bool, shares)), 2048
    counts = Counter(
        balancer.index(random=((column << 32) // width + 1 << 32) + (part << 32) // parts)
        for column in range(width)
        for part in range(parts)
    )
    for number, weight in enumerate(shares):
        assert abs(counts[number] / (width * parts) - weight / sum(shares)) <= 1 / parts


@given(weights, words, skips)
def test_random_draws_again_for_what_is_skipped(shares: list[int], word: int, skip: set[int]) -> None:
    balancer = Random(range(len(shares)), shares)
    allowed = candidates(shares, skip)
    assert balancer.index(random=word, skip=[number for number in skip if number < len(shares)]) == redrawn(
        lambda word: balancer.index(random=word), word, allowed, shares
    )


@pytest.mark.parametrize("shares", [[1, 1, 1], [1] * 10, [5, 1, 1], [0, 3, 0.5, 2], list(range(1, 40))])
def test_random_is_random_by_weight(shares: list[float]) -> None:
    dice = random.Random(7)
    balancer = Random(range(len(shares)), shares)
    assert chi_square(Counter(balancer.index(random=dice.getrandbits(64)) for _ in range(40_000)), shares) < 2.5
    assert chi_square(Counter(balancer.choose() for _ in range(4_000)), shares) < 10


# --- power of two choices


@given(weights, words, st.lists(st.integers(0, 9), min_size=8, max_size=8), skips)
def test_of_two_different_members_the_less_loaded_is_taken(
    shares: list[int], word: int, load: list[int], skip: set[int]
) -> None:
    size = len(shares)
    balancer, drawing = PowerOfTwoChoices(range(size), shares), Random(range(size), shares)
    for number in range(size):
        for _ in range(load[number]):
            balancer.begin(number)
    allowed = candidates(shares, skip)
    first = redrawn(lambda word: drawing.index(random=word), word, allowed, shares)
    expected = first
    others = [number for number in allowed if number != first]
    if others:
        second = redrawn(lambda word: drawing.index(random=word), mix(word), others, shares)
        if load[second] * shares[first] < load[first] * shares[second]:
            expected = second
    assert balancer.index(random=word, skip=[number for number in skip if number < size]) == expected


def test_power_of_two_is_random_by_weight_without_load() -> None:
    dice = random.Random(8)
    for shares in ([1] * 10, [5, 1, 1], [1, 2, 3, 4]):
        balancer = PowerOfTwoChoices(range(len(shares)), shares)
        assert chi_square(Counter(balancer.index(random=dice.getrandbits(64)) for _ in range(40_000)), shares) < 2.5


def test_with_loads_in_order_a_member_is_taken_as_often_as_it_is_the_lesser_of_two() -> None:
    dice, size = random.Random(9), 8
    balancer = PowerOfTwoChoices(range(size))
    for number in range(size):
        for _ in range(number):
            balancer.begin(number)
    counts = Counter(balancer.index(random=dice.getrandbits(64)) for _ in range(40_000))
    assert counts[size - 1] == 0
    assert chi_square(counts, [size - 1 - number for number in range(size)]) < 2.5


def test_two_choices_hold_the_longest_queue_down() -> None:
    dice, size = random.Random(10), 50
    longest = {}
    for kind in (Random, PowerOfTwoChoices):
        balancer = kind(range(size))
        for _ in range(10 * size):
            balancer.begin(balancer.index(random=dice.getrandbits(64)))
        longest[kind] = max(balancer.in_flight(number) for number in range(size))
    assert longest[PowerOfTwoChoices] <= 13 < longest[Random]


# --- IP hash


@given(weights, keys, skips)
def test_a_key_draws_its_member(shares: list[int], key: int, skip: set[int]) -> None:
    size = len(shares)
    balancer, drawing = IPHash(range(size), shares), Random(range(size), shares)
    assert balancer.index(key) == drawing.index(random=mix(key))
    assert balancer.index(0, key) == drawing.index(random=key), "without a key it is random"
    assert balancer.index(key, skip=[number for number in skip if number < size]) == redrawn(
        lambda word: drawing.index(random=word), mix(key), candidates(shares, skip), shares
    )


@given(st.lists(st.integers(1, 5), min_size=2, max_size=8), st.sets(st.integers(0, 7), min_size=1), st.integers(1, 99))
def test_an_ejection_moves_only_the_clients_of_the_ejected(shares: list[int], out: set[int], start: int) -> None:
    size = len(shares)
    balancer, drawing = IPHash(range(size), shares), Random(range(size), shares)
    left = [weight if number not in out else 0 for number, weight in enumerate(shares)]
    before = [balancer.index(key) for key in range(start, start + 100)]
    balancer.weigh(left)
    for key, owner in enumerate(before, start):
        if not any(left):
            assert balancer.index(key) == -1
        else:
            moved = redrawn(lambda word: drawing.index(random=word), mix(key), candidates(left, ()), shares)
            assert balancer.index(key) == (moved if owner in out else owner)
    balancer.weigh(shares)
    assert [balancer.index(key) for key in range(start, start + 100)] == before


@pytest.mark.parametrize("shares", [[1, 1, 1], [1] * 10, [5, 1, 1], [0, 3, 0.5, 2]])
def test_keys_are_shared_out_by_weight(shares: list[float]) -> None:
    balancer = IPHash(range(len(shares)), shares)
    small = Counter(balancer.index(key) for key in range(1, 40_001))
    addresses = Counter(balancer.choose(f"10.{high}.{low}.1") for high in range(160) for low in range(250))
    assert chi_square(small, shares) < 2.5
    assert chi_square(addresses, shares) < 2.5


def test_a_key_means_the_same_in_every_process_and_spelling() -> None:
    balancer = IPHash(range(1000))
    spelled = {"10.0.0.1": b"10.0.0.1", 7: b"7", "é": "é".encode(), b"\x00\xff": b"\x00\xff", "": b""}
    for key, text in spelled.items():
        assert balancer.choose(key) == balancer.index(hash_of(text))
    assert [balancer.choose(key) for key in ("10.0.0.1", 7, "")] == [734, 487, 132]
