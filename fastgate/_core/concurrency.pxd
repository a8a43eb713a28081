from libc.stdint cimport uint64_t, int64_t
cdef class Concurrency:
    cdef int acquire(self, uint64_t key, int64_t** word) noexcept
    cdef int enter_queue(self, uint64_t key, int64_t** word) noexcept
    cdef void release(self, int64_t* word) noexcept
    cdef void leave_queue(self, int64_t* word) noexcept
    cdef void sample(self, uint64_t key, uint64_t latency, bint dropped) noexcept
