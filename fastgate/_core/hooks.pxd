from fastgate._core.exchange cimport Exchange


cdef int run_hooks(Exchange x, tuple hooks, int phase) except -1
