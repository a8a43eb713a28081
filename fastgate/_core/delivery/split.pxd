from fastgate._core.exchange.exchange cimport Exchange, Upstream
from fastgate._core.exchange.request_key cimport RequestKey


cdef class Split:
    cdef readonly tuple upstreams
    cdef readonly tuple bounds         # of each one's part of 0 to 1, in their order
    cdef readonly RequestKey sticky    # None: by chance


cdef Upstream choose(Exchange x, Split split)
