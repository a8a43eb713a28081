from libc.stdint cimport uint64_t

cdef extern from "locks.h" nogil:
    # Once, by the process that makes the memory. 0, or an error number.
    int shared_lock_init(void* lock) noexcept
    # What is done between the two must leave the data valid after every store.
    void shared_lock(void* lock) noexcept
    void shared_unlock(void* lock) noexcept


cdef enum:
    STRIPES = 64


# One of the locks that the keys of a table are divided among, on cache lines of its own.
cdef struct Stripe:
    unsigned char lock[64]
    uint64_t lost               # keys for which there was no room, counted under the lock
    uint64_t reserved[7]


cdef inline int prepare_stripes(Stripe* stripes) except -1:
    cdef int number
    for number in range(STRIPES):
        if shared_lock_init(stripes[number].lock) != 0:
            raise OSError("this system has no mutexes that processes share")
    return 0
