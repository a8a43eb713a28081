from libc.stdint cimport uint64_t

from fastgate._core.exchange.exchange cimport Exchange


cdef class Mirror:
    cdef readonly object upstream      # Upstream
    cdef readonly double sample        # share of the requests, 0 to 1
    cdef uint64_t timeout              # milliseconds


cdef int begin_mirrored(Exchange x) except -1
cdef int feed_mirror(Exchange x, bytes piece, bint complete) except -1
cdef int begin_hedge(Exchange x) except -1
cdef int adopt(Exchange copy, bytes piece, bint last) except -1
cdef int copy_failed(Exchange copy, int cause) except -1
