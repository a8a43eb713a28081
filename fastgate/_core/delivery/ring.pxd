cimport cython
from libc.stdint cimport uint32_t, uint64_t

from fastgate._core.delivery.balancer cimport Balancer, Weights


@cython.final
cdef class ConsistentHash(Balancer):
    # What members are called: str or bytes, one each; None = str() of the targets. The ring is made of names when `use`
    # is called, so members are added by setting this before. Never changed in place.
    cdef public tuple names
    cdef readonly double bound
    cdef tuple placed               # the names that the ring is made of
    cdef uint64_t* ring             # sorted; the upper 48 bits are the point, the lower 16 the number of its member
    cdef int points
    cdef uint32_t* starts           # of each part of the circle, the index of the first point in it or behind it
    cdef int shift                  # a hash >> shift is its part

    cdef int build(self, tuple names) except -1
    cdef int find(self, uint64_t key) noexcept
    cdef double allowance(self) noexcept
    cdef int least_loaded(self, const unsigned char* skip) noexcept
