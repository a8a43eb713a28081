"""A router that several threads use: a regular expression releases the interpreter lock in the middle of a search."""

import signal
import sys
import threading
from collections.abc import Iterator

import pytest

from fastgate._core.routing.router import Router


@pytest.fixture
def short_turns() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("short_turns")
def test_routes_are_added_while_others_are_looked_for() -> None:
    """Each new route comes before those that are there, so that it moves them in the list that searches go through."""
    router = Router()
    router.add("~/a/(?P<x>x+)/tail", "first", headers={"x-a": "~[0-9]+"}, priority=-1)
    router.add("/b/{y}", "literal", query={"q": "~[a-z]+"})
    done = threading.Event()
    wrong: list[object] = []

    def add() -> None:
        for number in range(400):
            router.add(f"~/n{number}/(?P<n>.*)", number, headers={"x-a": "~[0-9]+"}, priority=number)
            router.add(f"/b{number}/{{z}}/*", number, query={"q": "~[a-z]+"}, priority=number)
        done.set()

    def look() -> None:
        while not done.is_set():
            first = router.match("GET", f"/a/{'x' * 300}/tail", headers={"x-a": "1"})
            second = router.match("GET", "/b/1", query="q=a")
            if first is None or first.params != {"x": "x" * 300} or second is None or second.value != "literal":
                wrong.append((first, second))
            if router.allowed("/b/1", query="q=a") == set():
                wrong.append("allowed")

    threads = [threading.Thread(target=add), *(threading.Thread(target=look) for _ in range(3))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    for number in range(400):
        match = router.match("GET", f"/n{number}/q", headers={"x-a": "1"})
        assert match is not None
        assert (match.value, match.params) == (number, {"n": "q"})


@pytest.mark.usefixtures("short_turns")
def test_a_signal_that_comes_during_a_search_may_search_too() -> None:
    router = Router()
    router.add("~/(?P<x>a*)(?P<y>.*)", 1)
    seen: list[object] = []

    def handle(number: int, frame: object) -> None:
        match = router.match("GET", "/ab")
        seen.append(match and match.params)
        try:
            router.add(f"/late{len(seen)}", 2)
        except RuntimeError as error:
            seen.append(str(error))

    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.0005)
    try:
        while len(seen) < 200:
            match = router.match("GET", "/" + "a" * 2000)
            assert match is not None
            assert match.value == 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert all(
        each in ({"x": "a", "y": "b"}, "a route cannot be added while a search of the same thread is under way")
        for each in seen
    )
