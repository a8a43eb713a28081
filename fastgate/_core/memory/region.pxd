cimport cython
from libc.stdint cimport uint32_t, uint64_t

# The version of what lies inside each region. It changes with the structures that its module declares.
cdef enum:
    WORKERS_LAYOUT = 1              # workers.pxd
    COUNTERS_LAYOUT = 1             # counters.pxd
    TARGETS_LAYOUT = 1              # targets.pyx and target_row.pxd
    EVENTS_LAYOUT = 1               # events.pxd
    LIMITS_LAYOUT = 1               # rate.pxd: token buckets and fixed windows
    LOGS_LAYOUT = 1                 # rate.pxd: sliding logs
    SHARES_LAYOUT = 1               # concurrency.pxd
    PLUGINS_LAYOUT = 1              # plugin_times.pyx
    CACHE_LAYOUT = 2                # cache/layout.pxd: every part of the response cache that has no line of its own
    FLIGHTS_LAYOUT = 1              # cache/flights.pxd: fetches of the response cache that others may wait for
    PURGES_LAYOUT = 2               # cache/purges.pxd: what of the response cache was purged, by tag and prefix
    ROUTES_LAYOUT = 1               # cache/cache_counts.pxd: what the response cache did for each route


@cython.final
cdef class Mapping:
    cdef unsigned char* base
    cdef readonly size_t size
    cdef int fd                     # its own; -1 = none


@cython.final
cdef class Region:
    cdef Mapping mapping
    cdef readonly str name
    cdef readonly uint32_t version
    cdef readonly size_t size
    cdef readonly int slots
    cdef unsigned char* base
    cdef unsigned char secret[16]   # of the memory: the same in every process, known to nobody outside

    # Where it begins, once it is known to be this one, of this layout and at least so large. The pointer lives as long
    # as the region.
    cdef unsigned char* open(self, str name, uint32_t version, size_t least) except NULL


cdef Mapping map_memory(int fd, size_t size)
cdef Region region_of(
    Mapping mapping, size_t offset, str name, uint32_t version, size_t size, int slots, const unsigned char* secret
)
cdef Region own_region(str name, uint32_t version, size_t size)
