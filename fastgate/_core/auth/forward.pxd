from fastgate._core.auth.gate cimport Method, VerifiedCache
from fastgate._core.exchange.exchange cimport Exchange


cdef class ForwardMethod(Method):
    """A service that is asked."""
    cdef object ask                    # asynchronous: (key, request head) → Identity or Answer
    cdef object end                    # closes what is kept open for that
    cdef bytes line                    # request line and Host
    cdef tuple send                    # lower-case names of the client's fields that the service gets
    cdef tuple by                      # (part, name) of the request by which a decision is kept
    cdef bint by_credential            # one of these is a header field or a cookie
    cdef tuple replaced_names          # `replaced`, as `take_away` compares
    cdef readonly VerifiedCache cache

    cdef bytes key(self, Exchange x)
    cdef bytes request(self, Exchange x)


cdef list values_of(Exchange x, bytes name)
cdef list cookies_of(Exchange x, bytes name)
