"""Compression of response bodies: who may have what coding, and a body's way into it.

Theory of operation
-------------------
`Compression.open` decides once the head is there (RFC 9110 sections 8.4 and 12.5.3): the type is listed, the body is
large enough, whole and in no coding yet, nobody has forbidden it, and the client takes one of the codings. A response
that would be compressed for another client says so in Vary, compressed or not.

A body that is there at once is compressed at once and has a length. Any other is a stream. Where the upstream gave no
length, each piece is flushed: what it wrote by itself is not held back. Where it gave one, the body is known to come
whole, and the coder keeps what it likes, which saves some per cent.

`Compressor` is a slow filter (see `filters`): it gets at most a slice of a large piece in one turn of the loop.

What it makes of a body that the response cache has stored is kept there (see `exchange.cache_result`), so that a body
is compressed once and not for each client.
"""

from fastgate._core.exchange.cache_result cimport CacheFacts, stored_whole
from fastgate._core.exchange.filters cimport (
    field_of,
    fields_of,
    has_token,
    media_type,
    put_field,
    replace_body,
    transformable,
    weaken_tag,
)
from fastgate._core.exchange.exchange cimport FRAMED_ANEW, FRAMED_AS_SENT, BodyFilter, BodyRule, Exchange, bodiless
from fastgate._core.exchange.head cimport Field, Head, same

cdef enum:
    IDENTITY = -1
    NOTHING = -2               # the client takes no coding of ours, and not the body as it is either
    KNOWN_TYPES = 256


cdef int weight(bytes text) noexcept:
    """A qvalue in thousandths (RFC 9110 section 12.4.2); -1: it is none."""
    cdef const unsigned char* p = text
    cdef Py_ssize_t length = len(text)
    cdef int value
    cdef int scale = 100
    cdef Py_ssize_t i
    if length == 0 or length > 5 or p[0] not in b"01" or (length > 1 and p[1] != b"."):
        return -1
    value = (p[0] - 48) * 1000
    for i in range(2, length):
        if not 48 <= p[i] <= 57:
            return -1
        value += (p[i] - 48) * scale
        scale //= 10
    return value if value <= 1000 else -1


cdef dict weights(bytes accepted):
    """What an Accept-Encoding says: coding in lower case → thousandths. What cannot be read is not there."""
    cdef dict said = {}
    cdef bytes part, name, parameter
    cdef list parameters
    cdef int q
    for part in accepted.lower().split(b","):
        parameters = part.split(b";")
        name = parameters[0].strip(b" \t")
        if not name:
            continue
        q = 1000
        for parameter in parameters[1:]:
            parameter = parameter.strip(b" \t")
            q = weight(parameter[2:].strip(b" \t")) if parameter.startswith(b"q=") else -1
            if q < 0:
                break
        if q < 0:
            continue
        if name == b"x-gzip":
            name = b"gzip"
        if name not in said or q > said[name]:
            said[name] = q
    return said


cpdef int choose_coding(bytes accepted, tuple names) except -3:
    """Index of the coding that a client gets of those in ``names``; -1: the body as it is. -2: that too is refused.

    ``accepted`` is its Accept-Encoding, None where there is none. The highest weight wins, the order of ``names`` among
    equals, and a coding before none, unless the client prefers none in so many words.
    """
    cdef dict said
    cdef int best = IDENTITY
    cdef int most = 0
    cdef int i, q, others, plain
    if accepted is None:
        return IDENTITY
    said = weights(accepted)
    others = said.get(b"*", 0)
    for i in range(len(names)):
        q = said.get(names[i], others)
        if q > most:
            most = q
            best = i
    plain = said.get(b"identity", 0 if b"*" in said and others == 0 else -1)
    if best >= 0:
        return IDENTITY if plain > most else best
    return NOTHING if plain == 0 else IDENTITY


cdef bytes accepted_codings(Exchange x):
    """The client's Accept-Encoding, though the upstream may not get it; None: it sent none."""
    cdef Head head = x.request
    cdef Field* field
    cdef bytes value = None
    cdef int i
    for i in range(head.count):
        field = &head.fields[i]
        if field.name_length == 15 and same(head.p + field.name, 15, b"accept-encoding", 15):
            value = head.value_of(i) if value is None else value + b"," + head.value_of(i)
    return value


