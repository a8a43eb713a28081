from fastgate._core.exchange.exchange cimport Gate
from fastgate._core.routing.networks cimport Networks


cdef class Maintenance(Gate):
    """A route that is closed for a while, but for some addresses."""
    cdef Networks allowed
    cdef int status
    cdef int retry_after               # seconds
    cdef bytes kind                    # media type of ``content``
    cdef bytes content                 # None: a problem
