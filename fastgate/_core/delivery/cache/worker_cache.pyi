"""The response cache as one worker sees it: the store, the purges and the flights of the host's file."""

from collections.abc import Sequence

from fastgate._core.memory.cache.cache_counts import RouteCounts
from fastgate._core.memory.cache.cache_file import CacheFile
from fastgate._core.memory.cache.cache_store import CacheStore
from fastgate._core.memory.cache.flights import Flights
from fastgate._core.memory.cache.purges import Purges

class WorkerCache:
    """What the worker of a slot uses of the file. ``wakers`` are the eventfds of all slots.

    ValueError: another process has the slot. ``flying`` are fetches of this worker that others may wait for.
    """

    memory: CacheStore
    purges: Purges
    flights: Flights
    counts: RouteCounts
    slot: int
    flying: int

    def __init__(self, file: CacheFile, slot: int, wakers: Sequence[int]) -> None: ...
    def woken(self) -> None:
        """The eventfd of the slot was written: tells those that wait."""
