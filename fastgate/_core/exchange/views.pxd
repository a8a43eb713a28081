from fastgate._core.exchange.exchange cimport Answer, Exchange
from fastgate._core.exchange.head cimport Head


cdef class Headers:
    cdef Exchange exchange             # None: the fields of an answer of our own
    cdef Head head
    cdef Answer answer
    cdef bint of_request
    cdef bint ended

    cdef list extra(self)
    cdef int check(self) except -1
    cdef int drop(self, bytes lower) except -1
    cdef int drop_variable(self, bytes folded) except -1


cdef class Request:
    cdef Exchange exchange
    cdef Headers fields
    cdef object parsed_query
    cdef object parsed_cookies

    cdef Exchange live(self)


cdef class Response(Answer):
    cdef Headers view


cdef class UpstreamResponse(Response):
    cdef Exchange exchange
