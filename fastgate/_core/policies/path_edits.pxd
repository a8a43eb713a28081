from fastgate._core.exchange.exchange cimport Gate


cdef class PathEdit(Gate):
    cdef object rewrite       # callable: normalised path → path to forward, None = refuse
