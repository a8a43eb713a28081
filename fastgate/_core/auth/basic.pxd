from fastgate._core.auth.gate cimport Method, VerifiedCache
from fastgate._core.exchange.exchange cimport Exchange


cdef class BasicMethod(Method):
    """Names and passwords (RFC 7617)."""
    cdef dict users                    # (stored hash, Identity) by name
    cdef tuple nobody                  # the same for a name that is none
    cdef object check                  # asynchronous: (password, stored hash, key) → whether it is the password
    cdef bytes secret                  # what keys of the cache are made with
    cdef double ttl                    # seconds
    cdef bint hide
    cdef readonly VerifiedCache cache

    cdef int find(self, Exchange x) except -2
