from libc.stdint cimport int64_t

from fastgate._core.exchange.exchange cimport Delivery, Exchange, Source


cdef class Stored(Source):
    cdef Delivery by
    cdef Exchange exchange             # None: nobody reads it, or no more
    cdef const char* at
    cdef Py_ssize_t left
    cdef int64_t taken
    cdef int held                      # Hold
    cdef bint going

    cdef int begin(self, Delivery by, Exchange x, const char* at, Py_ssize_t size) except -1
    cdef int leave(self) except -1
    cdef int let_go(self) except -1
    cdef bint ended(self) noexcept
    cdef int idle(self) except -1
    cdef int go(self) except -1
