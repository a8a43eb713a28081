"""The head of an answer as HTTP/1.1: status line, fields, and how the body ends (RFC 9112 section 6)."""

from libc.stdint cimport int64_t, uint32_t

from fastgate._core.memory.buffer cimport Buffer, put, put_bytes, put_length, put_number
from fastgate._core.exchange.answer_fields cimport OPEN_LENGTH, answer_length, put_answer_fields, put_fields, put_pairs
from fastgate._core.exchange.causes cimport phrase_of
from fastgate._core.exchange.exchange cimport Exchange, announced_trailers
from fastgate._core.exchange.head cimport TRAILER, Head
from fastgate._core.exchange.route cimport OWN_UPGRADE


cdef int put_answer_head(Exchange x, Py_ssize_t size, Ending* ending, Buffer* buffer) except -1:
    """The head of the upstream's response, or of ``x.answer``; ``size`` bytes of its body are there.

    ``ending`` says whether the connection closes behind it, and is told how the body is framed.
    """
    cdef Head head = x.response
    cdef const char* phrase
    cdef bytes trailer
    cdef Py_ssize_t phrase_length
    cdef int64_t length
    cdef uint32_t withheld
    ending.bodiless = x.is_head or x.status == 204 or x.status == 304
    ending.chunked = ending.until_close = False
    put(buffer, b"HTTP/1.1 ", 9)
    put_number(buffer, x.status)
    put(buffer, b" ", 1)
    if x.answer is None and not x.status_changed:
        put(buffer, head.p + head.reason.start, head.reason.length)
    else:
        phrase = phrase_of(x.status, &phrase_length)
        put(buffer, phrase, phrase_length)
    put(buffer, b"\r\n", 2)
    put_answer_fields(x, &withheld, buffer)
    length = answer_length(x, size)
    if length >= 0:
        put_length(buffer, length)
    elif length == OPEN_LENGTH:
        if x.request.minor == 1:
            ending.chunked = True
            put(buffer, b"Transfer-Encoding: chunked\r\n", 28)
            if x.answer is None and head.seen & (1 << TRAILER):
                trailer = announced_trailers(x, head)
                if trailer is not None:
                    put_bytes(buffer, trailer)
        else:
            ending.until_close = ending.closes = True
    if (head.upgrade != -1 and x.answer is None and head.status == 426) or withheld & OWN_UPGRADE:
        put(buffer, b"Connection: Upgrade\r\n", 21)
    if ending.closes:
        put(buffer, b"Connection: close\r\n", 19)
    elif x.request.minor == 0:
        put(buffer, b"Connection: keep-alive\r\n", 24)
    put(buffer, b"\r\n", 2)
    return 0


cdef int put_interim_head(Exchange x, Buffer* buffer) except -1:
    """The 1xx response that lies in ``x.response``."""
    cdef Head head = x.response
    put(buffer, b"HTTP/1.1 ", 9)
    put_number(buffer, head.status)
    put(buffer, b" ", 1)
    put(buffer, head.p + head.reason.start, head.reason.length)
    put(buffer, b"\r\n", 2)
    put_fields(buffer, head)
    put(buffer, b"\r\n", 2)
    return 0


cdef int put_tunnel_head(Exchange x, Buffer* buffer) except -1:
    """The 101 of ``x.response``: what follows on the connection are bytes of another protocol."""
    cdef Head head = x.response
    put(buffer, b"HTTP/1.1 101 ", 13)
    put(buffer, head.p + head.reason.start, head.reason.length)
    put(buffer, b"\r\n", 2)
    put_fields(buffer, head)
    if x.response_extra is not None:
        put_pairs(buffer, x.response_extra)
    put(buffer, b"Connection: Upgrade\r\nUpgrade: ", 30)
    put(buffer, head.p + head.fields[head.upgrade].value, head.fields[head.upgrade].value_length)
    put(buffer, b"\r\n\r\n", 4)
    return 0
