cimport cython
from libc.stdint cimport uint64_t

from fastgate._core.memory.segment cimport Segment
from fastgate._core.memory.target_row cimport State


@cython.final
cdef class RetryBudget:
    cdef Segment segment
    cdef readonly str name
    cdef readonly int row
    cdef State* state
    cdef uint64_t deposit               # of a first try, in thousandths of a token

    cpdef bint take(self, uint64_t now) noexcept
    cpdef void settle(self, uint64_t now) noexcept

    cdef uint64_t tries(self) noexcept
    cdef bint look(self, uint64_t now, bint takes) noexcept
    cdef void turn(self, uint64_t now, uint64_t tries) noexcept
    cdef uint64_t most(self, uint64_t now, uint64_t tries) noexcept
