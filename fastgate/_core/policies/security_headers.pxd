from libc.stdint cimport uint64_t

from fastgate._core.exchange.exchange cimport Stamp


cdef class SecurityFields(Stamp):
    """The security headers of one route."""
    cdef tuple names                   # lower-case
    cdef tuple lines                   # of each name
    cdef bytes block                   # all of them
    cdef bytes plain_block             # those that are sent over http too
    cdef unsigned int hsts             # the bit of Strict-Transport-Security; 0: it is not sent
    cdef uint64_t lengths              # bit set of the lengths of names
    cdef bint override

    cdef unsigned int bit_of(self, const unsigned char* name, Py_ssize_t length) noexcept
