"""Work of the control plane that takes a second of processor time, in a thread that lets requests go first.

On Linux a thread can ask for what nobody else wants (SCHED_IDLE): a worker that wakes on the same core takes it over at
once, where a thread with a mere niceness would end its slice of some milliseconds. With 10,000 routes read again and
again beside a worker on one core, p99 was 1.1 to 1.6 times what it is without, not 2 to 14 times.

But such a thread may wait for long, and whatever it holds then, the interpreter lock included, waits with it. So it is
called back after `PATIENCE`. Not every process may do that (it takes CAP_SYS_NICE): where not, a niceness it is.
"""

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import Callable
from functools import cache
from typing import TypeVar

PATIENCE = 3.0
_NICENESS = 5

Result = TypeVar("Result")


async def in_background(function: Callable[[], Result]) -> Result:
    """What the function returns or raises. The thread does not keep the process alive."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result] = loop.create_future()

    def settle(result: Result | None, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def work() -> None:
        _stand_back()
        result: Result | None = None
        error: BaseException | None = None
        try:
            result = function()
        except BaseException as raised:
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, result, error)

    thread = threading.Thread(target=work, name="background", daemon=True)
    thread.start()
    calling_back = loop.call_later(PATIENCE, _call_back, thread)
    try:
        return await future
    finally:
        calling_back.cancel()


def _stand_back() -> None:
    """The calling thread lets others go first."""
    if sys.platform == "linux":  # elsewhere a thread has no priority of its own
        with contextlib.suppress(OSError):
            if _can_be_called_back():
                os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
            else:
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)


def _call_back(thread: threading.Thread) -> None:
    """It has waited long enough."""
    number = thread.native_id
    if sys.platform == "linux" and thread.is_alive() and number is not None:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, number, _NICENESS)
            if os.sched_getscheduler(number) == os.SCHED_IDLE:
                os.sched_setscheduler(number, os.SCHED_OTHER, os.sched_param(0))


@cache
def _can_be_called_back() -> bool:
    """Tried by a thread that is no loss."""
    able = False

    def attempt() -> None:
        nonlocal able
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
            able = True

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join()
    return able
