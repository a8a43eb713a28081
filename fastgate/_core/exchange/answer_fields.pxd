from libc.stdint cimport int64_t, uint32_t

from fastgate._core.memory.buffer cimport Buffer
from fastgate._core.exchange.exchange cimport Exchange
from fastgate._core.exchange.head cimport Head


cdef enum:
    NO_LENGTH = -1                     # an answer says nothing of its length: it has no body
    OPEN_LENGTH = -2                   # … the wire has to say where its body ends


cdef int put_answer_fields(Exchange x, uint32_t* withheld, Buffer* buffer) except -1
cdef int64_t answer_length(Exchange x, Py_ssize_t size) noexcept
cdef int put_pairs(Buffer* buffer, list pairs) except -1
cdef int put_fields(Buffer* buffer, Head head) except -1
