"""Stores of limits for tests: that of the host, and one that answers later."""

import asyncio
from typing import Any

from fastgate._core.delivery.budget import RetryBudget
from fastgate._core.memory.segment import Segment
from fastgate._core.probes.late_store import LateRateCounter, LateShareCounter, Line
from fastgate.state.shared_memory import SharedMemoryStore
from fastgate.state.store import Store


class LateStore(Store):
    """The store of the host at the end of a line: what it is asked arrives 10 ms later, and is answered then."""

    def __init__(self, segment: Segment, slot: int) -> None:
        self.home = SharedMemoryStore(segment, slot)
        self.line = Line(asyncio.get_running_loop())

    def rate_limit(self, *numbers: Any, **options: Any) -> LateRateCounter:
        return LateRateCounter(self.home.rate_limit(*numbers, **options), self.line)

    def shares(self, *numbers: Any, **options: Any) -> LateShareCounter:
        return LateShareCounter(self.home.shares(*numbers, **options), self.line)

    def budget(self, name: str, share: float) -> RetryBudget:
        return self.home.budget(name, share)


STORES = {"shared memory": SharedMemoryStore, "late": LateStore}
