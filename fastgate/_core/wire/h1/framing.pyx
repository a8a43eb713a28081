"""Where a message ends: one object for the three kinds of body, used for requests and responses alike (RFC 9112 section
6).

Theory of operation
-------------------
`Framing` is a C struct inside its owner, so a message costs no allocation. `feed` is the only way in: it looks at
bytes, says how many it consumed, which span of them is body, and whether the message goes on, is complete, or is
broken. It never looks beyond the end of the message: what follows belongs to the next one.

The chunked decoder is a state machine over single bytes outside chunk data and over whole spans inside. It is
stricter than RFC 9112 section 7.1 asks: a line ends with CRLF and nothing else, a size has at most 16 hexadecimal
digits and is at most 2^63-1, a chunk line is at most 256 bytes long, the trailer section is bounded. Extensions are
read and dropped; so are trailers, unless the owner has `gather` keep them.
"""

from libc.stdint cimport int64_t

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcmp, memcpy

from fastgate._core.exchange.causes cimport (
    BAD_CHUNK_END,
    BAD_CHUNK_LINE,
    BAD_CHUNK_SIZE,
    BAD_TRAILER,
    PROXY_NOT_SPOKEN,
    TLS_NOT_SPOKEN,
    TRAILERS_TOO_LARGE,
)
from fastgate._core.exchange.head cimport is_token

cdef enum:
    SIZE = 0                 # hexadecimal digits
    EXTENSION = 1
    SIZE_LF = 2
    DATA = 3
    DATA_CR = 4
    DATA_LF = 5
    TRAILER = 6              # at the start of a trailer line
    TRAILER_NAME = 11
    TRAILER_LINE = 7         # after the colon
    TRAILER_LF = 8
    LAST_LF = 9
    SIZE_SPACE = 10          # after the size only white space may stand before ";"

    MAX_LINE = 256


cdef void by_length(Framing* framing, int64_t length) noexcept nogil:
    framing.kind = BY_LENGTH if length else NO_BODY
    framing.remaining = length
    framing.section = 0
    framing.done = length == 0


cdef void by_chunks(Framing* framing, int trailer_limit) noexcept nogil:
    framing.kind = CHUNKED
    framing.state = SIZE
    framing.remaining = 0
    framing.line = framing.digits = framing.trailer = framing.section = framing.gathered = 0
    framing.trailer_limit = trailer_limit
    framing.done = False


cdef void until_close(Framing* framing) noexcept nogil:
    framing.kind = UNTIL_CLOSE
    framing.section = 0
    framing.done = False


cdef int broken(Framing* framing, int cause) noexcept nogil:
    framing.fault = cause
    return BROKEN


cdef int feed(Framing* framing, const unsigned char* p, Py_ssize_t length, Py_ssize_t* consumed, Py_ssize_t* start,
              Py_ssize_t* size) noexcept nogil:
    """Reads until the first body span or the end, whichever comes first.

    ``start`` and ``size`` give the body bytes among the consumed ones; size 0: none. MORE with ``consumed < length``
    means: call again.
    """
    cdef Py_ssize_t i = 0
    cdef unsigned char c
    cdef int digit
    start[0] = size[0] = 0
    if framing.kind == BY_LENGTH:
        size[0] = length if length < framing.remaining else <Py_ssize_t>framing.remaining
        framing.remaining -= size[0]
        consumed[0] = size[0]
        framing.done = framing.remaining == 0
        return COMPLETE if framing.done else MORE
    if framing.kind == UNTIL_CLOSE:
        consumed[0] = size[0] = length
        return MORE
    if framing.kind == NO_BODY:
        consumed[0] = 0
        return COMPLETE
    while i < length:
        c = p[i]
        if framing.state == DATA:
            start[0] = i
            size[0] = length - i if length - i < framing.remaining else <Py_ssize_t>framing.remaining
            framing.remaining -= size[0]
            i += size[0]
            if framing.remaining == 0:
                framing.state = DATA_CR
            consumed[0] = i
            return MORE
        i += 1
        if framing.state == SIZE:
            framing.line += 1
            if 48 <= c <= 57:
                digit = c - 48
            elif 97 <= c <= 102:
                digit = c - 87
            elif 65 <= c <= 70:
                digit = c - 55
            else:
                if framing.digits == 0:
                    return broken(framing, BAD_CHUNK_SIZE)
                if c == b"\r":
                    framing.state = SIZE_LF
                elif c == b";":
                    framing.state = EXTENSION
                elif c == b" " or c == b"\t":
                    framing.state = SIZE_SPACE
                elif c == b"\n":
                    return broken(framing, BAD_CHUNK_LINE)
                else:
                    return broken(framing, BAD_CHUNK_SIZE)
                continue
            framing.digits += 1
            # Sixteen digits whose first is above 7 would not fit into 63 bits.
            if framing.digits > 16 or framing.remaining >> 59:
                return broken(framing, BAD_CHUNK_SIZE)
            framing.remaining = (framing.remaining << 4) | digit
        elif framing.state == EXTENSION or framing.state == SIZE_SPACE:
            framing.line += 1
            if framing.line > MAX_LINE:
                return broken(framing, BAD_CHUNK_LINE)
            if c == b"\r":
                if framing.state == SIZE_SPACE:
                    return broken(framing, BAD_CHUNK_LINE)
                framing.state = SIZE_LF
            elif c == b"\n" or (c < 0x20 and c != b"\t") or c == 0x7F:
                return broken(framing, BAD_CHUNK_LINE)
            elif framing.state == SIZE_SPACE and c != b" " and c != b"\t":
                if c != b";":
                    return broken(framing, BAD_CHUNK_LINE)
                framing.state = EXTENSION
        elif framing.state == SIZE_LF:
            if c != b"\n":
                return broken(framing, BAD_CHUNK_LINE)
            framing.line = framing.digits = 0
            framing.state = DATA if framing.remaining else TRAILER
        elif framing.state == DATA_CR:
            if c != b"\r":
                return broken(framing, BAD_CHUNK_END)
            framing.state = DATA_LF
        elif framing.state == DATA_LF:
            if c != b"\n":
                return broken(framing, BAD_CHUNK_END)
            framing.state = SIZE
        elif framing.state == TRAILER or framing.state == TRAILER_NAME or framing.state == TRAILER_LINE:
            framing.trailer += 1
            framing.section += 1
            if framing.trailer > framing.trailer_limit:
                return broken(framing, TRAILERS_TOO_LARGE)
            if framing.state == TRAILER_LINE:
                if c == b"\r":
                    framing.state = TRAILER_LF
                elif (c < 0x20 and c != b"\t") or c == 0x7F:
                    return broken(framing, BAD_TRAILER)
            elif framing.state == TRAILER and c == b"\r":
                framing.state = LAST_LF
            elif framing.state == TRAILER_NAME and c == b":":
                framing.state = TRAILER_LINE
            elif is_token(&c, 1):
                framing.state = TRAILER_NAME
            else:
                return broken(framing, BAD_TRAILER)
        elif framing.state == TRAILER_LF:
            if c != b"\n":
                return broken(framing, BAD_TRAILER)
            framing.section += 1
            framing.state = TRAILER
        else:
            framing.section += 1
            if c != b"\n":
                return broken(framing, BAD_TRAILER)
            framing.done = True
            consumed[0] = i
            return COMPLETE
    consumed[0] = i
    return MORE


