"""Consistent hashing against its model; how much moves; and that the bound holds."""

import math
import random
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

import pytest
from core.reference_balancers import Ring, hash_of
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgate._core.delivery.ring import ConsistentHash

members = st.dictionaries(st.text(max_size=5), st.integers(1, 3), min_size=1, max_size=6)
keys = st.integers(1, (1 << 64) - 1)


def owners(balancer: "ConsistentHash[str]", amount: int = 20_000) -> list[str]:
    return [balancer.targets[balancer.index(key)] for key in range(1, amount + 1)]


def moved(before: list[str], after: list[str]) -> float:
    return sum(old != new for old, new in zip(before, after, strict=True)) / len(before)


@settings(max_examples=50)
@given(members, st.lists(keys, min_size=1, max_size=30), st.data())
def test_a_key_belongs_to_the_next_point_on_the_circle(
    shares: dict[str, int], asked: list[int], data: st.DataObject
) -> None:
    targets = list(shares)
    balancer = ConsistentHash(targets, shares.values(), bound=0)
    out = data.draw(st.sets(st.sampled_from(targets)))
    skip = data.draw(st.sets(st.sampled_from(targets)))
    nothing = dict.fromkeys(targets, 0)
    model = Ring(list(shares.items()))
    assert [targets[balancer.index(key)] for key in asked] == [model.pick(key, nothing) for key in asked]

    left = {name: weight for name, weight in shares.items() if name not in out}
    balancer.weigh([left.get(name, 0) for name in targets])
    if not left:
        assert balancer.index(asked[0]) == -1
        return
    model = Ring(list(left.items()))
    skipped = [targets.index(name) for name in skip]
    for key in asked:
        assert targets[balancer.index(key)] == model.pick(key, nothing)
        assert targets[balancer.index(key, skip=skipped)] == model.pick(key, nothing, skip)
    rebuilt = ConsistentHash(left, left.values(), bound=0)
    assert [rebuilt.choose(key) for key in asked] == [balancer.choose(key) for key in asked]

    balancer.weigh(shares.values())
    model = Ring(list(shares.items()))
    assert [targets[balancer.index(key)] for key in asked] == [model.pick(key, nothing) for key in asked]


@settings(max_examples=50)
@given(members, st.sampled_from([1.0, 1.25, 2.0]), st.lists(st.tuples(st.integers(1, 4), st.booleans()), max_size=40))
def test_no_target_gets_more_than_its_bound(
    shares: dict[str, int], bound: float, course: list[tuple[int, bool]]
) -> None:
    balancer = ConsistentHash(shares, shares.values(), bound)
    model = Ring(list(shares.items()), Fraction(bound))
    load = dict.fromkeys(shares, 0)
    for key, ends in course:
        busiest = max(load, key=lambda name: load[name])
        if ends and load[busiest]:
            balancer.done(busiest)
            load[busiest] -= 1
        chosen = balancer.targets[balancer.index(key)]
        assert chosen == model.pick(key, load)
        balancer.begin(chosen)
        load[chosen] += 1
        assert load[chosen] <= model.limit(chosen, sum(load.values()))


@given(st.lists(st.integers(1, 3), min_size=2, max_size=5), keys, st.lists(st.integers(0, 6), min_size=5, max_size=5))
@settings(max_examples=50)
def test_what_was_tried_is_avoided_also_where_the_others_are_full(
    weights: list[int], key: int, load: list[int]
) -> None:
    names = [f"t{number}" for number in range(len(weights))]
    balancer = ConsistentHash(names, weights)
    model = Ring(list(zip(names, weights, strict=True)), Fraction(5, 4))
    for name, amount in zip(names, load, strict=False):
        for _ in range(amount):
            balancer.begin(name)
    for skip in ([0], [1], list(range(1, len(names)))):
        chosen = names[balancer.index(key, skip=skip)]
        assert chosen == model.pick(key, dict(zip(names, load, strict=False)), [names[number] for number in skip])


def test_where_all_that_is_left_is_full_the_least_loaded_for_its_weight_is_taken() -> None:
    balancer = ConsistentHash("abcd", [9, 1, 2, 1])
    for name, amount in {"b": 3, "c": 5, "d": 4}.items():
        for _ in range(amount):
            balancer.begin(name)
    assert {balancer.choose(key) for key in range(50)} == {"a"}
    assert {balancer.index(key, skip=[0]) for key in range(1, 50)} == {2}, "5 / 2 is less than 3 / 1"


