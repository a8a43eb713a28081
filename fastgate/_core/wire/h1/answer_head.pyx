"""The head of an answer as the client gets it: the upstream's spans without what ends here, and the gateway's own."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE
from libc.stdint cimport uint32_t

from fastgate._core.memory.buffer cimport Buffer, put, put_bytes, put_length, put_number
from fastgate._core.exchange.causes cimport phrase_of
from fastgate._core.exchange.exchange cimport (
    FRAMED_ANEW,
    FRAMED_AS_SENT,
    FRAMED_WHOLE,
    Exchange,
    Stamp,
    announced_trailers,
)
from fastgate._core.exchange.head cimport (
    DATE,
    DROPPED,
    OTHER,
    RULED,
    SERVER,
    TRAILER,
    UPGRADE,
    Field,
    Head,
    name_id,
    same,
)
from fastgate._core.exchange.route cimport (
    OWN_DATE,
    OWN_REQUEST_ID,
    OWN_SERVER,
    OWN_UPGRADE,
    OWN_VIA,
    Runtime,
    own_field,
)


cdef int put_answer_head(Exchange x, Py_ssize_t size, Ending* ending, Buffer* buffer) except -1:
    """The head of the upstream's response, or of ``x.answer``; ``size`` bytes of its body are there.

    ``ending`` says whether the connection closes behind it, and is told how the body is framed.
    """
    cdef Head head = x.response
    cdef bint keep_length = False
    cdef bint bodiless = x.is_head or x.status == 204 or x.status == 304
    cdef const char* phrase
    cdef bytes trailer
    cdef Py_ssize_t length
    cdef list extra = x.answer.fields if x.answer is not None else x.response_extra
    cdef uint32_t withheld = x.response_withheld
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
    if extra is not None:
        withheld |= said_in(x, extra)
    if x.route is not None and x.route.stamps is not None:
        extra = put_stamps(x, extra, withheld, buffer)
    # what comes with it
    if x.answer is None:
        keep_length = head.content_length >= 0 and x.status != 204 \
            and (x.reframed == FRAMED_AS_SENT or (bodiless and x.reframed == FRAMED_WHOLE))
        if x.status_changed and head.status == 304 and not bodiless:
            # It gave the length of what it did not send.
            keep_length = False
        put_fields(buffer, head)
    if extra is not None:
        put_pairs(buffer, extra)
        if withheld & OWN_UPGRADE:
            put(buffer, b"Connection: Upgrade\r\n", 21)
    # what the gateway says
    if (x.answer is not None or not head.seen & (1 << DATE)) and not withheld & OWN_DATE:
        put_bytes(buffer, x.engine.date())
    if x.answer is not None:
        if not withheld & OWN_SERVER:
            put_bytes(buffer, x.runtime.server_line)
    elif x.runtime.via and not withheld & OWN_VIA:
        put(buffer, b"Via: 1.", 7)
        put_number(buffer, head.minor)
        put(buffer, b" fastgate\r\n", 11)
    if x.runtime.request_id is not None and x.id_length and not withheld & OWN_REQUEST_ID \
            and (x.answer is not None or not names_request_id(x.runtime, head)):
        put_bytes(buffer, x.runtime.request_id)
        put(buffer, b": ", 2)
        put(buffer, x.id, x.id_length)
        put(buffer, b"\r\n", 2)
    # framing
    if (x.answer is not None and x.reframed != FRAMED_ANEW) \
            or (x.reframed == FRAMED_WHOLE and not bodiless and head.trailers is None):
        if x.status != 204 and x.status != 304:
            put_length(buffer, size)
    elif keep_length:
        put_length(buffer, head.content_length)
    elif not bodiless:
        if x.request.minor == 1:
            ending.chunked = True
            put(buffer, b"Transfer-Encoding: chunked\r\n", 28)
            if x.answer is None and head.seen & (1 << TRAILER):
                trailer = announced_trailers(x, head)
                if trailer is not None:
                    put_bytes(buffer, trailer)
        else:
            ending.until_close = ending.closes = True
    if head.upgrade != -1 and x.answer is None and head.status == 426:
        put(buffer, b"Connection: Upgrade\r\n", 21)
    if ending.closes:
        put(buffer, b"Connection: close\r\n", 19)
    elif x.request.minor == 0:
        put(buffer, b"Connection: keep-alive\r\n", 24)
    put(buffer, b"\r\n", 2)
    return 0


cdef list put_stamps(Exchange x, list extra, uint32_t withheld, Buffer* buffer):
    """The fields of the route's stamps; what is left of ``extra``."""
    cdef tuple stamps = x.route.stamps
    cdef Py_ssize_t i
    for i in range(PyTuple_GET_SIZE(stamps)):
        extra = (<Stamp>PyTuple_GET_ITEM(stamps, i)).stamp(x, extra, withheld, buffer)
    return extra


cdef bint names_request_id(Runtime runtime, Head head) noexcept:
    """Whether a head has the field of the request id."""
    if runtime.request_id_bit:
        return head.seen & runtime.request_id_bit != 0
    return head.find(PyBytes_AS_STRING(runtime.request_id_lower), PyBytes_GET_SIZE(runtime.request_id_lower), 0) >= 0


cdef uint32_t said_in(Exchange x, list extra) except? 0:
    """The fields of which an answer has one at most, and that the gateway does not add to these."""
    cdef bytes id_name = x.runtime.request_id_lower
    cdef bytes name
    cdef const unsigned char* p
    cdef uint32_t said = 0
    cdef int number
    for name, _ in extra:
        p = <const unsigned char*>PyBytes_AS_STRING(name)
        number = name_id(p, PyBytes_GET_SIZE(name))
        if number == DATE:
            said |= OWN_DATE
        elif number == SERVER:
            said |= OWN_SERVER
        elif number == UPGRADE:
            said |= OWN_UPGRADE
        elif number == OTHER and x.route is not None and x.route.stamped:
            said |= own_field(name.lower(), None)
        if id_name is not None \
                and same(p, PyBytes_GET_SIZE(name), PyBytes_AS_STRING(id_name), PyBytes_GET_SIZE(id_name)):
            said |= OWN_REQUEST_ID
    if x.answer is not None and x.answer.removed is not None:
        for name in x.answer.removed:
            said |= own_field(name, id_name)
    return said


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


cdef int put_pairs(Buffer* buffer, list pairs) except -1:
    cdef bytes name, value
    for name, value in pairs:
        put_bytes(buffer, name)
        put(buffer, b": ", 2)
        put_bytes(buffer, value)
        put(buffer, b"\r\n", 2)
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
