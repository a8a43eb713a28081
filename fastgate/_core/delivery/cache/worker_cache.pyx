"""The response cache as one worker sees it: the store, the purges and the flights of the host's file.

Theory of operation. A worker opens the file when a route of it caches, with the slot that it has everywhere else. The
eventfds of all slots belong to who has made the file; that of the own slot says that a flight has news.

Keys, addresses and heads are assembled in buffers that stay, so that an answer from the store makes no objects for
them. What lies in one is good until the next request of this worker is looked at.
"""

from libc.string cimport memset

from fastgate._core.memory.buffer cimport free_buffer
from fastgate._core.memory.cache.cache_file cimport CacheFile


cdef class WorkerCache:
    """What the worker of a slot uses of the file. ValueError: another process has the slot."""

    def __cinit__(self):
        memset(&self.key, 0, sizeof(Buffer))
        memset(&self.query, 0, sizeof(Buffer))
        memset(&self.address, 0, sizeof(Buffer))
        memset(&self.lines, 0, sizeof(Buffer))
        memset(&self.own, 0, sizeof(OwnLines))
        memset(&self.text, 0, sizeof(Buffer))
        memset(&self.index, 0, sizeof(Buffer))
        memset(&self.origin, 0, sizeof(Buffer))
        memset(&self.raw_host, 0, sizeof(Buffer))
        memset(&self.start, 0, sizeof(KeyStart))

    def __init__(self, CacheFile file not None, int slot, wakers):
        self.memory = CacheStore(file, slot)
        self.store = &self.memory.store
        self.purges = Purges(file.region("purges"))
        self.flights = Flights(file.region("flights"), slot, wakers)
        self.counts = RouteCounts(file.region("counts"), slot)
        self.slot = slot

    def __dealloc__(self):
        free_buffer(&self.key)
        free_buffer(&self.query)
        free_buffer(&self.address)
        free_buffer(&self.lines)
        free_buffer(&self.own.text)
        free_buffer(&self.text)
        free_buffer(&self.index)
        free_buffer(&self.origin)
        free_buffer(&self.raw_host)
        free_buffer(&self.start.text)

    def woken(self) -> None:
        """The eventfd of the slot was written: tells those that wait."""
        self.flights.woken()
