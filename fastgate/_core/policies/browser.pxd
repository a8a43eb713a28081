from libc.stdint cimport uint64_t

from fastgate._core.memory.buffer cimport Buffer
from fastgate._core.exchange.exchange cimport Exchange, Gate


cdef class CrossOrigin:
    """The rules of CORS for one route."""
    cdef bytes every                   # the lines for all origins; None: each has its own
    cdef dict listed                   # origin → its lines
    cdef dict known                    # the same, and what wildcards and expressions said of others
    cdef tuple wildcards               # what stands before and behind
    cdef tuple expressions             # functions that give None for what they do not match
    cdef frozenset methods             # None: all
    cdef frozenset headers             # lower-case; None: all
    cdef bytes expose                  # the line; None: none
    cdef bint exposes_all              # by name, answer by answer
    cdef bint credentials
    cdef bytes max_age
    cdef bint private_network
    cdef bytes vary                    # the line; None: answers do not depend on the origin
    cdef bytes preflight_vary          # the value

    cdef bytes lines(self, Exchange x)
    cdef bytes match(self, bytes origin)
    cpdef bint suits(self, bytes origin) except -1
    cdef list preflight_fields(self, Exchange x)


cdef class SecurityFields:
    """The security headers of one route."""
    cdef tuple names                   # lower-case
    cdef tuple lines                   # of each name
    cdef bytes block                   # all of them
    cdef bytes plain_block             # those that are sent over http too
    cdef unsigned int hsts             # the bit of Strict-Transport-Security; 0: it is not sent
    cdef uint64_t lengths              # bit set of the lengths of names
    cdef bint override

    cdef unsigned int bit_of(self, const unsigned char* name, Py_ssize_t length) noexcept


# What an answer says already.
cdef struct Seen:
    bint varies                        # it depends on the origin
    unsigned int present               # bits of its security headers


cdef class Browser:
    """What a route tells browsers with each answer."""
    cdef readonly CrossOrigin cors     # None: nothing about origins
    cdef readonly SecurityFields security

    cdef list stamp(self, Exchange x, list extra, Buffer* buffer)
    cdef bint displaces(
        self, Exchange x, Seen* seen, const unsigned char* name, Py_ssize_t length, const unsigned char* value,
        Py_ssize_t value_length
    ) noexcept
    cdef int put_cors(self, Exchange x, Seen* seen, list extra, Buffer* buffer) except -1
    cdef int put_security(self, Exchange x, Seen* seen, Buffer* buffer) except -1


cdef class PreflightGate(Gate):
    """Answers preflights."""
