"""The response cache as one worker sees it: the store, the purges and the flights of the host's file.

Theory of operation. A worker opens the file when a route of it caches, with the slot that it has everywhere else. The
eventfds of all slots belong to who has made the file; that of the own slot says that a flight has news.
"""

from fastgate._core.memory.cache.cache_file cimport CacheFile


cdef class WorkerCache:
    """What the worker of a slot uses of the file. ValueError: another process has the slot."""

    def __init__(self, CacheFile file not None, int slot, wakers):
        self.memory = CacheStore(file, slot)
        self.store = &self.memory.store
        self.purges = Purges(file.region("purges"))
        self.flights = Flights(file.region("flights"), slot, wakers)
        self.slot = slot

    def woken(self) -> None:
        """The eventfd of the slot was written: tells those that wait."""
        self.flights.woken()
