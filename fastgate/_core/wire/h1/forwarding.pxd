from fastgate._core.memory.buffer cimport Buffer
from fastgate._core.exchange.exchange cimport Exchange


cdef inline bint in_chunks(Exchange x) noexcept:
    """Whether the body of the request goes out in chunks."""
    return x.request.chunked and (not x.buffering or x.request.trailers is not None)


cdef int put_request(Exchange x, bytes authority, Buffer* buffer) except -1
