cimport cython
from libc.stdint cimport uint64_t

from fastgate._core.memory.region cimport Region

cdef enum:
    STATE_SIZE = 256                # bytes of shared state that each row has: see target_row.pxd


cdef struct TargetEntry:
    uint64_t key                    # of the name; 0 = free
    uint64_t reserved[7]


@cython.final
cdef class TargetRows:
    cdef readonly Region region
    cdef readonly int slots
    cdef readonly int size
    cdef TargetEntry* table
    cdef unsigned char* words
    cdef unsigned char* counts
    cdef unsigned char* states
    cdef size_t stride              # bytes from the words of one slot to those of the next

    # None of these checks its arguments: 0 <= row < size, 0 <= slot < slots. The pointers live as long as the object.
    cdef long long* in_flight(self, int row, int slot) noexcept
    cdef uint64_t* first_tries(self, int row, int slot) noexcept
    cdef unsigned char* state(self, int row) noexcept

    cdef int check(self, int row, int slot) except -1


cdef size_t targets_size(int slots, int size) noexcept
cdef void prepare_targets(unsigned char* base, int size) noexcept
