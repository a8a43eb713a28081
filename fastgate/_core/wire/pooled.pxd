from cpython.object cimport PyObject
from libc.stdint cimport int64_t

from fastgate._core.exchange.exchange cimport Peer, UpstreamSide


cdef enum Mode:
    IDLE = 0                 # rests in the pool
    STARTING = 5             # neither there nor with an exchange
    READING_HEAD = 1         # a request is under way, its answer has not begun
    READING_BODY = 2
    TUNNEL = 3
    CLOSED = 4
    RESERVED = 6             # rests with the client that has authenticated it


cdef class Home:
    """Where connections to one target belong, as these see it."""
    cdef readonly str name
    cdef readonly object tls           # ssl.SSLContext, None = plain
    cdef bytes authority               # what Host says

    cdef int gone(self, PooledConnection connection) except -1
    cdef int came_free(self, PooledConnection connection) except -1
    cdef int take_back(self, PooledConnection connection) except -1
    cdef int remove(self, PooledConnection connection) except -1
    cdef int report(self, PooledConnection connection, str what) except -1


cdef class PooledConnection(UpstreamSide):
    """A connection that serves one exchange after the other and rests between them, whatever its wire."""
    cdef Home home
    cdef object pool                   # which `home` is of
    cdef PooledConnection below        # while it rests in the pool
    cdef PyObject* above               # borrowed
    cdef Peer owner                    # the client whose requests alone may use it; None: any client's
    cdef int mode
    cdef bint forgotten                # no longer counted by its home
    cdef bint reusable
    cdef bint carried_body             # with the last request
    cdef int requests
    cdef int64_t keep_seconds          # what the upstream's Keep-Alive says; -1 = nothing

    cdef int forget(self) except -1
    cdef int close(self) except -1
