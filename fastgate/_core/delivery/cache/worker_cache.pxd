from fastgate._core.memory.cache.cache_store cimport CacheStore, Store
from fastgate._core.memory.cache.flights cimport Flights
from fastgate._core.memory.cache.purges cimport Purges


cdef class WorkerCache:
    cdef readonly CacheStore memory
    cdef readonly Purges purges
    cdef readonly Flights flights
    cdef readonly int slot
    cdef Store* store                  # of ``memory``
