from fastgate._core.exchange.exchange cimport Delivery


cdef class Fixed(Delivery):
    cdef readonly int status
    cdef readonly tuple fields         # (name, value) or (name, Template)
    cdef readonly bytes content
    cdef bint keeps_query              # the first field is Location and gets the query of the request
