"""The fields of an answer as the client gets them, whatever its wire: the upstream's spans without what ends here, and
the gateway's own.

They are put as lines, each ``name: value`` with CRLF, without the status and without what a wire says of its own: how
the body ends, and what is about the connection.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE
from libc.stdint cimport int64_t, uint32_t

from fastgate._core.memory.buffer cimport Buffer, put, put_bytes
from fastgate._core.exchange.exchange cimport FRAMED_ANEW, FRAMED_AS_SENT, FRAMED_WHOLE, Exchange, Stamp
from fastgate._core.exchange.head cimport (
    DATE,
    DROPPED,
    OTHER,
    RULED,
    SERVER,
    UPGRADE,
    Field,
    Head,
    name_id,
    put_via,
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


cdef list put_stamps(Exchange x, list extra, uint32_t withheld, Buffer* buffer):
    """The fields of the route's stamps; what is left of ``extra``."""
    cdef tuple stamps = x.route.stamps
    cdef Py_ssize_t i
    for i in range(PyTuple_GET_SIZE(stamps)):
        extra = (<Stamp>PyTuple_GET_ITEM(stamps, i)).stamp(x, extra, withheld, buffer)
    return extra


cdef int put_answer_fields(Exchange x, uint32_t* withheld, Buffer* buffer) except -1:
    """The lines of the upstream's response, or of ``x.answer``. ``withheld`` gets bits of `OwnField`: what the answer
    says itself, or must not say.
    """
    cdef Head head = x.response
    cdef list extra = x.answer.fields if x.answer is not None else x.response_extra
    withheld[0] = x.response_withheld
    if extra is not None:
        withheld[0] |= said_in(x, extra)
    if x.route is not None and x.route.stamps is not None:
        extra = put_stamps(x, extra, withheld[0], buffer)
    if x.answer is None:
        put_fields(buffer, head)
    if extra is not None:
        put_pairs(buffer, extra)
    # what the gateway says
    if (x.answer is not None or not head.seen & (1 << DATE)) and not withheld[0] & OWN_DATE:
        put_bytes(buffer, x.engine.date())
    if x.answer is not None:
        if not withheld[0] & OWN_SERVER:
            put_bytes(buffer, x.runtime.server_line)
    elif x.runtime.via and not withheld[0] & OWN_VIA:
        put_via(buffer, head)
    if x.runtime.request_id is not None and x.id_length and not withheld[0] & OWN_REQUEST_ID \
            and (x.answer is not None or not names_request_id(x.runtime, head)):
        put_bytes(buffer, x.runtime.request_id)
        put(buffer, b": ", 2)
        put(buffer, x.id, x.id_length)
        put(buffer, b"\r\n", 2)
    return 0


cdef int64_t answer_length(Exchange x, Py_ssize_t size) noexcept:
    """What Content-Length says of an answer of whose body ``size`` bytes are there, or NO_LENGTH, OPEN_LENGTH."""
    cdef Head head = x.response
    cdef bint bodiless = x.is_head or x.status == 204 or x.status == 304
    if (x.answer is not None and x.reframed != FRAMED_ANEW) \
            or (x.reframed == FRAMED_WHOLE and not bodiless and head.trailers is None):
        return size if x.status != 204 and x.status != 304 else NO_LENGTH
    if x.answer is None and head.content_length >= 0 and x.status != 204 \
            and (x.reframed == FRAMED_AS_SENT or (bodiless and x.reframed == FRAMED_WHOLE)) \
            and (bodiless or not x.status_changed or head.status != 304):
        # A 304 that becomes something else gave the length of what it did not send.
        return head.content_length
    return NO_LENGTH if bodiless else OPEN_LENGTH


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
