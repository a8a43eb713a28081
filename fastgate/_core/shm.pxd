cimport cython
from libc.stdint cimport uint64_t

from fastgate._core.histogram cimport HISTOGRAM_WORDS

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
    uint64_t latency[HISTOGRAM_WORDS]
    uint64_t upstream_latency[HISTOGRAM_WORDS]


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
    cdef size_t slab_stride
    cdef size_t words_stride

    # None of these checks its arguments: 0 <= slot < slots, 0 <= target < targets. The pointers live as long as the
    # segment does.
    cdef Slab* slab(self, int slot) noexcept
    cdef long long* in_flight(self, int target, int slot) noexcept
    cdef void beat(self, int slot) noexcept

    cdef int map(self, int fd, size_t size) except -1
    cdef int find_parts(self) except -1
    cdef int check(self, int slot, int target) except -1
