from libc.stdint cimport int64_t, uint64_t

from fastgate._core.memory.store cimport Asker, RateCounter, ShareCounter


cdef class Line:
    cdef object loop
    cdef public double delay           # seconds
    cdef public object error           # what questions are answered with; None: with what the store says
    cdef public bint silent            # no question is answered any more
    cdef public bint held              # nothing arrives, until `let_go`
    cdef int due                       # of what is under way, how many would have arrived
    cdef readonly object under_way     # messages, the first sent first

    cdef int send(self, Message message) except -1


cdef class Message:
    cdef Asker asker                   # None: it has no answer

    cdef int arrive(self, object error) except -1


cdef class LateRateCounter(RateCounter):
    cdef RateCounter home
    cdef Line line


cdef class LateShareCounter(ShareCounter):
    cdef ShareCounter home
    cdef Line line


cdef class RateMessage(Message):
    cdef RateCounter home
    cdef uint64_t key
    cdef uint64_t at
    cdef int64_t amount
    cdef int64_t actual


cdef class ShareMessage(Message):
    cdef ShareCounter home
    cdef int verb
    cdef uint64_t key
    cdef int64_t amount
    cdef bint behind
    cdef void* place
