def shares_size(entries, slots):
    return 4096
cdef class Concurrency:
    def __init__(self, *a, **k):
        pass
    cdef int acquire(self, uint64_t key, int64_t** word) noexcept:
        return 1
    cdef int enter_queue(self, uint64_t key, int64_t** word) noexcept:
        return 1
    cdef void release(self, int64_t* word) noexcept:
        pass
    cdef void leave_queue(self, int64_t* word) noexcept:
        pass
    cdef void sample(self, uint64_t key, uint64_t latency, bint dropped) noexcept:
        pass
def release_slot(segment, slot):
    pass
