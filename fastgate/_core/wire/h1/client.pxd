from libc.stdint cimport uint64_t

from fastgate._core.exchange.worker cimport Engine
from fastgate._core.exchange.exchange cimport ClientSide, Exchange
from fastgate._core.wire.h1.framing cimport Framing
from fastgate._core.wire.h1.repeats cimport Expected


cdef enum Mode:
    IDLE = 0                 # between requests
    READING_HEAD = 1
    READING_BODY = 2
    WAITING = 3              # the request is complete, its answer is not
    DRAINING = 4             # answered; what is left of the request body is dropped
    TUNNEL = 5
    LINGERING = 6            # closed for writing; read and dropped until the client is done
    CLOSED = 7


cdef class ClientConnection(ClientSide):
    cdef object listener
    cdef object share                  # whose share of connections this one counts in; None: nobody's
    cdef bytes tail                    # bytes that nobody could use yet
    cdef Framing framing               # of the request body
    cdef public uint64_t accepted_at   # milliseconds; 0: when the transport is given
    cdef unsigned char mode
    cdef unsigned char fresh           # its first request has not begun
    cdef unsigned char stale           # who the peer is has to be asked for, again after a reload
    cdef unsigned char running         # inside `run`
    cdef unsigned char closing         # the answer said so
    cdef unsigned char chunked         # the answer is sent in chunks
    cdef unsigned char until_close     # the answer ends with the connection
    cdef unsigned char bodiless
    cdef unsigned char blank_line      # one empty line before the request has been skipped
    cdef unsigned char half_closed     # the client has shut its sending side and is served on
    cdef unsigned char more_waits      # behind the request that is being opened lie bytes of the next
    cdef Expected expected             # the fields that its requests may have again
    cdef int dropped                   # bytes of a body that were read and dropped
    cdef uint64_t lingers_until        # milliseconds: when an answered client is no longer read

    cdef int begin(self, object transport, uint64_t accepted_at) except -1
    cdef int run(self, bytes data) except -1
    cdef bint read_head(self, bytes data, Py_ssize_t* offset) except -1
    cdef int read_body(self, bytes data, Py_ssize_t* offset) except -1
    cdef int stash(self, bytes data, Py_ssize_t offset) except -1
    cdef int begin_head(self) except -1
    cdef int become_idle(self) except -1
    cdef int put_out(self, Exchange x) except -1
    cdef int put_chunk(self, Exchange x, bytes piece, bint last) except -1
    cdef int decide_close(self, Exchange x) except -1
    cdef bint serves_on(self) except -1
    cdef bint ends_here(self) except -1
    cdef int end_of_stream(self) except -1
    cdef int linger(self) except -1
    cdef int linger_on(self) except -1
    cdef int close(self) except -1
