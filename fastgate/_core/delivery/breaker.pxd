cimport cython
from libc.stdint cimport uint64_t

from fastgate._core.memory.events cimport EventRing
from fastgate._core.memory.targets cimport TargetRows
from fastgate._core.memory.target_row cimport State

# What admit() answers, in its lowest two bits; REJECT has no others. The whole answer is to be kept for record().
cdef enum:
    REJECT = 0
    ADMIT = 1
    ADMIT_PROBE = 2
    ADMIT_KIND = 3


@cython.final
cdef class Breaker:
    cdef TargetRows memory
    cdef EventRing events
    cdef readonly str name
    cdef readonly int row
    cdef State* own
    cdef State* upstream            # the row with the lock and the generation; the same row for an upstream's breaker
    # Settings. Times are milliseconds.
    cdef uint64_t failures          # in a row; 0 = this rule is off
    cdef double ratio               # of the requests in the window; 0 = this rule is off
    cdef uint64_t min_requests
    cdef uint64_t width             # of a bucket
    cdef uint64_t open
    cdef uint64_t half_open
    cdef uint64_t recovery

    cpdef int admit(self, uint64_t now, uint64_t random) noexcept
    cpdef void record(self, int admitted, bint ok, uint64_t now) noexcept
    cpdef void cancel(self, int admitted) noexcept
    cpdef void settle(self, uint64_t now) noexcept
    cpdef uint64_t retry_after_ms(self, uint64_t now) noexcept

    cdef int admit_probe(self, uint64_t word, uint64_t now) noexcept
    cdef void record_probe(self, uint64_t word, int admitted, bint ok, uint64_t now) noexcept
    cdef bint count_failure(self, uint64_t word) noexcept
    cdef void count(self, uint64_t word, bint ok, uint64_t now) noexcept
    cdef bint too_many(self, uint64_t word, uint64_t now) noexcept
    cdef void move(self, uint64_t word, int to, uint64_t now) noexcept
    cdef uint64_t lease(self) noexcept
