from fastgate._core.exchange.exchange cimport Exchange, Gate, Stamp


cdef class CrossOrigin(Stamp):
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
    cdef bint displaces(
        self, Exchange x, bint* varies, const unsigned char* name, Py_ssize_t length, const unsigned char* value,
        Py_ssize_t value_length
    ) noexcept


cdef class PreflightGate(Gate):
    """Answers preflights."""
    cdef CrossOrigin cors