cdef int gather(Framing* framing, Head head, bytes data, Py_ssize_t end) except -1:
    """Adds what has come of the trailer section to ``head.trailers``: the bytes of ``data`` before ``end``, where
    `take` stopped. To be called after each `take` with which the section has grown, unless it is to be dropped. When
    the body is done there are the lines of the fields, or None.
    """
    cdef Py_ssize_t more = framing.section - framing.gathered
    framing.gathered = framing.section
    if framing.done and framing.section == 2:
        head.trailers = None
        return 0
    more = end - more
    head.trailers = data[more:end] if head.trailers is None else head.trailers + data[more:end]
    if framing.done:
        head.trailers = head.trailers[:PyBytes_GET_SIZE(head.trailers) - 2]
    return 0


cdef bytes take(Framing* framing, bytes data, Py_ssize_t* offset, int* progress):
    """The body bytes of ``data`` from ``offset`` on, as one object: ``data`` itself where all of it is body.

    None: there are none.

    Moves ``offset`` behind what was consumed. After BROKEN there is what came before the fault, and nothing of the
    rest may be used.
    """
    cdef const unsigned char* p = <const unsigned char*>PyBytes_AS_STRING(data)
    cdef Py_ssize_t length = PyBytes_GET_SIZE(data)
    cdef Py_ssize_t consumed, start, size
    cdef Py_ssize_t total = 0
    cdef Py_ssize_t first = 0
    cdef bytes body = None
    cdef char* out = NULL
    if framing.kind == BY_LENGTH and offset[0] == 0 and 0 < length <= framing.remaining:
        # Most reads of a large body are nothing else.
        framing.remaining -= length
        framing.done = framing.remaining == 0
        offset[0] = length
        progress[0] = COMPLETE if framing.done else MORE
        return data
    while True:
        consumed = start = size = 0
        progress[0] = feed(framing, p + offset[0], length - offset[0], &consumed, &start, &size)
        if progress[0] == BROKEN:
            break
        if size:
            start += offset[0]
            if total == 0:
                first = start
            else:
                if out == NULL:
                    # A second span: what there is and all that can still come fit into what is left of the data.
                    body = PyBytes_FromStringAndSize(NULL, length - first)
                    out = PyBytes_AS_STRING(body)
                    memcpy(out, p + first, total)
                if size > length - first - total:
                    progress[0] = broken(framing, BAD_CHUNK_SIZE)
                    break
                memcpy(out + total, p + start, size)
            total += size
        offset[0] += consumed
        if progress[0] == COMPLETE or offset[0] >= length:
            break
    if total == 0:
        return None
    if out != NULL:
        return body[:total]
    if total == length:
        return data
    return PyBytes_FromStringAndSize(<const char*>p + first, total)


cdef int other_protocol(const unsigned char* p, Py_ssize_t length, int cause) noexcept:
    """The cause for which a head is refused, where what came is another protocol."""
    if length and p[0] == 0x16:
        return TLS_NOT_SPOKEN
    if (length >= 6 and memcmp(p, b"PROXY ", 6) == 0) or (length >= 10 and memcmp(p, b"\r\n\0\r\nQUIT\n", 10) == 0):
        # Of version 2 the first line end was forgiven.
        return PROXY_NOT_SPOKEN
    return cause
