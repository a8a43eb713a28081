"""The counters of the workers: the inside of the region "counters", one slab for each slot.

A slab is written by the worker of its slot alone, with plain additions, and lies on pages of its own. Readers add up
what they find. It goes on with the next worker of the slot.
"""

from libc.stdint cimport uint64_t

from fastgate._core.memory.histogram cimport HISTOGRAM_WORDS
from fastgate._core.memory.region cimport COUNTERS_LAYOUT, Region

cdef enum:
    TLS_FAILURES = 12

# Every field is 64-bit words.
cdef struct Slab:
    uint64_t accepted               # client connections
    uint64_t closed
    uint64_t requests
    uint64_t responses[6]           # by status // 100; 0 = ended without a status
    uint64_t bytes_in               # from clients
    uint64_t bytes_out              # to clients
    uint64_t upstream_connects
    uint64_t upstream_reuses
    uint64_t upstream_failures
    uint64_t replays
    uint64_t client_gone
    uint64_t policy_errors
    uint64_t log_lines_dropped
    uint64_t refused_connections
    uint64_t retries                # tries after the first
    uint64_t retries_denied         # that the budget did not allow
    uint64_t hedges
    uint64_t mirrored
    uint64_t rate_limited           # requests refused by a rate limit
    uint64_t rate_exceeded          # that a limit on trial (dry_run) would have refused
    uint64_t concurrency_limited    # refused by a concurrency limit
    uint64_t breaker_refused        # refused because a breaker is open
    uint64_t given_up               # client connections that were closed to make room for others
    uint64_t tls_failed[TLS_FAILURES]   # handshakes, by the reason that `tls_failures.REASONS` has at this place
    uint64_t latency[HISTOGRAM_WORDS]
    uint64_t upstream_latency[HISTOGRAM_WORDS]


cdef enum:
    SLAB_PAGE = 4096


cdef inline size_t slab_stride() noexcept:
    return (sizeof(Slab) + SLAB_PAGE - 1) // SLAB_PAGE * SLAB_PAGE


cdef inline Slab* slab_of(Region counters, int slot) except NULL:
    """The slab of a slot. Raises IndexError for a slot that there is not."""
    if not 0 <= slot < counters.slots:
        raise IndexError(f"slot {slot} of {counters.slots}")
    return <Slab*>(counters.open("counters", COUNTERS_LAYOUT, counters.slots * slab_stride()) + slot * slab_stride())
