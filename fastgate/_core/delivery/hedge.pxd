from libc.stdint cimport uint64_t

from fastgate._core.delivery.tries cimport Try, Upstreams
from fastgate._core.exchange.exchange cimport Exchange


cdef class Hedged(Upstreams):
    """Upstreams of which a second target is asked when the first has not answered after a while."""
    cdef SecondTry second

    cdef int begin_hedge(self, Exchange x, Try t) except -1
    cdef int hedge_over(self, Exchange x, Exchange copy) except -1
    cdef int end_hedge(self, Try t) except -1
    cdef int adopt(self, Exchange x, Exchange copy, bytes piece, bint last) except -1


cdef class SecondTry(Upstreams):
    """What the copy does that asks the second target."""
