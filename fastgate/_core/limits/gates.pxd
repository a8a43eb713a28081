from libc.stdint cimport uint32_t, uint64_t

from fastgate._core.memory.buffer cimport Buffer
from fastgate._core.exchange.worker cimport Engine
from fastgate._core.exchange.exchange cimport Exchange


cdef int put_quotas(Exchange x, uint32_t withheld, Buffer* buffer) except -1
cdef int leave_share(Exchange x) except -1
cdef int serve_queue(Engine engine, uint64_t key) except -1
cdef int serve_queues(Engine engine) except -1
