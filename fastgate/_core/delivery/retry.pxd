from libc.stdint cimport uint32_t, uint64_t


cdef class Judgement:
    cdef readonly int failures         # bits of Failure
    cdef unsigned char statuses[600]   # nonzero: an answer with this status is a failure

    cdef bint condemns(self, int failure, int status) noexcept


cdef class RetryRule:
    cdef readonly int attempts         # tries in all
    cdef readonly Judgement on
    cdef uint32_t backoff              # milliseconds
    cdef uint32_t max_backoff
    cdef bint jitter
    cdef readonly double budget
    cdef uint32_t try_timeout          # milliseconds; 0 = none
    cdef bint non_idempotent
    cdef readonly uint32_t hedge_delay          # milliseconds; 0 = never

    cdef uint64_t pause(self, int tries, uint64_t random) noexcept
