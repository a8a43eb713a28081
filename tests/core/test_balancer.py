"""Balancers against their plain-Python models."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgate._core.balancer import Balancer, RoundRobin


@given(st.lists(st.text(), min_size=1, max_size=20), st.integers(0, 100))
def test_round_robin_takes_every_target_in_turn_from_its_offset(targets: list[str], offset: int) -> None:
    balancer = RoundRobin(targets, offset=offset)
    model = itertools.islice(itertools.cycle(targets), offset % len(targets), None)
    assert [balancer.choose() for _ in range(50)] == list(itertools.islice(model, 50))


def test_workers_with_different_offsets_begin_with_different_targets() -> None:
    assert [RoundRobin("abc", offset=slot).choose() for slot in range(4)] == ["a", "b", "c", "a"]


def test_the_targets_are_as_given() -> None:
    targets = [object(), object()]
    assert RoundRobin(iter(targets)).targets == tuple(targets)
    assert len(RoundRobin(targets)) == 2


@pytest.mark.parametrize("kind", [Balancer, RoundRobin])
def test_without_targets_there_is_no_choice(kind: type[Balancer[str]]) -> None:
    with pytest.raises(LookupError, match="no targets"):
        kind([]).choose()


def test_the_base_class_answers_with_the_first_target() -> None:
    balancer = Balancer("ab")
    assert [balancer.choose() for _ in range(3)] == ["a", "a", "a"]
