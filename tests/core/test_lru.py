"""LRUCache: against a model, with threads, and with keys, values and functions that use the cache they are in."""

import gc
import random
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from core.reference_lru import ReferenceLRU
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgate.cache import LRUCache, LRUStats


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Colliding(int):
    """A number whose hash is one of three."""

    def __hash__(self) -> int:
        return int(self) % 3


# -- against the model -------------------------------------------------------------------------------------------------

LIFETIMES = st.sampled_from([..., ..., None, 0, -1, 0.5, 1, 3, 10])
KEYS = st.integers(0, 12)
STEPS = st.one_of(
    st.tuples(st.just("put"), KEYS, st.tuples(st.integers(0, 30), LIFETIMES)),
    st.tuples(st.just("put"), KEYS, st.tuples(st.integers(0, 30), st.just(...))),
    st.tuples(st.sampled_from(["get", "get", "in", "pop", "delete"]), KEYS, st.none()),
    st.tuples(st.just("wait"), st.sampled_from([0.25, 1, 2]), st.none()),
    st.tuples(st.sampled_from(["clear", "len"]), st.none(), st.none()),
)
BOUNDS = st.one_of(
    st.tuples(st.integers(1, 12), st.none()),
    st.tuples(st.none(), st.integers(1, 100)),
    st.tuples(st.integers(1, 12), st.integers(1, 100)),
)


@settings(max_examples=250)
@given(
    BOUNDS,
    st.one_of(st.none(), st.sampled_from([0.5, 2, 5])),
    st.lists(STEPS, max_size=120),
    st.sampled_from([int, Colliding]),
)
def test_against_the_model(
    bounds: tuple[int | None, int | None], ttl: float | None, steps: list[tuple[str, Any, Any]], kind: type[int]
) -> None:
    clock = Clock()
    settings: dict[str, Any] = {"max_entries": bounds[0], "max_bytes": bounds[1], "ttl": ttl, "clock": clock}
    if bounds[1] is not None:
        settings["size"] = lambda value: value[0]
    cache, model = LRUCache[int, Any](**settings), ReferenceLRU(**settings)
    for number, (step, argument, more) in enumerate(steps):
        if step == "wait":
            clock.now += argument
        elif step == "put":
            size, lifetime = more
            value = (size, number)
            given = {} if lifetime is ... else {"ttl": lifetime}
            assert cache.put(kind(argument), value, **given) == model.put(argument, value, **given)
        elif step == "in":
            assert (kind(argument) in cache) == model.live(argument)
        elif step in ("clear", "len"):
            if step == "clear":
                cache.clear()
                model.clear()
            assert len(cache) == len(model.entries)
        else:
            assert getattr(cache, step)(kind(argument)) == getattr(model, step)(argument)
        assert tuple(cache.stats()) == model.stats()
    for key in list(model.entries):
        assert cache.get(kind(key)) == model.get(key)


@pytest.mark.parametrize("most", [1000, 1_000_000])
def test_many_entries(most: int) -> None:
    """Through every growth, and with slots that were used before."""
    seed = random.randrange(1 << 32)
    print("seed", seed)
    draw = random.Random(seed)
    cache, model = LRUCache[int, int](most), ReferenceLRU(most, clock=Clock())
    for number in range(30_000):
        key = draw.randrange(4000)
        step = draw.choice(["put", "put", "get", "delete"])
        arguments = (key, number) if step == "put" else (key,)
        assert getattr(cache, step)(*arguments) == getattr(model, step)(*arguments)
    assert tuple(cache.stats()) == model.stats()


