from libc.stdint cimport uint64_t

from fastgate._core.exchange.exchange cimport Debt, Exchange
from fastgate._core.exchange.identity cimport Identity


cdef enum AuthVerdict:
    """What one method, or all so far, say of a request; of two refusals the greater is told to the client."""
    ABSENT = 0                         # it brings nothing for this method
    REFUSED = 1                        # what it brings is not valid
    NOT_ALLOWED = 2                    # it is valid, but not for this request
    UNAVAILABLE = 3                    # it cannot be found out
    GRANTED = 4
    WAITING = 5                        # the awaitable in ``pending`` will say


cdef class Inquiry(Debt):
    """How far the authentication of one exchange has come."""
    cdef int verdict                   # of all methods so far
    cdef int method_index              # the one that is asked
    cdef unsigned int refused_by       # bit set of the methods that refused
    cdef object pending                # the awaitable of the method that waits
    cdef tuple complaint               # a method that refused, and what it tells the client


cdef Inquiry inquiry_of(Exchange x)


cdef class Later:
    cdef object function
    cdef tuple arguments


cdef class Method:
    """One way to find out who asks."""
    cdef readonly str name
    cdef readonly bytes challenge      # of WWW-Authenticate; None = none
    cdef readonly bytes invalid        # the challenge for credentials that are not valid; None = the same
    cdef readonly tuple owned          # lower-case names of the fields that it sends upstream
    cdef readonly tuple replaced       # the same of those that may be needed of the client until it grants

    cdef int verify(self, Exchange x) except -1
    cdef int grant(self, Exchange x, Identity identity) except -1
    cdef bytes challenge_to(self, Exchange x, bint refused)


cdef int take_away(Exchange x, tuple names) except -1
cdef tuple comparable(object names)


cdef class VerifiedCache:
    """Identities by credential, at most ``capacity``, each until a time."""
    cdef dict young                    # (credential, identity, until) by the hash of the credential
    cdef dict old
    cdef uint64_t seed
    cdef readonly Py_ssize_t capacity

    cdef Identity find(self, const void* credential, Py_ssize_t length, double now)
    cdef int keep(self, bytes credential, Identity identity, double until) except -1
    cdef int add(self, object number, tuple entry) except -1
