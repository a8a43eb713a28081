cimport cython
from libc.stdint cimport int64_t, uint64_t

from fastgate._core.memory.targets cimport TargetRows
from fastgate._core.memory.store cimport Budget
from fastgate._core.memory.target_row cimport State


@cython.final
cdef class RetryBudget(Budget):
    cdef TargetRows memory
    cdef readonly str name
    cdef readonly int row
    cdef State* state
    cdef uint64_t deposit               # of a first try, in thousandths of a token

    cpdef void settle(self, uint64_t now) noexcept

    cdef uint64_t tries(self) noexcept
    cdef bint look(self, uint64_t now, int64_t wanted) noexcept
    cdef void turn(self, uint64_t now, uint64_t tries) noexcept
    cdef uint64_t most(self, uint64_t now, uint64_t tries) noexcept
