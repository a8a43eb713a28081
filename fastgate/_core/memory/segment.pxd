cimport cython
from libc.stdint cimport uint64_t

from fastgate._core.memory.histogram cimport HISTOGRAM_WORDS

cdef enum:
    TLS_FAILURES = 12

# The metrics of one worker slot: written by that worker alone, with plain additions. Every field is 64-bit words.
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
    STATE_SIZE = 256                # bytes of shared state that each target (and each upstream) has
    EVENTS = 1024                   # places in the ring of events


# The parts of a segment whose inside other modules of the core declare.
cdef enum:
    REGION_STATES = 0               # health.pyx: STATE_SIZE bytes a target
    REGION_EVENTS = 1               # events.pyx
    REGION_LIMITS = 2               # rate.pyx: token buckets and fixed windows
    REGION_LOGS = 3                 # rate.pyx: sliding logs
    REGION_SHARES = 4               # concurrency.pyx
    REGION_PLUGINS = 5              # meters.pyx
    REGIONS = 6


@cython.final
cdef class Segment:
    cdef unsigned char* base
    cdef readonly size_t size
    cdef readonly int fd
    cdef readonly int slots
    cdef readonly int targets
    # Where the parts begin; computed by layout() and nowhere else.
    cdef unsigned char* workers
    cdef unsigned char* slabs
    cdef unsigned char* table
    cdef unsigned char* words
    cdef unsigned char* counts
    cdef unsigned char* regions[8]
    cdef size_t slab_stride
    cdef size_t words_stride

    # None of these checks its arguments: 0 <= slot < slots, 0 <= target < targets. The pointers live as long as the
    # segment does.
    cdef Slab* slab(self, int slot) noexcept
    cdef long long* in_flight(self, int target, int slot) noexcept
    cdef uint64_t* first_tries(self, int target, int slot) noexcept
    cdef unsigned char* state(self, int target) noexcept
    cdef unsigned char* region(self, int number) noexcept
    cdef size_t region_size(self, int number) noexcept
    cdef const unsigned char* key(self) noexcept
    cdef void beat(self, int slot) noexcept

    cdef int map(self, int fd, size_t size) except -1
    cdef int find_parts(self) except -1
    cdef int check(self, int slot, int target) except -1
