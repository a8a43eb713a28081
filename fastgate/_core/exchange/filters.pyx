"""What filters and rules of bodies are made of: hooks of plugins, and the response's head, whoever made it."""

from libc.stdint cimport uint64_t

from fastgate._core.exchange.exchange cimport (
    FRAMED_ANEW,
    PHASE_FILTERING,
    PHASE_RESPONSE,
    BodyFilter,
    BodyRule,
    Exchange,
    Hook,
    bodiless,
    prepare_views,
)
from fastgate._core.exchange.head cimport DROPPED, Head

cdef tuple _DIGESTS = (b"accept-ranges", b"content-digest", b"content-md5", b"digest", b"repr-digest")


# -- what plugins do to bodies

cdef class HookFilter(BodyFilter):
    def __init__(self, Hook hook, *, of_request):
        self.hook = hook
        self.of_request = of_request
        self.name = getattr(hook.call, "__qualname__", "?")

    cdef bytes feed(self, Exchange x, bytes piece, bint last, bint more):
        cdef object made
        cdef uint64_t began
        if not piece and not last:
            # Another filter swallowed it.
            return piece
        if x.request_view is None:
            prepare_views(x)
        began = self.hook.begin(x)
        try:
            if self.of_request:
                made = self.hook.call(x.request_view, piece, last)
            else:
                made = self.hook.call(x.request_view, x.response_view, piece, last)
        finally:
            if self.hook.meter is not None:
                self.hook.ran(x, began)
        if made is None:
            return piece
        if not isinstance(made, bytes):
            if hasattr(made, "close"):
                made.close()
            what = "an awaitable: it runs while the body streams and cannot wait" \
                if hasattr(made, "__await__") else f"a {type(made).__name__}"
            raise TypeError(f"{self.name} must return bytes or None, not {what}")
        return made


cdef class HookRule(BodyRule):
    def __init__(self, Hook hook):
        self.filter = HookFilter(hook, of_request=False)
        self.name = self.filter.name

    cdef BodyFilter open(self, Exchange x, bytes piece, bint last):
        if x.status == 304 or x.status == 204:
            return None
        lose_length(x)
        if bodiless(x):
            return None
        if x.response_view is None or x.route.on_response is None:
            # Nobody has looked at this response yet.
            x.phase = PHASE_RESPONSE
            prepare_views(x)
            x.phase = PHASE_FILTERING
        return self.filter


# -- the response's head, whoever made it

cdef bytes field_of(Exchange x, bytes name):
    """The first value of a field, by its lower-case name; None: there is none."""
    cdef list values = fields_of(x, name)
    return values[0] if values else None


cdef list fields_of(Exchange x, bytes name):
    cdef list values = []
    cdef list extra = x.response_extra
    cdef Head head = x.response
    cdef bytes other, value
    cdef int i
    if x.answer is not None:
        extra = x.answer.fields
    else:
        i = head.find(name, len(name), 0)
        while i >= 0:
            values.append(head.value_of(i))
            i = head.find(name, len(name), i + 1)
    if extra is not None:
        for other, value in extra:
            if len(other) == len(name) and other.lower() == name:
                values.append(value)
    return values


cdef int drop_field(Exchange x, bytes name) except -1:
    cdef Head head = x.response
    cdef int i
    if x.answer is not None:
        x.answer.fields = [pair for pair in x.answer.fields if (<bytes>pair[0]).lower() != name]
        return 0
    i = head.find(name, len(name), 0)
    while i >= 0:
        head.fields[i].flags |= DROPPED
        i = head.find(name, len(name), i + 1)
    if x.response_extra is not None:
        x.response_extra = [pair for pair in x.response_extra if (<bytes>pair[0]).lower() != name]
    return 0


cdef int put_field(Exchange x, bytes name, bytes value) except -1:
    """In the place of all of that name."""
    drop_field(x, name.lower())
    if x.answer is not None:
        x.answer.fields.append((name, value))
    elif x.response_extra is not None:
        x.response_extra.append((name, value))
    else:
        x.response_extra = [(name, value)]
    return 0


cdef bint has_token(list values, bytes token):
    """Whether a field that is a list of tokens holds this one, in lower case."""
    cdef bytes value, each
    for value in values:
        for each in value.lower().split(b","):
            if each.strip(b" \t") == token:
                return True
    return False


cdef bytes media_type(bytes value):
    """The type in a Content-Type, without parameters, in lower case."""
    return value.split(b";", 1)[0].strip(b" \t").lower()


cdef bint transformable(Exchange x):
    """Whether a body may be changed at all: it is there whole, in no coding, and nobody has forbidden it."""
    cdef list codings
    if x.status < 200 or x.status == 204 or x.status == 206 or field_of(x, b"content-range") is not None:
        return False
    codings = fields_of(x, b"content-encoding")
    if codings and not (len(codings) == 1 and codings[0].strip(b" \t").lower() in (b"identity", b"")):
        return False
    return not has_token(fields_of(x, b"cache-control"), b"no-transform")


cdef int lose_length(Exchange x) except -1:
    x.reframed = FRAMED_ANEW
    return 0


cdef int replace_body(Exchange x) except -1:
    """Other bytes stand for the body from here on: fields that speak of the ones that were go or are weakened."""
    cdef bytes name
    lose_length(x)
    for name in _DIGESTS:
        if field_of(x, name) is not None:
            drop_field(x, name)
    return weaken_tag(x)


cdef int weaken_tag(Exchange x) except -1:
    """A strong ETag promises each byte (RFC 9110 section 8.8.1)."""
    cdef bytes tag = field_of(x, b"etag")
    if tag is None or tag.startswith(b"W/"):
        return 0
    if tag.startswith(b'"'):
        return put_field(x, b"ETag", b"W/" + tag)
    return drop_field(x, b"etag")
