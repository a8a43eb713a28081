from fastgate._core.auth.gate cimport Method, VerifiedCache
from fastgate._core.exchange.exchange cimport Exchange


cdef enum SourceKind:
    IN_AUTHORIZATION = 0
    IN_HEADER = 1
    IN_COOKIE = 2
    IN_QUERY = 3


cdef enum Presence:
    NO_TOKEN = 0
    ONE_TOKEN = 1
    NOT_ONE_TOKEN = 2                  # it is empty, or there are two


cdef class TokenMethod(Method):
    """Bearer tokens: found in the request, looked up among those that were verified, else judged in Python."""
    cdef readonly VerifiedCache cache
    cdef object judge                  # token → (Identity, until), a sentence, None, or an awaitable of these
    cdef tuple sources                 # (SourceKind, name)
    cdef Py_ssize_t max_size

    cdef int find(self, Exchange x, const unsigned char** value, Py_ssize_t* length) except -1
    cdef int settle(self, Exchange x, object judgement) except -1
