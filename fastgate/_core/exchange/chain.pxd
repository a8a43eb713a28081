from libc.stdint cimport uint64_t

from fastgate._core.exchange.exchange cimport Exchange
from fastgate._core.memory.plugin_times cimport Meter


cdef class Hook:
    cdef readonly object call
    cdef readonly Meter meter          # None: it is not measured

    cdef int ran(self, Exchange x, uint64_t began) except -1
    cdef int stretch(self, Exchange x, uint64_t running, uint64_t now) except -1


cdef class Stretches:
    cdef Hook hook
    cdef Exchange x
    cdef object awaitable
    cdef object steps                  # its iterator
    cdef uint64_t began                # microseconds, as the next
    cdef uint64_t running

    cdef object step(self, object value)
    cdef int pause(self, uint64_t began, bint last) except -1

cdef int wake_body(Exchange x) except -1
cdef object body_of(Exchange x, bint whole)
cdef int prepare_views(Exchange x) except -1
cdef bint finish_hooks(Exchange x) except -1
cdef int end_views(Exchange x) except -1
cdef int run_hooks(Exchange x, tuple hooks, int phase) except -1
cdef int advance(Exchange x) except -1
cdef int wait_on(Exchange x, object awaitable) except -1
cdef int policy_failed(Exchange x, object error) except -1
cdef int refuse_for(Exchange x, object refusal) except -1
