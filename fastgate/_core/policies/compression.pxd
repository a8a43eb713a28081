from fastgate._core.exchange.exchange cimport BodyFilter, BodyRule


cdef class Coding:
    """A content coding and how a body is put into it."""
    cdef readonly bytes name
    cdef object whole                  # bytes → bytes
    cdef object stream                 # () → (feed, flush, finish)


cdef class Compression(BodyRule):
    cdef readonly tuple codings        # of Coding, in the server's order
    cdef tuple names
    cdef frozenset types
    cdef tuple patterns                # (prefix, suffix) of types with a wildcard
    cdef dict known                    # media type → whether it is listed
    cdef Py_ssize_t min_size           # bytes

    cdef bint suits(self, bytes kind) except -1


cdef class Compressor(BodyFilter):
    """One body on its way into a coding."""
    cdef Coding coding
    cdef bint flushes                  # what was read is sent, as the upstream's length is not known
    cdef bint begun
    cdef object take
    cdef object flush
    cdef object finish
