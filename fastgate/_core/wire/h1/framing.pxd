from libc.stdint cimport int64_t

from fastgate._core.exchange.head cimport Head
from fastgate._core.memory.buffer cimport Buffer, put, put_bytes


cdef enum Kind:
    NO_BODY = 0
    BY_LENGTH = 1
    CHUNKED = 2
    UNTIL_CLOSE = 3


cdef enum Progress:
    MORE = 0                 # everything given was consumed
    COMPLETE = 1             # the message ends after `consumed`
    BROKEN = 2               # malformed


cdef struct Framing:
    int64_t remaining        # bytes of the body, or of the chunk
    unsigned char kind
    unsigned char state      # of the chunked decoder
    unsigned char digits
    unsigned char done
    short line               # bytes of the chunk line so far
    short fault              # Cause: after BROKEN, the rule that was broken
    int trailer              # bytes of the trailer section so far
    int trailer_limit
    int section              # bytes of it with all line ends, and of these, what `gather` has kept
    int gathered


cdef void by_length(Framing* framing, int64_t length) noexcept nogil
cdef void by_chunks(Framing* framing, int trailer_limit) noexcept nogil
cdef void until_close(Framing* framing) noexcept nogil
cdef int feed(Framing* framing, const unsigned char* p, Py_ssize_t length, Py_ssize_t* consumed, Py_ssize_t* start,
              Py_ssize_t* size) noexcept nogil
cdef int gather(Framing* framing, Head head, bytes data, Py_ssize_t end) except -1
cdef bytes take(Framing* framing, bytes data, Py_ssize_t* offset, int* progress)


cdef inline int put_last_chunk(Buffer* buffer, bytes trailers) except -1:
    """The end of a body in chunks, with the fields behind it; None: there are none."""
    put(buffer, b"0\r\n", 3)
    if trailers is not None:
        put_bytes(buffer, trailers)
    return put(buffer, b"\r\n", 2)
cdef int other_protocol(const unsigned char* p, Py_ssize_t length, int cause) noexcept
