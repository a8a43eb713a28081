"""The envelope: JSON answers as the value of one key of an object, beside what the gateway knows of them.

Theory of operation. Nothing is decoded: the bytes of the body are put between others. That they are one JSON text is
checked first, on the whole body, which is gathered up to a limit while head and body are withheld from the client. A
body that is broken goes on as it came: what looks like an answer of this gateway is one. A body above the limit is
refused, so that clients never get one shape for small answers and another for large ones.
"""

import msgspec

from fastgate._core.exchange.filters cimport drop_field, field_of, media_type, put_field, replace_body, transformable
from fastgate._core.exchange.causes cimport RESPONSE_TOO_LARGE
from fastgate._core.exchange.exchange cimport FRAMED_AS_SENT, BodyFilter, BodyRule, Exchange, bodiless

cdef object _decode = msgspec.json.decode
cdef object _encode = msgspec.json.encode
cdef object _Raw = msgspec.Raw


cdef bint is_json(bytes kind):
    """Media types whose bodies are JSON, but for problems (RFC 9457): these are known by their type and their shape."""
    return kind == b"application/json" or (kind.endswith(b"+json") and kind != b"application/problem+json")


cdef bint is_text(bytes body):
    """Whether a body is one JSON text (RFC 8259), in UTF-8."""
    try:
        _decode(body, type=_Raw)
        body.isascii() or body.decode()
    except (ValueError, RecursionError):
        return False
    return True


cdef class Envelope(BodyRule):
    def __init__(self, *, data, meta, max_size):
        self.name = "envelope"
        self.before = b"{" + _encode(data) + b":"
        self.meta = b"," + _encode(meta) + b":" if meta else None
        self.max_size = max_size

    cdef BodyFilter open(self, Exchange x, bytes piece, bint last):
        cdef Wrapping wrapping
        cdef bytes kind = field_of(x, b"content-type")
        if kind is None or not is_json(media_type(kind)) or x.status == 304 or not transformable(x):
            return None
        if bodiless(x):
            # What a GET would get.
            retype(x)
            return None
        if x.answer is None and x.reframed == FRAMED_AS_SENT and x.response.content_length > self.max_size:
            x.refuse(RESPONSE_TOO_LARGE)
            return None
        wrapping = Wrapping.__new__(Wrapping)
        wrapping.name = self.name
        wrapping.rule = self
        wrapping.pieces = []
        return wrapping

    cdef bytes wrap(self, Exchange x, bytes body):
        cdef dict known = {}
        if self.meta is None:
            return self.before + body + b"}"
        if x.runtime.request_id is not None and x.id_length:
            known["request_id"] = x.id[:x.id_length].decode("latin-1")
        known["status"] = x.status
        return b"".join([self.before, body, self.meta, _encode(known), b"}"])


cdef int retype(Exchange x) except -1:
    """The head of a wrapped body."""
    replace_body(x)
    drop_field(x, b"content-encoding")
    if media_type(field_of(x, b"content-type")) != b"application/json":
        put_field(x, b"Content-Type", b"application/json")
    return 0


cdef class Wrapping(BodyFilter):
    cdef bytes feed(self, Exchange x, bytes piece, bint last, bint more):
        cdef bytes body
        if self.pieces is None:
            return piece
        self.pieces.append(piece)
        self.size += len(piece)
        if self.size > self.rule.max_size:
            self.pieces = None
            x.refuse(RESPONSE_TOO_LARGE)
            return None
        if not last:
            return None
        body = b"".join(self.pieces)
        self.pieces = None
        if not is_text(body):
            return body
        retype(x)
        return self.rule.wrap(x, body)
