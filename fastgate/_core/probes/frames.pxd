from libc.stdint cimport int64_t, uint32_t

from fastgate._core.delivery.tries cimport Try, Upstream
from fastgate._core.exchange.exchange cimport ClientSide, Exchange, UpstreamSide
from fastgate._core.exchange.worker cimport Engine


cdef enum Kind:
    HEAD = 1                           # start line and lines of fields
    BODY = 2
    TRAILERS = 3                       # lines of fields; always with END
    RESET = 4                          # one byte: why
    WINDOW = 5                         # how many bytes more of a body may come


cdef enum:
    END = 1                            # flag: the sender says no more on this stream


cdef enum Why:
    CANCELLED = 0                      # the rest is not wanted, or there is none
    REFUSED = 1                        # nothing was done about the request
    BROKEN = 2


cdef class Frames:
    """The frames of one connection."""
    cdef object transport              # None: not connected, or no more
    cdef bytes rest
    cdef bint full                     # the transport takes no more

    cdef list read(self, bytes data)
    cdef int write(self, uint32_t number, int kind, int flags, bytes payload) except -1


cdef class Flow:
    """The body that one side of a stream sends, and the room for the one that comes."""
    cdef Frames frames
    cdef uint32_t number
    cdef int64_t room                  # bytes that the peer takes now
    cdef int64_t granted               # bytes that it has taken
    cdef list waiting                  # pieces for which there is no room
    cdef bytes trailers
    cdef bint last                     # nothing comes behind what waits
    cdef bint ended                    # END is sent
    cdef uint32_t owed                 # bytes that came while nobody took them

    cdef bint send(self, bytes piece, bint last, bytes trailers) except -1
    cdef bint flush(self) except -1
    cdef bint grant(self, uint32_t size) except -1
    cdef int arrived(self, uint32_t size, bint held) except -1


cdef class FrameClient(ClientSide):
    """A client's connection."""
    cdef object listener
    cdef Frames frames
    cdef dict streams                  # number → ClientStream
    cdef bint stale

    cdef int open_stream(self, uint32_t number, bytes payload, bint last) except -1
    cdef int leave(self, int cause) except -1


cdef class ClientStream(ClientSide):
    cdef FrameClient link
    cdef Flow flow
    cdef bint heard                    # all of the request has come

    cdef int received(self, int kind, bint last, bytes payload) except -1
    cdef int passed(self, bint stuck) except -1
    cdef int close(self, bint reset, int why) except -1


cdef class FrameUpstream(Upstream):
    cdef Engine engine
    cdef str host
    cdef int port
    cdef int most
    cdef FrameLink link                # None: not connected
    cdef list waiting                  # of (exchange, try)

    cdef int give(self, Exchange x, Try t) except -1
    cdef int serve(self) except -1


cdef class FrameLink(UpstreamSide):
    """A connection to an upstream."""
    cdef FrameUpstream upstream
    cdef Frames frames
    cdef dict streams                  # number → UpstreamStream
    cdef uint32_t last_number


cdef class UpstreamStream(UpstreamSide):
    cdef FrameLink link
    cdef Flow flow
    cdef bint answered                 # its answer has begun

    cdef int received(self, int kind, bint last, bytes payload) except -1
    cdef int passed(self, bint stuck) except -1
    cdef int done(self, bint early) except -1
    cdef int fail(self, int cause) except -1
