"""A clock that stands still until a test advances it."""

import asyncio
import heapq
from itertools import count

__all__ = ["FakeClock"]


class FakeClock:
    """Time for policies under test: what `time` gives, and `asyncio.sleep`, without any waiting.

        class Quota(Policy):
            clock = time  # tests put a FakeClock here
            ...
            def on_request(self, request):
                if self.clock.monotonic() > self.until: ...

    It is the clock of the policy, not of the gateway: timeouts, limits and health checks go by the real one.
    """

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        """``now`` is what `time` says first, in seconds since 1970."""
        self._epoch = now
        self._elapsed = 0.0
        self._order = count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def time(self) -> float:
        """Seconds since 1970, as ``time.time()``."""
        return self._epoch + self._elapsed

    def monotonic(self) -> float:
        """Seconds since this clock was made, as ``time.monotonic()``."""
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        """Returns when the clock was advanced by so much, as ``asyncio.sleep()``."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._elapsed + seconds, next(self._order), woken))
        await woken

    def advance(self, seconds: float) -> None:
        """So much time goes by at once; those whose sleep is over are woken in the order of their times.

        They run when the test next awaits something. ValueError for a negative number: this clock does not go back.
        """
        if seconds < 0:
            raise ValueError("time cannot go back")
        self._elapsed += seconds
        while self._sleepers and self._sleepers[0][0] <= self._elapsed:
            _, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                woken.set_result(None)

    @property
    def sleeping(self) -> int:
        """How many sleep."""
        return sum(not woken.done() for _, _, woken in self._sleepers)
