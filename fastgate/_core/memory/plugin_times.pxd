from libc.stdint cimport uint64_t

from fastgate._core.memory.region cimport Region

cdef enum:
    PLUGINS = 64                       # that are measured; what is entered later is not


cdef class PluginTimes:
    cdef readonly str plugin
    cdef readonly uint64_t budget      # microseconds; 0 = none
    cdef public uint64_t again         # microseconds between two warnings
    cdef Region region
    cdef uint64_t* words               # of this worker; NULL = the table was full
    cdef uint64_t warned_at            # microseconds
    cdef uint64_t unsaid               # stretches over the budget since then

    cdef int ran(self, uint64_t running) except -1
    cdef int waited(self, uint64_t running, uint64_t waiting) except -1
    cdef int held(self, object log, str hook, str route, uint64_t running, uint64_t now) except -1
