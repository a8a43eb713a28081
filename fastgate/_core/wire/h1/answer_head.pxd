from fastgate._core.memory.buffer cimport Buffer
from fastgate._core.exchange.exchange cimport Exchange


# How an answer ends on the wire (RFC 9112 section 6).
cdef struct Ending:
    bint closes                        # the connection is not used again
    bint bodiless
    bint chunked
    bint until_close


cdef int put_answer_head(Exchange x, Py_ssize_t size, Ending* ending, Buffer* buffer) except -1
cdef int put_interim_head(Exchange x, Buffer* buffer) except -1
cdef int put_tunnel_head(Exchange x, Buffer* buffer) except -1
