"""The head of an answer as the client gets it: the upstream's spans without what ends here, and the gateway's own."""

from fastgate._core.admission cimport put_quotas
from fastgate._core.browser cimport Browser
from fastgate._core.buffer cimport Buffer, put, put_bytes, put_length, put_number
from fastgate._core.causes cimport phrase_of
from fastgate._core.exchange cimport FRAMED_ANEW, FRAMED_AS_SENT, FRAMED_WHOLE, Exchange
from fastgate._core.head cimport DATE, DROPPED, RULED, X_REQUEST_ID, Field, Head


cdef int put_answer_head(Exchange x, Py_ssize_t size, Ending* ending, Buffer* buffer) except -1:
    """The head of the upstream's response, or of ``x.answer``; ``size`` bytes of its body are there.

    ``ending`` says whether the connection closes behind it, and is told how the body is framed.
    """
    cdef Head head = x.response
    cdef bint keep_length = False
    cdef bint bodiless = x.is_head or x.status == 204 or x.status == 304
    cdef bytes name, value
    cdef const char* phrase
    cdef Py_ssize_t length
    cdef list extra = x.answer.fields if x.answer is not None else x.response_extra
    ending.bodiless = bodiless
    ending.chunked = ending.until_close = False
    # status line
    put(buffer, b"HTTP/1.1 ", 9)
    put_number(buffer, x.status)
    put(buffer, b" ", 1)
    if x.answer is None and not x.status_changed:
        put(buffer, head.p + head.reason.start, head.reason.length)
    else:
        phrase = phrase_of(x.status, &length)
        put(buffer, phrase, length)
    put(buffer, b"\r\n", 2)
    if x.route is not None and x.route.browser is not None:
        extra = (<Browser>x.route.browser).stamp(x, extra, buffer)
    # what comes with it
    if x.answer is None:
        keep_length = head.content_length >= 0 and x.status != 204 \
            and (x.reframed == FRAMED_AS_SENT or (bodiless and x.reframed == FRAMED_WHOLE))
        if x.status_changed and head.status == 304 and not bodiless:
            # It gave the length of what it did not send.
            keep_length = False
        put_fields(buffer, head)
    if extra is not None:
        for name, value in extra:
            put_bytes(buffer, name)
            put(buffer, b": ", 2)
            put_bytes(buffer, value)
            put(buffer, b"\r\n", 2)
    # what the gateway says
    if x.answer is not None or not head.seen & (1 << DATE):
        put_bytes(buffer, x.engine.date())
    if x.answer is not None:
        put_bytes(buffer, x.runtime.server_line)
    elif x.runtime.via:
        put(buffer, b"Via: 1.", 7)
        put_number(buffer, head.minor)
        put(buffer, b" fastgate\r\n", 11)
    if x.runtime.request_id is not None and not head.seen & (1 << X_REQUEST_ID) and x.id_length:
        put_bytes(buffer, x.runtime.request_id)
        put(buffer, b": ", 2)
        put(buffer, x.id, x.id_length)
        put(buffer, b"\r\n", 2)
    if x.quota_count:
        put_quotas(x, buffer)
    # framing
    if (x.answer is not None and x.reframed != FRAMED_ANEW) or (x.reframed == FRAMED_WHOLE and not bodiless):
        if x.status != 204 and x.status != 304:
            put_length(buffer, size)
    elif keep_length:
        put_length(buffer, head.content_length)
    elif not bodiless:
        if x.request.minor == 1:
            ending.chunked = True
            put(buffer, b"Transfer-Encoding: chunked\r\n", 28)
        else:
            ending.until_close = ending.closes = True
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
    put(buffer, b"Connection: Upgrade\r\nUpgrade: ", 30)
    put(buffer, head.p + head.fields[head.upgrade].value, head.fields[head.upgrade].value_length)
    put(buffer, b"\r\n\r\n", 4)
    return 0


cdef int put_fields(Buffer* buffer, Head head) except -1:
    """Copies the lines of a response head that are passed on, neighbours in one go."""
    cdef Field* field
    cdef Py_ssize_t begin = -1
    cdef int i
    for i in range(head.count):
        field = &head.fields[i]
        if field.flags & (DROPPED | RULED):
            if begin >= 0:
                put(buffer, head.p + begin, field.name - begin)
                begin = -1
        elif begin < 0:
            begin = field.name
    if begin >= 0:
        put(buffer, head.p + begin, head.length - 2 - begin)
    return 0
