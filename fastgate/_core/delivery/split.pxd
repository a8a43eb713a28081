from fastgate._core.exchange.exchange cimport Delivery, Exchange, Facts
from fastgate._core.exchange.request_key cimport RequestKey


cdef class Split(Delivery):
    cdef readonly tuple ways           # of Delivery
    cdef readonly tuple bounds         # of each one's part of 0 to 1, in their order
    cdef readonly RequestKey sticky    # None: by chance

    cdef Delivery choose(self, Exchange x)
    cdef Delivery chosen(self, Exchange x)


cdef class Choice(Facts):
    cdef Delivery way
