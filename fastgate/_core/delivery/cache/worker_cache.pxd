from libc.stdint cimport int64_t

from fastgate._core.delivery.cache.key cimport KeyStart
from fastgate._core.exchange.head_index cimport OwnLines
from fastgate._core.memory.buffer cimport Buffer
from fastgate._core.memory.cache.cache_counts cimport RouteCounts
from fastgate._core.memory.cache.cache_store cimport CacheStore, Store
from fastgate._core.memory.cache.flights cimport Flights
from fastgate._core.memory.cache.purges cimport Purges


cdef class WorkerCache:
    cdef readonly CacheStore memory
    cdef readonly Purges purges
    cdef readonly Flights flights
    cdef readonly RouteCounts counts
    cdef readonly int slot
    cdef Store* store                  # of ``memory``
    cdef readonly int flying           # fetches of this worker that others may wait for
    cdef int64_t copied                # bytes of bodies that were copied so that their pins could be given back
    cdef int port                      # the port that `port_text` is
    cdef bytes port_text
    cdef Buffer origin                 # the last one that an address had, and of what it was made
    cdef Buffer raw_host
    cdef bint origin_https
    cdef KeyStart start                # of the last key
    # scratch, each for one thing, as what is made of one goes into another
    cdef Buffer key
    cdef Buffer query
    cdef Buffer address
    cdef Buffer lines
    cdef OwnLines own
    cdef Buffer text
    cdef Buffer index
