"""Trailers, the fields behind a body (RFC 9110 section 6.5): declared in exchange.pxd, part of exchange.pyx.

Theory of operation
-------------------
A wire puts the lines of a trailer section, each ``name: value`` with CRLF, into ``trailers`` of the head of that
message, and says so (`request_trailers`, `response_trailers`) before it hands over the last piece of the body. What may
go on stays there, and the other side sends it behind the last piece (`answer_trailers`). So trailers go where their
head goes: through filters and buffers, with an answer that is kept while there is another try, into copies of a
request.

Those of a request go on where the route says so, those of a response where the client has said ``TE: trailers``. Never
passed are fields that whoever reads them must have before the body (section 6.5.1: framing, routing, authentication,
request modifiers, control data, the content's format), fields that end here or are the gateway's own, and names that
edits, policies or the sender's Connection have taken out of the head: nothing can be said behind a body that cannot be
said before it. Digests of a body go only where that body goes as it came.
"""

from fastgate._core.exchange.causes cimport REJECTED_FIELD_NAME, TRAILERS_TOO_LARGE
from fastgate._core.exchange.head cimport (
    DROPPED,
    NAMES_PASS,
    NAMES_REJECT,
    TE,
    TRAILER,
    folded_name,
    is_token,
    same_variable,
    spells_known,
)
from fastgate._core.exchange.route cimport own_variable

# As `folded_name` gives them; beside these all names that a head knows by number.
cdef frozenset _NEVER_BEHIND = frozenset((
    b"age", b"alt_svc", b"cache_control", b"clear_site_data", b"expires", b"location", b"max_forwards", b"origin",
    b"pragma", b"range", b"refresh", b"retry_after", b"set_cookie", b"strict_transport_security", b"vary", b"warning",
    b"www_authenticate", b"x_http_method", b"x_http_method_override", b"x_method_override", b"x_original_url",
    b"x_rewrite_url",
))
cdef tuple _NEVER_BEGINNING = (b"accept_", b"access_control_", b"content_", b"if_", b"proxy_", b"sec_")
cdef frozenset _DIGESTS = frozenset((b"content_digest", b"content_md5", b"digest", b"repr_digest"))
cdef bytes _PLAIN = b"-0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


cdef int request_trailers(Exchange x) except -1:
    """Fields lie in ``trailers`` of the request, and the last piece of its body comes next: those that may go on stay
    there. OK, or what to refuse the request for.
    """
    if x.route is None:
        # `Exchange.open` asks when it is known.
        return OK
    if x.route.trailers:
        return sort_trailers(x, x.request, True)
    x.request.trailers = None
    return OK


cdef int response_trailers(Exchange x, Head head) except -1:
    """Fields lie in ``trailers`` of the head of an answer, which is that of `Delivery.arriving`, and the last piece of
    its body comes next. OK, or what the response is refused for, as of a request.
    """
    if accepts_trailers(x):
        return sort_trailers(x, head, False)
    head.trailers = None
    return OK


cdef bytes answer_trailers(Exchange x):
    """The lines of fields behind the body of the answer; None: there are none."""
    if x.answer is not None or x.response.trailers is None:
        return None
    return x.response.trailers if x.reframed == FRAMED_AS_SENT else without_digests(x.response.trailers)


cdef int sort_trailers(Exchange x, Head head, bint of_request) except -1:
    """Leaves of the head's trailers those that may go on. OK, or what to refuse the message for."""
    cdef bytes line, name, value
    cdef list passed = []
    cdef bytes lines = head.trailers
    head.trailers = None
    if lines.count(b"\r\n") > head.limit:
        return TRAILERS_TOO_LARGE
    for line in lines.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if of_request and name.translate(None, _PLAIN) and x.runtime.field_names != NAMES_PASS:
            if x.runtime.field_names == NAMES_REJECT:
                return REJECTED_FIELD_NAME
        elif name and may_trail(x, head, name, of_request):
            passed.append(b"%b: %b\r\n" % (name, value.strip(b" \t")))
    head.trailers = b"".join(passed) or None
    if of_request and x.filtering:
        head.trailers = without_digests(head.trailers)
    return OK


cdef bint may_trail(Exchange x, Head head, bytes name, bint of_request) except -1:
    """Whether a field of this name may stand behind the body of this message."""
    cdef const unsigned char* text = <const unsigned char*>PyBytes_AS_STRING(name)
    cdef Py_ssize_t length = PyBytes_GET_SIZE(name)
    cdef bytes folded = folded_name(name)
    cdef list extra = x.request_extra if of_request else x.response_extra
    cdef Field* field
    cdef object step
    cdef int i
    if not is_token(text, length) or spells_known(text, length) or folded in _NEVER_BEHIND:
        return False
    if folded.startswith(_NEVER_BEGINNING) and folded not in _DIGESTS:
        return False
    if own_variable(folded, x.runtime.request_id_variable):
        return False
    if extra is not None and folded in [folded_name(<bytes>pair[0]) for pair in extra]:
        return False
    for i in range(head.count):
        field = &head.fields[i]
        if field.flags & DROPPED and same_variable(head.p + field.name, field.name_length, folded, length):
            return False
    if not of_request:
        return x.route.edits is None or not (<AnswerEdits>x.route.edits).owns(folded)
    if x.route.on_request is not None:
        for step in x.route.on_request:
            if isinstance(step, Gate) and (<Gate>step).owns(folded):
                return False
    return True


cdef bytes without_digests(bytes lines):
    """The lines for a body that is not the one they came with; None: none is left."""
    cdef bytes line
    if lines is None:
        return None
    return b"".join([
        line for line in lines.splitlines(True) if folded_name(line.partition(b":")[0]) not in _DIGESTS
    ]) or None


cdef bint accepts_trailers(Exchange x) noexcept:
    """Whether the client takes fields behind the body of its answer (RFC 9110 section 10.1.4)."""
    cdef Head head = x.request
    cdef const unsigned char* p
    cdef Py_ssize_t length, start, end
    cdef int i
    if not head.seen & (1 << TE) or head.minor == 0 or x.is_head:
        return False
    for i in range(head.count):
        if head.fields[i].id != TE:
            continue
        p = head.p + head.fields[i].value
        length = head.fields[i].value_length
        start = 0
        while start < length:
            end = start
            while end < length and p[end] != b"," and p[end] != b" " and p[end] != b"\t":
                end += 1
            if same(p + start, end - start, b"trailers", 8):
                return True
            start = end + 1
    return False


cdef bytes announced_trailers(Exchange x, Head head):
    """The Trailer field that is sent for that of a head, with its line end (RFC 9110 section 6.6.2): names that may go
    on. None: there is none.
    """
    cdef bint of_request = head is x.request
    cdef list names = []
    cdef bytes name
    cdef int i
    if not head.seen & (1 << TRAILER) or not (x.route.trailers if of_request else accepts_trailers(x)):
        return None
    for i in range(head.count):
        if head.fields[i].id == TRAILER:
            names += [name.strip(b" \t") for name in head.value_of(i).split(b",")]
    names = [name for name in names if may_trail(x, head, name, of_request)]
    return b"Trailer: %b\r\n" % b", ".join(names) if names else None
