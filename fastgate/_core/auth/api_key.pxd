from libc.stdint cimport int64_t

from fastgate._core.exchange.identity cimport Identity
from fastgate._core.auth.gate cimport Method
from fastgate._core.exchange.exchange cimport Exchange


cdef struct Slot:
    unsigned char digest[32]
    Py_ssize_t entry                   # of the table's entries; -1: free


cdef class KeyEntry:
    """A key as requests need it."""
    cdef readonly Identity identity
    cdef readonly frozenset routes     # names; None = all
    cdef readonly int64_t expires      # milliseconds since 1970
    cdef readonly bint disabled


cdef class KeyTable:
    """Keys by the SHA-256 of their secrets."""
    cdef tuple entries
    cdef Slot* slots
    cdef Py_ssize_t mask               # number of slots, a power of two, less one

    cdef KeyEntry find(self, const unsigned char* digest)
    cdef int put(self, const unsigned char* digest, Py_ssize_t entry) except -1


cdef struct Credential:
    const unsigned char* text
    Py_ssize_t length


cdef class KeyMethod(Method):
    """Finds out who asks by a key in the request."""
    cdef readonly KeyTable table
    cdef readonly bytes header         # lower case
    cdef readonly bytes parameter      # of the query; None = none
    cdef readonly bint hide

    cdef KeyEntry look(self, const Credential* credential)
    cdef int take_away(self, Exchange x, const int* fields, int found_in, const Credential* granted) except -1
