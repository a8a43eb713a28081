from libc.stdint cimport uint64_t

from fastgate._core.delivery.tries cimport Upstreams
from fastgate._core.exchange.exchange cimport Around, Debt, Exchange


cdef class Mirrored(Around):
    cdef readonly Upstreams copies     # answers the copies
    cdef readonly double sample        # share of the requests, 0 to 1
    cdef uint64_t timeout              # milliseconds

    cdef int step_aside(self, Exchange x) except -1


cdef class Fed(Debt):
    """A copy that gets the body as it comes."""
    cdef Exchange copy                 # None: it has all of it

    cdef int feed(self, bytes piece, bint complete) except -1
