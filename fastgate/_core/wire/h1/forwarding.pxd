from fastgate._core.memory.buffer cimport Buffer
from fastgate._core.exchange.exchange cimport Exchange


cdef int put_request(Exchange x, bytes authority, Buffer* buffer) except -1
