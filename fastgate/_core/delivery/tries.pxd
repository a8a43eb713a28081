from fastgate._core.exchange.exchange cimport Exchange


cdef int begin_try(Exchange x) except -1
cdef int try_failed(Exchange x, int cause) except -1
cdef int next_step(Exchange x, int cause) except -1
cdef bint keeps(Exchange x) except -1
cdef int keep_answer(Exchange x, bytes piece, bint last) except -1
cdef int keep_piece(Exchange x, bytes piece, bint last) except -1
