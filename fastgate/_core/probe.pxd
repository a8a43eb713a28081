from libc.stdint cimport uint64_t

from fastgate._core.balancer cimport Balancer
from fastgate._core.buffer cimport Buffer
from fastgate._core.framing cimport Framing
from fastgate._core.shm cimport Segment
from fastgate._core.wheel cimport Timed, Wheel


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
    cdef Segment segment
    cdef long long** first


cdef class Block:
    cdef Buffer buffer