# -- arguments ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"max_entries": 0},
        {"max_entries": 1 << 31},
        {"max_bytes": 100},
        {"max_bytes": 0, "size": len},
        {"max_bytes": 1 << 63, "size": len},
        {"max_entries": 1, "ttl": 0},
        {"max_entries": 1, "ttl": -1},
        {"max_entries": 1, "ttl": float("nan")},
    ],
)
def test_bounds_that_are_none(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        LRUCache(**settings)


def test_what_is_put_must_have_a_key_a_size_and_a_time() -> None:
    cache: LRUCache[Any, Any] = LRUCache(max_bytes=10, size=lambda value: value)
    cache.put("a", 3)
    with pytest.raises(TypeError, match="unhashable"):
        cache.put([], 1)
    with pytest.raises(TypeError, match="unhashable"):
        cache.get([])
    with pytest.raises(ValueError, match="size function returned -1"):
        cache.put("a", -1)
    with pytest.raises(TypeError):
        cache.put("a", 1.5)
    with pytest.raises(ValueError, match="nan is not a valid number of seconds"):
        cache.put("a", 1, ttl=float("nan"))
    with pytest.raises(TypeError):
        cache.put("a", 1, ttl="1")  # type: ignore[arg-type]
    assert cache.stats() == LRUStats(1, 3, 0, 0, 0, 0, 0)
    assert cache.put("a", 1 << 80) is False     # larger than anything: what was there is gone
    assert cache.stats() == LRUStats(0, 0, 0, 0, 0, 0, 1)
    assert cache.put("b", 1, ttl=float("inf"))
    assert cache.get("b") == 1


def test_sizes_without_a_bound_of_bytes_are_counted() -> None:
    cache: LRUCache[str, int] = LRUCache(5, size=lambda value: value)
    cache.put("a", 1 << 62)
    cache.put("b", (1 << 62) - 1)
    assert cache.stats().bytes == (1 << 63) - 1
    cache.put("c", 1)       # more than can be counted: the oldest goes
    assert cache.stats()[:2] == (2, 1 << 62)


def test_the_clock_counts_seconds() -> None:
    cache: LRUCache[str, int] = LRUCache(5, ttl=0.02)
    cache.put("a", 1)
    cache.put("b", 2, ttl=None)
    cache.put("c", 3, ttl=1000)
    assert cache.get("a") == 1
    deadline = time.monotonic() + 10
    while "a" in cache:
        assert time.monotonic() < deadline
    assert (cache.get("b"), cache.get("c")) == (2, 3)
    assert cache.stats().expired == 1


def test_keys_that_are_equal_are_one() -> None:
    cache: LRUCache[Any, str] = LRUCache(5)
    cache.put(1, "a")
    cache.put(1.0, "b")
    cache.put(True, "c")
    assert len(cache) == 1
    assert cache.get(1) == "c"
    nan = float("nan")
    cache.put(nan, "itself")
    assert cache.get(nan) == "itself"
    assert cache.get(float("nan")) is None


# -- what runs inside --------------------------------------------------------------------------------------------------


def check(cache: LRUCache[Any, Any]) -> None:
    """All links are right: what it holds can be looked up and removed, and nothing is left."""
    held = cache.stats().entries
    fresh = [object() for _ in range(5)]
    for number, key in enumerate(fresh):
        cache.put(key, number)
    assert [cache.get(key) for key in fresh[-1:]] == [4]
    for key in fresh:
        cache.delete(key)
    assert len(cache) <= held
    cache.clear()
    assert cache.stats()[:2] == (0, 0)


def test_a_size_function_that_puts() -> None:
    cache: LRUCache[Any, Any]
    depth = 0

    def size(value: int) -> int:
        nonlocal depth
        if depth < 40:
            depth += 1
            cache.put(depth % 9, value)
            cache.get((depth + 4) % 9)
            if depth % 10 == 0:
                cache.clear()
        return value

    cache = LRUCache(6, max_bytes=30, size=size)
    for number in range(30):
        depth = 0
        cache.put(number % 7, number % 11)
        assert len(cache) <= 6
        assert cache.stats().bytes <= 30
    check(cache)


@pytest.mark.parametrize("inside", ["put", "get", "pop", "clear", "delete"])
def test_a_value_that_uses_the_cache_when_it_goes(inside: str) -> None:
    cache: LRUCache[Any, Any] = LRUCache(4)
    gone = []

    class Value:
        def __init__(self, number: int) -> None:
            self.number = number

        def __del__(self) -> None:
            gone.append(self.number)
            if inside == "clear":
                cache.clear()
            elif inside == "put":
                cache.put(("late", self.number % 3), "text")
            else:
                getattr(cache, inside)(self.number + 1)

    for number in range(200):
        cache.put(number, Value(number))
        assert len(cache) <= 4
        if number % 7 == 0:
            cache.put(number, Value(1000 + number))
        if number % 11 == 0:
            cache.delete(number)
        if number % 13 == 0:
            cache.pop(number)
        if number % 50 == 0:
            cache.clear()
    cache.clear()
    cache.clear()
    assert len(gone) == len(set(gone)) == 200 + 29
    check(cache)


def test_a_value_that_puts_another_when_it_goes_keeps_the_bound_of_bytes() -> None:
    cache: LRUCache[Any, int] = LRUCache(max_bytes=10, size=lambda value: int(value))

    class Value(int):
        def __del__(self) -> None:
            cache.put(("late", int(self)), 6)

    for number in range(20):
        cache.put(number, Value(6))
        assert cache.stats().bytes <= 10
    cache.clear()
    cache.clear()
    assert cache.stats()[:2] == (0, 0)


def test_a_key_that_came_while_it_was_looked_for_is_not_there_twice() -> None:
    class Key:
        then: Callable[[], object] | None = None

        def __hash__(self) -> int:
            return 1

        def __eq__(self, other: object) -> bool:
            then, self.then = self.then, None
            if then:
                then()
            return False

    for grows in range(20):     # at some of these sizes the table is replaced meanwhile
        cache: LRUCache[Any, Any] = LRUCache(100)
        for number in range(grows):
            cache.put(100 + number, 0)
        first = Key()
        cache.put(first, "first")
        first.then = lambda cache=cache: cache.put(1, "inner")  # type: ignore[misc]
        cache.put(1, "outer")
        assert len(cache) == grows + 2
        assert cache.get(1) == "outer"
        assert [cache.delete(1), cache.delete(1)] == [True, False]
        assert cache.get(first) == "first"


def test_a_key_that_raises_when_it_is_compared_changes_nothing() -> None:
    class Key:
        angry = False

        def __init__(self, name: str) -> None:
            self.name = name

        def __hash__(self) -> int:
            return 7

        def __eq__(self, other: object) -> bool:
            if Key.angry:
                raise RuntimeError("not now")
            return isinstance(other, Key) and self.name == other.name

    cache: LRUCache[Any, int] = LRUCache(3)
    for number, name in enumerate("abc"):
        cache.put(Key(name), number)
    before = cache.stats()
    Key.angry = True
    steps: list[Callable[[], object]] = [
        lambda: cache.get(Key("b")),
        lambda: cache.put(Key("b"), 9),
        lambda: cache.put(Key("d"), 9),
        lambda: cache.pop(Key("b")),
        lambda: cache.delete(Key("c")),
        lambda: Key("c") in cache,
    ]
    for step in steps:
        with pytest.raises(RuntimeError, match="not now"):
            step()
    assert cache.stats() == before
    Key.angry = False
    assert [cache.get(Key(name)) for name in "abc"] == [0, 1, 2]
    # Eviction compares nothing: a key that raises cannot keep its place.
    Key.angry = True
    cache.put("x", 1)
    cache.put("y", 1)
    cache.put("z", 1)
    assert cache.stats().evictions == 3


def test_a_key_that_changes_the_cache_when_it_is_compared() -> None:
    """Generated: a comparison does something to the cache, and the answer is right for the moment of the last one."""
    seed = random.randrange(1 << 32)
    print("seed", seed)
    draw = random.Random(seed)
    cache: LRUCache[Any, Any] = LRUCache(8)
    busy = False

    class Key:
        def __init__(self, number: int) -> None:
            self.number = number

        def __hash__(self) -> int:
            return self.number % 2

        def __eq__(self, other: object) -> bool:
            nonlocal busy
            if not busy and draw.random() < 0.3:
                busy = True
                do(draw.randrange(12))
                busy = False
            return isinstance(other, Key) and self.number == other.number

    def do(number: int) -> None:
        match draw.randrange(12):
            case 0:
                cache.clear()
            case 1 | 2:
                cache.delete(Key(number))
            case 3 | 4 | 5:
                value = cache.get(Key(number))
                assert value is None or value.number == number
            case 6:
                value = cache.pop(Key(number))
                assert value is None or value.number == number
            case _:
                cache.put(Key(number), Key(number))

    for _ in range(30_000):
        do(draw.randrange(12))
        assert len(cache) <= 8
    # No key is there twice: each can be removed once.
    busy = True
    held = len(cache)
    assert sum(cache.delete(Key(number)) for number in range(12)) == held
    assert len(cache) == 0
    check(cache)


def test_a_clock_that_uses_the_cache_or_fails() -> None:
    cache: LRUCache[Any, Any]
    now = 0.0
    inside = False

    def clock() -> float:
        nonlocal now, inside
        now += 1
        if now % 10 == 0:
            raise RuntimeError("no time")
        if not inside:
            inside = True
            cache.put(now % 5, now)
            cache.delete((now + 1) % 5)
            inside = False
        return now

    cache = LRUCache(3, ttl=7, clock=clock)
    for number in range(500):
        inside = False
        try:
            cache.put(number % 5, number)
            cache.get((number + 2) % 5)
        except RuntimeError as error:
            assert str(error) == "no time"
        assert len(cache) <= 3
    inside = True
    now = 0.5
    check(cache)


# -- threads -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def eager_threads() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("eager_threads")
def test_threads_that_use_one_cache() -> None:
    """Keys in Python, so that threads change in the middle of comparisons; every value is that of its key."""

    class Key:
        def __init__(self, number: int) -> None:
            self.number = number

        def __hash__(self) -> int:
            return self.number % 5

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Key) and [self.number] == [other.number]

    cache: LRUCache[Key, list[int]] = LRUCache(25, max_bytes=300, size=lambda value: max([len(value)]))
    faults = deque[BaseException]()
    counted = deque[int]()

    def run(seed: int) -> None:
        draw = random.Random(seed)
        looked = 0
        try:
            for _ in range(4000):
                number = draw.randrange(40)
                match draw.randrange(8):
                    case 0:
                        cache.delete(Key(number))
                    case 1 | 2 | 3:
                        cache.put(Key(number), [number] * draw.randrange(1, 20))
                    case 4 if draw.random() < 0.02:
                        cache.clear()
                    case _:
                        looked += 1
                        value = cache.get(Key(number))
                        assert value is None or set(value) == {number}
                stats = cache.stats()
                assert 0 <= stats.entries <= 25
                assert 0 <= stats.bytes <= 300
        except BaseException as error:
            faults.append(error)
        counted.append(looked)

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    stats = cache.stats()
    assert stats.hits + stats.misses == sum(counted)
    removed = [cache.pop(Key(number)) for number in range(40)]
    assert sum(value is not None for value in removed) == stats.entries
    assert sum(len(value) for value in removed if value) == stats.bytes
    assert cache.stats()[:2] == (0, 0)


