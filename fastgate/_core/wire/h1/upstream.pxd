from fastgate._core.exchange.exchange cimport Peer
from fastgate._core.wire.h1.framing cimport Framing
from fastgate._core.wire.pooled cimport PooledConnection


cdef class UpstreamConnection(PooledConnection):
    cdef bytes tail
    cdef Framing framing
    cdef bint authenticated            # credentials of the owner have come over it, which stand for what follows
    cdef bint answered                 # bytes of the answer have come

    cdef int read_rest(self) except -1
    cdef int read_head(self, bytes data) except -1
    cdef int read_body(self, bytes data, Py_ssize_t offset) except -1
    cdef int read_trailers(self, bytes data, Py_ssize_t end, int progress) except -1
    cdef int finished(self) except -1
    cdef int fail(self, int cause) except -1
    cdef int reject(self, int cause) except -1
    cdef int reserve_for(self, Peer peer) except -1
