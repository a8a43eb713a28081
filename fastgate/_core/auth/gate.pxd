from libc.stdint cimport uint64_t

from fastgate._core.exchange.exchange cimport Exchange


cdef enum Verdict:
    """What one method, or all so far, say of a request; of two refusals the greater is told to the client."""
    ABSENT = 0                         # it brings nothing for this method
    REFUSED = 1                        # what it brings is not valid
    NOT_ALLOWED = 2                    # it is valid, but not for this request
    UNAVAILABLE = 3                    # it cannot be found out
    GRANTED = 4
    WAITING = 5                        # the awaitable in ``pending`` will say


cdef class Identity:
    """Who asks, as an authentication method found out; immutable, and shared by the requests of one client."""
    cdef readonly str id
    cdef readonly str method
    cdef readonly object claims        # a mapping that nobody can change
    cdef readonly object source
    cdef bytes key                     # what limits count by
    cdef tuple fields                  # (name, value) for the upstream
    cdef tuple client_fields           # (name, value) for the client, with the one answer that this identity leads to
    cdef dict texts                    # claims that were asked for as text, by their paths

    cdef bytes claim(self, str path)


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


cdef bytes claim_text(object claims, str path)
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
