"""What a pool and the connections that rest in it know of each other, whatever the wire."""

from fastgate._core.exchange.exchange cimport UpstreamSide


cdef class Home:
    cdef int gone(self, PooledConnection connection) except -1:
        """The connection is no more, or was never made."""
        return 0

    cdef int came_free(self, PooledConnection connection) except -1:
        """There is room for another connection in the place of this one."""
        return 0

    cdef int take_back(self, PooledConnection connection) except -1:
        """The connection has no exchange any more and can take another."""
        return 0

    cdef int remove(self, PooledConnection connection) except -1:
        """The connection rests no more."""
        return 0

    cdef int report(self, PooledConnection connection, str what) except -1:
        """Something is wrong with the target."""
        return 0


cdef class PooledConnection(UpstreamSide):
    cdef int forget(self) except -1:
        """The connection is no more, or was never made."""
        self.connected = False
        self.unsent = None
        self.transport = None
        self.unlink()
        if not self.forgotten:
            self.forgotten = True
            self.home.gone(self)
        return 0

    cdef int close(self) except -1:
        if self.mode == IDLE:
            self.home.remove(self)
        self.mode = CLOSED
        return self.flush_and_close()
