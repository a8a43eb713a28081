from fastgate._core.exchange.head cimport Head


cdef class Hops:
    """What a trusted peer says of the way that a request has come."""
    cdef list nodes                    # addresses from the client on, None for what is none; None: nothing is said
    cdef bytes scheme                  # of the client's own connection, lower case; None: nothing is said
    cdef bytes port                    # of the client's own connection; None: nothing is said
    cdef bytes host                    # that the client asked for; None: nothing is said
    cdef bint keeps_forwarded          # the Forwarded that came says the same as X-Forwarded-*, and goes on


cdef class Element:
    """One hop of a Forwarded field."""
    cdef bint has_node
    cdef bytes node                    # an address in its normal form; None: unknown, obfuscated, malformed
    cdef bytes proto
    cdef bytes host


cdef Hops read_hops(Head head, object trusted)
cdef bytes client_of(Hops hops, bytes peer, object trusted)
cdef bytes address_of(bytes hop)
cdef bint read_elements(bytes value, list elements) except -1
