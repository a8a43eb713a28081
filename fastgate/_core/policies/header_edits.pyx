"""Edits of a route: what its configuration adds to heads, replaces and takes away, and what it answers itself."""

from urllib.parse import quote_from_bytes, unquote_to_bytes

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from fastgate._core.exchange.identity cimport Identity, claim_text
from fastgate._core.exchange.filters cimport begin_request
from fastgate._core.exchange.causes cimport BAD_REWRITE, BAD_VALUE, ROUTE_ANSWERED
from fastgate._core.exchange.exchange cimport PHASE_REQUEST, Answer, Exchange
from fastgate._core.exchange.head cimport DROPPED, RULED, Field, Head, is_host
from fastgate._core.exchange.route cimport (
    CLAIM,
    CLIENT_IP,
    KEY_ID,
    OWN_HOST,
    PARAMETER,
    REQUEST_HOST,
    REQUEST_ID,
    REQUEST_PATH,
    Edits,
    FixedAnswer,
    Template,
)
from fastgate._core.routing.router cimport ABSENT

cdef str _URL = "/%:@!$&'()*+,;=-._~?#[]"
cdef bytes _CONTROLS = bytes([*range(32), 127])


cdef bint alter_request(Exchange x) except -1:
    """All that a route does to a request before its first try. False: it was answered or refused."""
    if x.route.fixed is not None:
        x.phase = PHASE_REQUEST
        x.answer = fixed_answer(x, x.route.fixed)
        if x.answer is not None:
            x.respond(x.answer, ROUTE_ANSWERED)
        else:
            x.refuse(BAD_VALUE)
        return False
    if x.route.request_edits is not None:
        x.request_withheld |= x.route.request_edits.own_of_requests
        x.request_extra = edit(x, x.route.request_edits, x.request, x.request_extra)
        if x.request_extra is None or (x.request_withheld & OWN_HOST and edited_host(x) is None):
            x.refuse(BAD_VALUE)
            return False
    if x.route.rewrite is not None:
        x.forward_path = x.route.rewrite(x.path[:x.path_length])
        if x.forward_path is None:
            x.refuse(BAD_REWRITE)
            return False
    return x.route.request_filters is None or begin_request(x)


cdef list edit(Exchange x, Edits change, Head head, list extra):
    """Applies a route's edits: flags what goes, returns what is added, beside what was.

    None: a value that the client chose cannot stand in a field, and the request has to be refused.
    """
    cdef bint of_request = head is x.request
    if head is not None:
        take_out(head, change, of_request)
    if extra is not None and change.removed:
        extra = [pair for pair in extra if not change.removes(pair[0], len(<bytes>pair[0]), of_request)]
    if extra is None:
        extra = []
    return add(x, change.added, extra, False)


cdef int take_out(Head head, Edits change, bint of_request) except -1:
    """Flags the fields of a head that go."""
    cdef Field* field
    cdef int i
    if change.removed:
        for i in range(head.count):
            field = &head.fields[i]
            if not field.flags & RULED and change.removes(
                head.p + field.name, field.name_length, of_request
            ):
                field.flags |= DROPPED
    return 0


cdef bytes edited_host(Exchange x):
    """The Host that edits have set; None: they have not, or it is none that can be sent."""
    cdef bytes name, value
    for name, value in x.request_extra:
        if len(name) == 4 and name.lower() == b"host":
            return value if is_host(<const unsigned char*>PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value)) else None
    return None


cdef list add(Exchange x, tuple fields, list extra, bint in_url):
    """Appends fields with their values worked out. None: as `edit`."""
    cdef object value
    for name, value in fields:
        if isinstance(value, Template):
            parts = []
            for part in (<Template>value).parts:
                if not isinstance(part, bytes):
                    part = value_of(x, part[0], part[1], in_url)
                    if part is None:
                        return None
                parts.append(part)
            value = b"".join(parts)
        extra.append((name, value))
    return extra


cdef Answer fixed_answer(Exchange x, FixedAnswer fixed):
    """The answer of a route without an upstream; None: as `edit`."""
    cdef Answer answer = Answer.__new__(Answer)
    cdef list fields = add(x, fixed.fields, [], fixed.keeps_query)
    if fields is None:
        return None
    if fixed.keeps_query:
        name, value = fields[0]
        # A path may hold what a URL cannot; and two slashes in front would lead to another host.
        value = quote_from_bytes(value, safe=_URL).encode()
        if value.startswith(b"/"):
            value = b"/" + value.lstrip(b"/")
        if x.has_query and b"?" not in value:
            value += b"?" + x.query[:x.query_length]
        fields[0] = name, value
    answer.code = fixed.status
    answer.fields = fields
    answer.content = fixed.content
    return answer


cdef bytes value_of(Exchange x, int variable, object argument, bint in_url):
    """The value of a variable in a field; None when it holds bytes that cannot stand in one.

    In a URL a parameter is what it was in the path: decoded, its ``%2F``, ``%3F`` and ``%23`` would be read as
    structure. A URL without a host is none: browsers take the first segment for it.
    """
    cdef bytes value = b""
    cdef int i
    if variable == CLIENT_IP:
        value = x.client_ip or b""
    elif variable == REQUEST_ID:
        value = x.id[:x.id_length]
    elif variable == REQUEST_HOST:
        value = x.host[:x.host_length]
        if in_url and not value:
            return None
    elif variable == REQUEST_PATH:
        value = x.path[:x.path_length]
    elif variable == CLAIM or variable == KEY_ID:
        if isinstance(x.identity, Identity):
            value = (<Identity>x.identity).id.encode("utf-8", "surrogatepass") if variable == KEY_ID \
                else claim_text((<Identity>x.identity).claims, argument) or b""
            if not in_url and len(value.translate(None, _CONTROLS)) != len(value):
                return None
    elif variable == PARAMETER and x.entry is not None and argument in x.entry.params:
        i = x.entry.params.index(argument)
        if x.found.capture[i].start != ABSENT:
            value = x.path[x.found.capture[i].start:x.found.capture[i].start + x.found.capture[i].length]
        if b"%" in value and not in_url:
            value = unquote_to_bytes(value)
            if len(value.translate(None, _CONTROLS)) != len(value):
                return None
    return value