@pytest.mark.parametrize("kind", ["one key", "few keys", "many keys"])
def test_the_bound_holds_on_every_step_of_a_long_course(kind: str) -> None:
    dice, size = random.Random(3), 20
    balancer = ConsistentHash([f"10.0.0.{number}:80" for number in range(size)])
    range_of_keys = {"one key": 1, "few keys": 5, "many keys": 100_000}[kind]
    load: Counter[str] = Counter()
    flying: list[str] = []
    for _ in range(5000):
        if flying and dice.random() < 0.45:
            done = flying.pop(dice.randrange(len(flying)))
            balancer.done(done)
            load[done] -= 1
            continue
        chosen = balancer.choose(dice.randrange(range_of_keys))
        balancer.begin(chosen)
        flying.append(chosen)
        load[chosen] += 1
        assert load[chosen] <= math.ceil(1.25 * len(flying) / size)


@pytest.mark.parametrize("size", [2, 3, 10, 50])
def test_a_target_that_leaves_moves_its_own_keys_only(size: int) -> None:
    targets = [f"10.0.0.{number}:8080" for number in range(size)]
    whole = owners(ConsistentHash(targets, bound=0))
    for gone in {targets[0], targets[size // 2], targets[-1]}:
        rest = [target for target in targets if target != gone]
        without = owners(ConsistentHash(rest, bound=0))
        assert moved(whole, without) <= 1 / size + 0.05
        assert all(new == old for old, new in zip(whole, without, strict=True) if old != gone)

        ejected = ConsistentHash(targets, bound=0)
        ejected.weigh([target != gone for target in targets])
        assert owners(ejected) == without


def test_the_order_of_targets_does_not_matter() -> None:
    targets = [f"t{number}" for number in range(9)]
    assert owners(ConsistentHash(targets, bound=0)) == owners(ConsistentHash(targets[::-1], bound=0))


def test_keys_are_shared_out_by_weight() -> None:
    targets = [f"10.0.0.{number}:80" for number in range(10)]
    weights = [1] * 8 + [4, 0.5]
    counts = Counter(owners(ConsistentHash(targets, weights, bound=0), 50_000))
    for target, weight in zip(targets, weights, strict=True):
        assert abs(counts[target] / 50_000 * sum(weights) / weight - 1) < 0.3


def test_another_weight_moves_no_more_than_the_difference() -> None:
    targets = [f"t{number}" for number in range(10)]
    balancer = ConsistentHash(targets, bound=0)
    before = owners(balancer)
    balancer.weigh([0.5, *[1] * 9])
    after = owners(balancer)
    assert 0.03 < moved(before, after) < 0.08
    assert all(old == "t0" for old, new in zip(before, after, strict=True) if old != new)


@pytest.mark.parametrize("weights", [[1e9] * 3, [1e-6] * 3, [1000.0] * 3, [5e5, 5e5, 5e5]])
def test_a_ring_has_a_sensible_size_whatever_the_weights(weights: Sequence[float]) -> None:
    counts = Counter(owners(ConsistentHash("abc", weights, bound=0)))
    assert all(abs(count / 20_000 - 1 / 3) < 0.08 for count in counts.values())


def test_one_point_and_many_targets() -> None:
    assert set(owners(ConsistentHash("ab", [1e-6, 1e9], bound=0), 5000)) == {"b"}
    many = ConsistentHash(range(2000), bound=0)
    assert len({many.choose(key) for key in range(20_000)}) > 1900
    with pytest.raises(ValueError, match="at most 65536"):
        ConsistentHash(range(65537))


def test_names_tell_targets_apart() -> None:
    targets = [object(), object(), object()]
    by_name = ConsistentHash(targets, names=["a", b"b", "c"], bound=0)
    plain = ConsistentHash("abc", bound=0)
    assert [by_name.index(key) for key in range(1, 500)] == [plain.index(key) for key in range(1, 500)]
    by_name.names = ("c", "b", "a")
    by_name.weigh([1, 1, 1])
    assert [by_name.index(key) for key in range(1, 500)] == [2 - plain.index(key) for key in range(1, 500)]
    by_name.names = ("a", "b")
    with pytest.raises(ValueError, match="3 members need as many names, not 2"):
        by_name.weigh([1, 1, 1])
    assert [by_name.index(key) for key in range(1, 500)] == [2 - plain.index(key) for key in range(1, 500)]


def test_members_of_one_name_share_the_keys() -> None:
    twins = ConsistentHash(["a", "a", "b"], bound=0)
    assert min(Counter(twins.index(key) for key in range(1, 5000)).values()) > 1000


def test_a_key_of_text_is_hashed_as_everywhere() -> None:
    balancer = ConsistentHash([f"t{number}" for number in range(50)], bound=0)
    for key in ("10.0.0.1", "", "é"):
        assert balancer.choose(key) == balancer.targets[balancer.index(hash_of(key.encode()))]


@pytest.mark.parametrize("bound", [-1.0, 0.5, 0.99, math.nan, math.inf])
def test_a_bound_below_one_would_leave_requests_without_a_target(bound: float) -> None:
    with pytest.raises(ValueError, match="bound"):
        ConsistentHash("ab", bound=bound)
