from fastgate._core.exchange.exchange cimport Problems


cdef class Shape(Problems):
    cdef str name
    cdef list fields
    cdef bint declines
