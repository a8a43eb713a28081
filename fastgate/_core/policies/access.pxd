from fastgate._core.exchange.exchange cimport Answer, Exchange, Gate
from fastgate._core.routing.networks cimport Networks


cdef class IpRules(Gate):
    """Who may use a route, by the address of the client."""
    cdef Networks networks             # marks: 1 allowed, 0 not
    cdef bint closed                   # who is in none of them may not


cdef class Maintenance(Gate):
    """A route that is closed for a while, but for some addresses."""
    cdef Networks allowed
    cdef int status
    cdef int retry_after               # seconds
    cdef bytes kind                    # media type of ``content``
    cdef bytes content                 # None: a problem


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
