from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t


cdef struct Slot:
    Py_hash_t hash
    uint64_t expires            # nanoseconds of the clock
    int64_t size
    uint32_t life               # grows when the entry goes: who compared keys meanwhile sees it
    int32_t chain               # the next in the chain of the table, among the free or among the dead ones
    int32_t older
    int32_t newer


cdef class LRUCache:
    cdef Slot* slots
    cdef int32_t* table         # a power of two of chains
    cdef list keys              # of slots; None where there is none
    cdef list values
    cdef object size            # the function, or None
    cdef object clock           # the same
    cdef uint64_t mask
    cdef uint64_t epoch         # grows when slots and table are replaced
    cdef uint64_t ttl           # nanoseconds
    cdef bint timed             # some entry may expire
    cdef int64_t max_entries
    cdef int64_t max_bytes
    cdef int64_t bytes
    cdef int32_t capacity       # slots
    cdef int32_t used           # of them, how many were ever in use
    cdef int32_t count          # entries
    cdef int32_t newest
    cdef int32_t oldest
    cdef int32_t free
    cdef int32_t dead
    cdef uint64_t hits
    cdef uint64_t misses
    cdef uint64_t evictions
    cdef uint64_t expired
    cdef uint64_t refused

    cdef void empty(self) noexcept
    cdef bint is_whole(self) noexcept
    cdef uint64_t now(self) except? 0
    cdef int32_t find(self, object key, Py_hash_t hashed) except -2
    cdef int32_t live(self, object key, bint touch) except -2
    cdef int grow(self) except -1
    cdef void chain(self, int32_t slot) noexcept
    cdef void use(self, int32_t slot) noexcept
    cdef void unlink(self, int32_t slot) noexcept
    cdef void remove(self, int32_t slot) noexcept
    cdef void bury(self) noexcept
