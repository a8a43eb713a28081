cimport cython

from fastgate._core.memory.region cimport Mapping, Region
from fastgate._core.memory.targets cimport TargetRows


@cython.final
cdef class Segment:
    cdef Mapping mapping
    cdef dict regions
    cdef readonly TargetRows rows
    cdef readonly int slots
    cdef Region workers
    cdef Region counters

    cdef int check(self, int slot) except -1
    cdef int find_regions(self, bint new) except -1
