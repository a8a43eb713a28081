"""Says in the log when the memory of limits is full, so that a limit may let more pass than it says, or less."""

import asyncio
import logging
import time
from collections.abc import Callable

from fastgate._core.limits.concurrency import merged
from fastgate._core.limits.rate import lifted
from fastgate._core.memory.segment import Segment

_log = logging.getLogger("fastgate")

LOOK_EVERY = 5.0
"""Seconds."""
SAY_EVERY = 60.0
"""Seconds from one line to the next of its kind."""

_LIFTED = (
    "rate limits: memory was full, and the gateway forgot %d keys that were at their limit: each of them may use its"
    " whole limit again. Raise state.rate_limit_entries (token_bucket, fixed_window) or state.rate_limit_stamps"
    " (sliding_window_log), or add a limit by route"
)
_MERGED = (
    "concurrency limits: memory was full, and the gateway counted %d requests together with those of other keys: it"
    " may have refused some below their limit. Raise state.concurrency_entries"
)


class _Counter:
    """One number that should stay as it is."""

    def __init__(self, message: str, read: Callable[[], int]) -> None:
        self._message = message
        self._read = read
        self._told = read()
        self._next = 0.0

    def look(self, now: float) -> None:
        total = self._read()
        if total != self._told and now >= self._next:
            _log.warning(self._message, total - self._told)
            self._told = total
            self._next = now + SAY_EVERY


class LimitWatch:
    """Looks at the memory of limits, which all workers share; one for a host."""

    def __init__(self, segment: Segment) -> None:
        limits, logs, shares = (segment.region(name) for name in ("limits", "logs", "shares"))
        self._counters = [
            _Counter(_LIFTED, lambda: lifted(limits) + lifted(logs)),
            _Counter(_MERGED, lambda: merged(shares)),
        ]

    async def run(self) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            self.look(time.monotonic())

    def look(self, now: float) -> None:
        """Logs what has changed since it was logged last; ``now`` is seconds of any clock."""
        for counter in self._counters:
            counter.look(now)
