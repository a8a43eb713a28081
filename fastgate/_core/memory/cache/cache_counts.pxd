cimport cython
from libc.stdint cimport uint32_t, uint64_t

from fastgate._core.memory.region cimport Region

# The words of a row. What is told of an answer (hits to bypassed) and why a request was sent on are counted once each.
cdef enum:
    ROUTE_HITS = 0                  # answered from the store, and fresh
    ROUTE_STALE = 1                 # answered from the store, though stale
    ROUTE_REVALIDATED = 2           # answered from the store, after the upstream said that it is still good
    ROUTE_COLLAPSED = 3             # answered from the fetch of another request
    ROUTE_BYPASSED = 4              # passed by the cache
    ROUTE_MISS_URI = 5              # sent to the upstream: nothing was stored for the address (RFC 9211: uri-miss)
    ROUTE_MISS_VARY = 6             # the request selects another variant
    ROUTE_MISS = 7                  # one of the two, and which is not known
    ROUTE_MISS_REQUEST = 8          # the request's own directives
    ROUTE_MISS_STALE = 9            # what was stored is stale
    ROUTE_MISS_PARTIAL = 10         # only a part of it was there
    ROUTE_MISS_METHOD = 11
    ROUTE_STORED = 12
    ROUTE_BYTES_SAVED = 13          # of bodies that came from the store
    ROUTE_READERS_CUT = 14          # responses that ended early, since what they were reading had to go
    ROUTE_FETCHES_ABANDONED = 15    # fetches that others waited for, and that ended without a whole answer
    ROUTE_NOT_STORED = 16           # the first of 16: by what hindered
    NOT_STORED_KINDS = 16
    ROUTE_WORDS = 32

cdef enum:
    NAME_MOST = 240                 # bytes of a name that are kept


# Zeros: not in use. Who finds a hash without a length writes the rest himself: it is the same for all.
cdef struct RouteName:
    uint64_t hash
    uint32_t length
    uint32_t reserved
    char text[NAME_MOST]


@cython.final
cdef class RouteCounts:
    cdef readonly Region region
    cdef readonly int slot
    cdef uint64_t* started              # a word a slot
    cdef RouteName* names
    cdef uint64_t* rows                 # of all slots
    cdef uint32_t count                 # of names; the last one is for those that found no place

    # Where the process of this slot counts what happens to a route, with plain additions; entered when it is new. Good
    # as long as this object.
    cdef uint64_t* row_of(self, bytes route_name)
    cdef uint32_t number_of(self, bytes route_name)
    cdef int open_region(self) except -1


cdef size_t counts_bytes(size_t store, int slots) noexcept
