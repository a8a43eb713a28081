"""Aborts workers that hang: a worker stamps its heartbeat in shared memory on every turn of its timer wheel."""

import asyncio
import logging
import signal
import time
from collections.abc import Callable

from fastgate._core.memory.segment import Segment
from fastgate.server.slots import Slot

_log = logging.getLogger("fastgate.supervisor")

START_TIMEOUT = 60.0  # at least; a worker that is not ready by then is aborted like one that hangs
_KILL_AFTER = 1.0  # SIGABRT writes a traceback; a worker that is stopped cannot even do that


async def watch_heartbeats(slots: list[Slot], segment: Segment, timeout: Callable[[], float]) -> None:
    """Sends SIGABRT to workers without a sign of life for ``timeout()`` seconds, for ever.

    Delays of the supervisor itself (a machine that slept, a process group that was stopped) are not held against them.
    """
    previous = time.monotonic()
    while True:
        tick = min(1.0, timeout() / 4)
        await asyncio.sleep(tick)
        now = time.monotonic()
        on_time = now - previous < 2 * tick + 0.5
        previous = now
        if not on_time:
            continue
        for slot in slots:
            process = slot.process
            if process is None or process.aborted:
                continue
            if process.ready:
                silent, limit = (Segment.now() - segment.heartbeat(slot.index)) / 1000, timeout()
            else:
                silent, limit = now - process.started, max(timeout(), START_TIMEOUT)
            if silent > limit:
                _log.error("worker %d has not responded for %.1f s: aborting it", slot.index, silent)
                process.aborted = True
                process.kill(signal.SIGABRT)
                asyncio.get_running_loop().call_later(_KILL_AFTER, process.kill, signal.SIGKILL)
