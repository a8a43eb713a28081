from fastgate._core.exchange cimport Exchange


cdef int run_hooks(Exchange x, tuple hooks, int phase) except -1
cdef int advance(Exchange x) except -1
cdef int wait_on(Exchange x, object awaitable) except -1
cdef int policy_failed(Exchange x, object error) except -1
cdef int refuse_for(Exchange x, object refusal) except -1
