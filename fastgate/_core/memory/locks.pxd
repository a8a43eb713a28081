from libc.stdint cimport uint64_t

cdef extern from "memory/sharedlock.h" nogil:
    int shared_lock_prepare(void* place)
    int shared_lock_take(void* place)
    void shared_lock_drop(void* place)


cdef enum:
    STRIPES = 64


# One of the locks that the keys of a table are divided among, on cache lines of its own.
cdef struct Stripe:
    unsigned char lock[64]
    uint64_t lost               # keys for which there was no room, counted under the lock
    uint64_t lifted             # those among them that were at their limit
    uint64_t reserved[6]


cdef inline int prepare_stripes(Stripe* stripes) except -1:
    cdef int number
    for number in range(STRIPES):
        if shared_lock_prepare(stripes[number].lock) != 0:
            raise OSError("this system has no mutexes that processes share")
    return 0


# What is done between the two must leave the data valid after every store. Here a holder that was stopped is waited
# for: an answer without the count would be wrong.
cdef inline void shared_lock(void* lock) noexcept nogil:
    while shared_lock_take(lock) < 0:
        pass


cdef inline void shared_unlock(void* lock) noexcept nogil:
    shared_lock_drop(lock)
