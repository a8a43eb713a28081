from fastgate._core.exchange.exchange cimport BodyFilter, BodyRule, Exchange


cdef class Envelope(BodyRule):
    cdef bytes before                  # what stands before the body
    cdef bytes meta                    # … and before the object behind it; None: there is none
    cdef Py_ssize_t max_size           # bytes

    cdef bytes wrap(self, Exchange x, bytes body)


cdef class Wrapping(BodyFilter):
    """One body that is gathered, to be wrapped."""
    cdef Envelope rule
    cdef list pieces
    cdef Py_ssize_t size
