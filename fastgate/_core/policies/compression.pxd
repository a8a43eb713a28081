from fastgate._core.exchange.cache_result cimport CacheFacts
from fastgate._core.exchange.exchange cimport BodyFilter, BodyRule


cdef class Coding:
    """A content coding and how a body is put into it."""
    cdef readonly bytes name
    cdef readonly bytes label          # tells it from the same coding at another level
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
    cdef CacheFacts stored             # where what is made is kept for the next; None: nowhere
    cdef list made

    cdef bytes encode(self, bytes piece, bint last, bint more)


cdef class Made(BodyFilter):
    """A body that was put into a coding before, in the place of the one that comes."""
    cdef bytes content