cdef int vary(Exchange x) except -1:
    """Says that Accept-Encoding decided, in one Vary with what stands there."""
    cdef list values = fields_of(x, b"vary")
    if not values:
        return put_field(x, b"Vary", b"Accept-Encoding")
    if has_token(values, b"accept-encoding") or has_token(values, b"*"):
        return 0
    return put_field(x, b"Vary", b", ".join([*[value for value in values if value], b"Accept-Encoding"]))


cdef class Coding:
    def __init__(self, name, *, whole, stream, label=""):
        self.name = name.encode("ascii")
        self.label = (label or name).encode()
        self.whole = whole
        self.stream = stream


cdef class Compression(BodyRule):
    def __init__(self, codings, *, types, min_size):
        self.name = "compression"
        self.codings = tuple(codings)
        self.names = tuple((<Coding?>coding).name for coding in self.codings)
        kinds = [kind.lower().encode("ascii") for kind in types]
        self.types = frozenset(kind for kind in kinds if b"*" not in kind)
        self.patterns = tuple(tuple(kind.split(b"*", 1)) for kind in kinds if b"*" in kind)
        self.known = {}
        self.min_size = min_size

    cdef bint suits(self, bytes kind) except -1:
        """Whether the type is listed; never an event stream."""
        cdef object found = self.known.get(kind)
        if found is None:
            found = kind != b"text/event-stream" and (kind in self.types or any(
                [len(kind) >= len(before) + len(after) and kind.startswith(before) and kind.endswith(after)
                 for before, after in self.patterns]
            ))
            if len(self.known) >= KNOWN_TYPES:
                self.known.clear()
            self.known[kind] = found
        return found

    cdef BodyFilter open(self, Exchange x, bytes piece, bint last):
        cdef Compressor compressor
        cdef Made made
        cdef CacheFacts stored
        cdef bytes kind, content
        cdef Py_ssize_t size = -1
        cdef bint known = True
        cdef int chosen
        if x.status == 304:
            # What the client holds has the fields that its 200 had: see there.
            if choose_coding(accepted_codings(x), self.names) >= 0:
                x.reframed = FRAMED_ANEW
                weaken_tag(x)
            vary(x)
            return None
        if not transformable(x):
            return None
        kind = field_of(x, b"content-type")
        if kind is None or not self.suits(media_type(kind)):
            return None
        if x.answer is not None:
            size = len(x.answer.content)
        elif x.reframed == FRAMED_AS_SENT and x.response.content_length >= 0:
            size = x.response.content_length
        else:
            known = False
            if last and not bodiless(x):
                size = len(piece)
        chosen = choose_coding(accepted_codings(x), self.names)
        if chosen == NOTHING or size == 0 or (0 <= size < self.min_size and not refuses_identity(x)):
            chosen = IDENTITY
        # Also where it is small: who refuses it as it is gets it compressed.
        vary(x)
        if chosen == IDENTITY:
            return None
        replace_body(x)
        put_field(x, b"Content-Encoding", (<Coding>self.codings[chosen]).name)
        if bodiless(x):
            return None
        stored = stored_whole(x)
        if stored is not None:
            content = stored.version((<Coding>self.codings[chosen]).label)
            if content is not None:
                made = Made.__new__(Made)
                made.name = self.name
                made.content = content
                return made
        compressor = Compressor.__new__(Compressor)
        compressor.stored = stored
        compressor.name = self.name
        compressor.slow = True
        compressor.coding = <Coding>self.codings[chosen]
        compressor.flushes = not known
        return compressor


cdef bint refuses_identity(Exchange x) except -1:
    return choose_coding(accepted_codings(x), ()) == NOTHING


cdef class Compressor(BodyFilter):
    cdef bytes feed(self, Exchange x, bytes piece, bint last, bint more):
        cdef bytes made = self.encode(piece, last, more)
        if self.stored is None:
            return made
        if self.made is None:
            self.made = []
        self.made.append(made)
        if last:
            # All of it was read: the next client gets it as it is.
            self.stored.keep_version(self.coding.label, b"".join(self.made))
        return made

    cdef bytes encode(self, bytes piece, bint last, bint more):
        cdef bytes made
        if not self.begun:
            self.begun = True
            if last:
                return self.coding.whole(piece)
            self.take, self.flush, self.finish = self.coding.stream()
        made = self.take(piece) if piece else b""
        if last:
            return made + self.finish()
        if self.flushes and piece and not more:
            made += self.flush()
        return made


cdef class Made(BodyFilter):
    cdef bytes feed(self, Exchange x, bytes piece, bint last, bint more):
        cdef bytes content = self.content
        self.content = b""
        return content
