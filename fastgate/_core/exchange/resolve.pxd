from fastgate._core.exchange.exchange cimport Exchange


cdef int resolve(Exchange x) except -1
cdef int split_target(Exchange x) noexcept
cdef int identify_client(Exchange x) except -1
cdef bytes allowed(Exchange x)
