from libc.stdint cimport uint64_t

from fastgate._core.delivery.balancer cimport Balancer
from fastgate._core.memory.buffer cimport Buffer
from fastgate._core.wire.h1.framing cimport Framing
from fastgate._core.memory.targets cimport TargetRows
from fastgate._core.exchange.timers cimport Timed, Wheel


cdef const unsigned char* at_the_edge(bytes data) except NULL


cdef class Decoder:
    cdef Framing framing


cdef class Alarm(Timed):
    cdef object callback

    cdef int expired(self) except -1


cdef class HandWheel:
    cdef Wheel wheel
    cdef readonly uint64_t now         # milliseconds


cdef class SharedCounts:
    cdef Balancer balancer
    cdef TargetRows rows
    cdef long long** first


cdef class Block:
    cdef Buffer buffer
