"""Work in the background: what it returns, what it raises, and that it stands back and is called back."""

import asyncio
import os
import sys
import threading

import pytest

from fastgate.server import background

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="a thread has a priority of its own on Linux only")


async def test_what_it_returns_and_what_it_raises() -> None:
    assert await background.in_background(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        await background.in_background(lambda: 1 // 0)


def test_the_end_of_the_loop_does_not_wait_for_it() -> None:
    go = threading.Event()

    async def begin() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(background.in_background(lambda: go.wait(10)), 0.05)

    asyncio.run(begin())
    go.set()


def standing() -> tuple[int, int]:
    """Policy and niceness of the calling thread."""
    return os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@LINUX
async def test_it_stands_back_and_is_called_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "PATIENCE", 0.05)
    seen: list[tuple[int, int]] = []
    calm = threading.Event()

    def work() -> None:
        seen.append(standing())
        for _ in range(500):
            if standing() == (os.SCHED_OTHER, 5):
                break
            calm.wait(0.01)
        seen.append(standing())

    await background.in_background(work)
    idle = background._can_be_called_back()
    assert seen == [(os.SCHED_IDLE, 0) if idle else (os.SCHED_OTHER, 5), (os.SCHED_OTHER, 5)]
    assert standing() == (os.SCHED_OTHER, 0)


@LINUX
async def test_a_thread_that_could_not_be_called_back_is_merely_nice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "_can_be_called_back", lambda: False)
    assert await background.in_background(standing) == (os.SCHED_OTHER, 5)
