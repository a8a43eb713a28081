from libc.stdint cimport uint64_t

from cpython.object cimport PyObject


cdef class Timed:
    cdef uint64_t due                  # milliseconds on the wheel's clock; 0 = nothing set
    cdef uint64_t visit                # the tick at which the wheel looks at it; 0 = not linked
    cdef PyObject* before              # borrowed: an entry unlinks itself when it is deallocated
    cdef PyObject* after
    cdef PyObject** slot               # where the list it hangs in begins; the wheel outlives its lists

    cdef int expired(self) except -1
    cdef void unlink(self) noexcept


cdef class Wheel:
    cdef readonly uint64_t now         # CLOCK_MONOTONIC in milliseconds, as of the last tick
    cdef uint64_t tick                 # `now` in ticks
    cdef PyObject* slots[512]
    cdef object failed

    cdef void arm(self, Timed entry, uint64_t delay) noexcept
    cdef void place(self, Timed entry, uint64_t visit) noexcept
    cpdef int turn(self) except -1
    cdef int turn_to(self, uint64_t now) except -1


cdef uint64_t clock_us() noexcept nogil
