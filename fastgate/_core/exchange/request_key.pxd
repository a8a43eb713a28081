from libc.stdint cimport uint64_t

from fastgate._core.exchange.exchange cimport Exchange
from fastgate._core.exchange.head cimport Head


cdef class RequestKey:
    """Which part of a request tells whom it belongs to."""
    cdef readonly tuple parts          # (KeyPart, name)
    cdef int kind                      # of the only part; KEY_SEVERAL
    cdef object name                   # of the only part


cdef enum KeyPart:
    KEY_NOTHING = 0                    # one for all
    KEY_CLIENT_IP = 1
    KEY_HEADER = 2
    KEY_COOKIE = 3
    KEY_PARAMETER = 4
    KEY_SEVERAL = 5
    KEY_IDENTITY = 6
    KEY_CLAIM = 7


cdef bint find_key(Exchange x, RequestKey key, const unsigned char* secret, uint64_t* found) except -1
cdef bint find_steady_key(Exchange x, RequestKey key, bytes identity, uint64_t* found) except -1
cdef const unsigned char* find_cookie(Head head, bytes name, int skip, Py_ssize_t* length) noexcept
