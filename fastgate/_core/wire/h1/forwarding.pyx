"""The request head as HTTP/1.1: request line, fields, and how the body ends."""

from fastgate._core.memory.buffer cimport Buffer, put, put_bytes, put_length
from fastgate._core.exchange.exchange cimport Exchange, accepts_trailers, announced_trailers
from fastgate._core.exchange.head cimport TE, TRAILER, Head
from fastgate._core.exchange.request_fields cimport put_authority, put_request_fields, put_target


cdef int put_request(Exchange x, bytes authority, Buffer* buffer) except -1:
    cdef Head head = x.request
    cdef bytes trailer
    put(buffer, head.p, head.method.length)
    put(buffer, b" ", 1)
    put_target(x, buffer)
    put(buffer, b" HTTP/1.1\r\nHost: ", 17)
    put_authority(x, authority, buffer)
    put(buffer, b"\r\n", 2)
    put_request_fields(x, buffer)
    if in_chunks(x):
        put(buffer, b"Transfer-Encoding: chunked\r\n", 28)
        if head.seen & (1 << TRAILER):
            trailer = announced_trailers(x, head)
            if trailer is not None:
                put_bytes(buffer, trailer)
    elif x.buffering:
        put_length(buffer, x.body_kept)
    elif head.content_length >= 0:
        put_length(buffer, head.content_length)
    if x.upgrading:
        put(buffer, b"Connection: Upgrade\r\nUpgrade: ", 30)
        put(buffer, head.p + head.fields[head.upgrade].value, head.fields[head.upgrade].value_length)
        put(buffer, b"\r\n", 2)
    elif head.seen & (1 << TE) and accepts_trailers(x):
        # Of this hop, and so named by Connection (RFC 9110 section 10.1.4).
        put(buffer, b"Connection: TE\r\nTE: trailers\r\n", 30)
    put(buffer, b"\r\n", 2)
    return 0
