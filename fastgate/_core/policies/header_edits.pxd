from fastgate._core.exchange.exchange cimport Exchange
from fastgate._core.exchange.head cimport Head
from fastgate._core.exchange.route cimport Edits


cdef bint alter_request(Exchange x) except -1
cdef list edit(Exchange x, Edits change, Head head, list extra)
cdef int take_out(Head head, Edits change, bint of_request) except -1
cdef bytes edited_host(Exchange x)
