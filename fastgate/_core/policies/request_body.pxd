from fastgate._core.exchange.exchange cimport Exchange, Gate


cdef class ContentTypes(Gate):
    """Which media types the body of a request may have."""
    cdef tuple ranges                  # (before the star, after it), in lower case; (type, None) without one
    cdef bytes accept
    cdef bint plain                    # no content coding

    cdef bint accepts(self, Exchange x) except -1


cdef class BodyCheck(Gate):
    """A look at the whole body of a request."""
    cdef object check                  # callable: body → None, or raises a Refusal
    cdef object executor               # where long bodies are looked at

    cdef int look(self, Exchange x) except -1


cdef bint has_body(Exchange x) noexcept
cdef bint takes_body(Exchange x) noexcept
