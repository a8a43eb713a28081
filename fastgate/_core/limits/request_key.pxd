from libc.stdint cimport uint64_t

from fastgate._core.exchange.exchange cimport Exchange
from fastgate._core.exchange.head cimport Head
from fastgate._core.exchange.route cimport RequestKey


cdef bint find_key(Exchange x, RequestKey key, bytes identity, uint64_t* found) except -1
cdef bint find_steady_key(Exchange x, RequestKey key, bytes identity, uint64_t* found) except -1
cdef const unsigned char* find_cookie(Head head, bytes name, int skip, Py_ssize_t* length) noexcept
