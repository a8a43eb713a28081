"""The store of one host: limits are counted in the memory that its workers share."""

from fastgate._core.delivery.budget import RetryBudget
from fastgate._core.limits.concurrency import Concurrency
from fastgate._core.limits.rate import FixedWindow, Limit, SlidingWindowLog, TokenBucket
from fastgate._core.memory.segment import Segment
from fastgate.state.store import Algorithm, Store


class SharedMemoryStore(Store):
    """What the worker of this slot counts in the shared memory of its host. It always answers at once."""

    def __init__(self, segment: Segment, slot: int) -> None:
        self._limits = segment.region("limits")
        self._logs = segment.region("logs")
        self._shares = segment.region("shares")
        self._rows = segment.rows
        self._slot = slot

    def rate_limit(
        self,
        name: str,
        algorithm: Algorithm,
        rate: int,
        per: float,
        *,
        burst: int | None = None,
        overdraft: int = 0,
        chosen: bool = False,
    ) -> Limit:
        """In the region ``limits``; sliding logs in ``logs``."""
        match algorithm:
            case "fixed_window":
                return FixedWindow(rate, per, region=self._limits, name=name, chosen=chosen)
            case "sliding_window_log":
                return SlidingWindowLog(rate, per, region=self._logs, name=name, chosen=chosen)
        return TokenBucket(rate, per, burst, overdraft=overdraft, region=self._limits, name=name, chosen=chosen)

    def shares(
        self, name: str, most: int, *, queue: int = 0, minimum: int | None = None, chosen: bool = False
    ) -> Concurrency:
        """In the region ``shares``."""
        return Concurrency(
            most, queue=queue, minimum=minimum, region=self._shares, slot=self._slot, name=name, chosen=chosen
        )

    def budget(self, name: str, share: float) -> RetryBudget:
        """In the row of the upstream."""
        return RetryBudget(self._rows, name, share)
