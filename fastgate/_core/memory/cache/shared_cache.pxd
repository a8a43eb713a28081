cimport cython
from libc.stdint cimport uint32_t, uint64_t

from fastgate._core.memory.cache.cache_store cimport CacheStore, View
from fastgate._core.memory.cache.purges cimport Purges


@cython.final
cdef class PinnedValue:
    cdef CacheStore store
    cdef View view
    cdef int exports
    cdef bint is_open

    cdef bint is_one_piece(self) noexcept
    cdef const char* piece(self, uint32_t position, uint32_t* length) except NULL


@cython.final
cdef class ValuePart:
    cdef PinnedValue value
    cdef const char* start
    cdef uint32_t length


@cython.final
cdef class SharedCache:
    cdef readonly CacheStore store
    cdef Purges purges

    cdef int need_slot(self) except -1
    cdef bint find(self, bytes key, View* view) noexcept
    cdef bint is_valid(self, View* view) noexcept
    cdef int hash_tags(self, tags, uint64_t* hashes) except -1
    cdef uint64_t hash_tag(self, str tag) except 0
    cdef bytes read(self, bytes key, View* view)
