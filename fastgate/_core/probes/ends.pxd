from fastgate._core.exchange.exchange cimport Observer, Problems


cdef class Notes(Observer):
    cdef list diary
    cdef str name


cdef class Shape(Problems):
    cdef str name
    cdef list fields
    cdef bint declines
