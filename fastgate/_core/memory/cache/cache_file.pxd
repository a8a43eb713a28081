cimport cython
from libc.stdint cimport uint64_t

from fastgate._core.memory.cache.layout cimport CacheHeader
from fastgate._core.memory.region cimport Mapping, Region


@cython.final
cdef class CacheFile:
    cdef Mapping mapping
    cdef dict regions
    cdef CacheHeader* header            # of the mapping: what it says was checked once, and is not asked again
    cdef readonly int slots
    cdef readonly int segments
    cdef readonly int segment_size
    cdef readonly uint64_t max_bytes
    cdef uint64_t cookie
    cdef unsigned char key[16]

    cdef int find_parts(self) except -1