# -- nothing is left ---------------------------------------------------------------------------------------------------


class Held:
    """An object that a reference tells the end of."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __hash__(self) -> int:
        return self.number % 3

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Held) and self.number == other.number


def test_what_leaves_is_let_go_at_once() -> None:
    cache: LRUCache[Any, Any] = LRUCache(4)
    ends = []

    def put(number: int) -> None:
        key, value = Held(number), Held(number)
        ends.extend([weakref.ref(key), weakref.ref(value)])
        cache.put(key, value)

    for number in range(20):
        put(number)
    assert sum(end() is not None for end in ends) == 8
    cache.put(Held(19), None)       # the key stays, the value goes
    assert sum(end() is not None for end in ends) == 7
    cache.delete(Held(19))
    assert sum(end() is not None for end in ends) == 6
    cache.pop(Held(18))
    assert sum(end() is not None for end in ends) == 4
    cache.clear()
    assert sum(end() is not None for end in ends) == 0
    for number in range(20):
        put(number)
    cache = LRUCache(4)
    assert sum(end() is not None for end in ends) == 0


def test_counts_of_references_stay_what_they_were() -> None:
    """Objects that everything refers to: what is counted once too often or too seldom would show."""
    key, value = Held(1), Held(2)
    before = sys.getrefcount(key), sys.getrefcount(value)
    cache: LRUCache[Any, Any] = LRUCache(3)
    for number in range(300):
        cache.put(key, value)
        cache.put(number, value)
        cache.put(number, key)
        cache.get(key)
        cache.get(Held(1))
        cache.pop(number) if number % 3 else cache.delete(number)
        if number % 50 == 0:
            cache.clear()
    cache.clear()
    assert (sys.getrefcount(key), sys.getrefcount(value)) == before


def test_a_circle_through_a_cache_is_collected() -> None:
    cache: LRUCache[Any, Any] = LRUCache(3)
    value = Held(1)
    end = weakref.ref(value)
    value.cache = cache  # type: ignore[attr-defined]
    cache.put("a", value)
    cache.put("b", cache)
    del cache, value
    gc.collect()
    assert end() is None


def test_memory_does_not_grow_with_time() -> None:
    import tracemalloc

    cache: LRUCache[int, bytes] = LRUCache(100)

    def turn(rounds: int) -> None:
        for number in range(rounds):
            cache.put(number % 150, b"x" * 100)
            if number % 1000 == 999:
                cache.clear()

    turn(2000)
    tracemalloc.start()
    try:
        turn(2000)
        before = tracemalloc.get_traced_memory()[0]
        turn(20_000)
        assert tracemalloc.get_traced_memory()[0] - before < 20_000
    finally:
        tracemalloc.stop()
