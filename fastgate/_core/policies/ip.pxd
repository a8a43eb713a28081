from fastgate._core.exchange.exchange cimport Gate
from fastgate._core.routing.networks cimport Networks


cdef class IpRules(Gate):
    """Who may use a route, by the address of the client."""
    cdef Networks networks             # marks: 1 allowed, 0 not
    cdef bint closed                   # who is in none of them may not
