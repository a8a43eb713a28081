cimport cython


cdef class Balancer:
    cdef readonly tuple targets
    cdef int size

    # The index of the next target, -1 when there is none.
    cdef int pick(self) noexcept


@cython.final
cdef class RoundRobin(Balancer):
    cdef int position
