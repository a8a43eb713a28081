"""CORS (Fetch standard, section 3.2): what browsers are told of who may read an answer.

Theory of operation
-------------------
`CrossOrigin` is a stamp: its fields are on every answer of a route, whoever gave it, the upstream, a policy, the
gateway in its own trouble. It looks once at the names that are there, takes away what is the gateway's, and copies
lines that were assembled when the route was compiled.

CORS is no access control. A browser sends a request first and asks then whether the page may read the answer; so a
request from any origin is served, and only the fields say for whom. Answers that depend on the origin say so (Vary),
also to requests without one, or a cache would give them to others. A listed origin is one lookup in a dict; what
wildcards and expressions say of others is remembered there, of `MAX_KNOWN` origins at most.

What is not a simple request asks beforehand: OPTIONS with Origin and Access-Control-Request-Method, the preflight. It
is looked up as the method that it asks for (`resolve.find_preflight`), because that one's route has the rules, and
answered by `PreflightGate` before any limit or authentication: browsers send no credentials with it. The answer names
what was asked for and is allowed, and nothing else; the browser compares. `*` is never answered for methods and request
fields: it is no wildcard where credentials are, and never one for Authorization.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint32_t
from libc.string cimport memcmp

from fastgate._core.exchange.causes cimport GATEWAY_ANSWERED
from fastgate._core.exchange.exchange cimport ENDED, PASSED, Answer, Exchange, Gate, Stamp
from fastgate._core.exchange.head cimport DROPPED, Field, Head, is_token, same
from fastgate._core.memory.buffer cimport Buffer, put_bytes

cdef enum:
    MAX_KNOWN = 1024           # origins of which a route remembers whether they suit
    MAX_ORIGIN = 300           # bytes; longer ones are no host's


cdef class CrossOrigin:
    def __init__(
        self, *, origins=(), wildcards=(), expressions=(), any_origin=False, methods=None, headers=None, expose=(),
        expose_all=False, credentials=False, max_age=0, private_network=False
    ):
        self.credentials = credentials
        self.every = self.allow(b"*") if any_origin else None
        self.listed = {origin: self.allow(origin) for origin in (text.encode("ascii") for text in origins)}
        self.known = dict(self.listed)
        self.wildcards = tuple((before.encode("ascii"), after.encode("ascii")) for before, after in wildcards)
        self.expressions = tuple(expressions)
        self.methods = frozenset(name.encode("ascii") for name in methods) if methods is not None else None
        self.headers = frozenset(name.lower().encode("ascii") for name in headers) if headers is not None else None
        # With credentials browsers read a `*` as the name of a field.
        self.exposes_all = expose_all and credentials
        names = "*" if expose_all and not credentials else ", ".join(expose)
        self.expose = b"Access-Control-Expose-Headers: %b\r\n" % names.encode("ascii") if names else None
        self.max_age = b"%d" % max_age
        self.private_network = private_network
        self.vary = None if any_origin else b"Vary: Origin\r\n"
        asked = [] if any_origin else [b"Origin"]
        asked += [b"Access-Control-Request-Method", b"Access-Control-Request-Headers"]
        if private_network:
            asked.append(b"Access-Control-Request-Private-Network")
        self.preflight_vary = b", ".join(asked)

    def allow(self, bytes origin):
        """The lines that let an origin read the answer."""
        cdef bytes lines = b"Access-Control-Allow-Origin: %b\r\n" % origin
        return lines + b"Access-Control-Allow-Credentials: true\r\n" if self.credentials else lines

    cdef bytes lines(self, Exchange x):
        """The lines for the origin of a request; None: it is none that may read the answer."""
        cdef Head head = x.request
        cdef bytes origin = None
        cdef bytes lines
        cdef int i
        if self.every is not None:
            return self.every
        # Also where a route takes the field away from the upstream.
        for i in range(head.count):
            if head.fields[i].name_length == 6 and same(head.p + head.fields[i].name, 6, b"origin", 6):
                if origin is not None:
                    return None
                origin = head.value_of(i)
        if origin is None:
            return None
        lines = self.known.get(origin)
        if lines is None and (self.wildcards or self.expressions):
            lines = self.match(origin)
        return lines if lines else None

    cdef bytes match(self, bytes origin):
        """What wildcards and expressions say of an origin: its lines, or ``b""``."""
        cdef bytes lines = b""
        if PyBytes_GET_SIZE(origin) > MAX_ORIGIN or b"://" not in origin:
            return lines
        if self.suits(origin):
            lines = self.allow(origin)
        if len(self.known) >= len(self.listed) + MAX_KNOWN:
            self.known = dict(self.listed)
        self.known[origin] = lines
        return lines

    cpdef bint suits(self, bytes origin) except -1:
        """Whether a wildcard or an expression stands for an origin."""
        cdef bytes before, after
        for before, after in self.wildcards:
            if is_below(origin, before, after):
                return True
        for fullmatch in self.expressions:
            if fullmatch(origin) is not None:
                return True
        return False

    cdef list preflight_fields(self, Exchange x):
        """The answer to a preflight, without what every answer has."""
        cdef Head head = x.request
        cdef list fields = [(b"Vary", self.preflight_vary)]
        cdef list names = []
        cdef bytes asked
        cdef int i
        if self.lines(x) is None:
            return fields
        asked = head.value_of(head.find(b"access-control-request-method", 29, 0))
        if self.methods is None or asked in self.methods:
            fields.append((b"Access-Control-Allow-Methods", asked))
        i = head.find(b"access-control-request-headers", 30, 0)
        while i >= 0:
            for name in head.value_of(i).lower().split(b","):
                name = name.strip(b" \t")
                if is_token(<const unsigned char*>PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name)) \
                        and (self.headers is None or name in self.headers):
                    names.append(name)
            i = head.find(b"access-control-request-headers", 30, i + 1)
        if names:
            fields.append((b"Access-Control-Allow-Headers", b", ".join(names)))
        fields.append((b"Access-Control-Max-Age", self.max_age))
        if self.private_network:
            i = head.find(b"access-control-request-private-network", 38, 0)
            if i >= 0 and head.value_of(i) == b"true":
                fields.append((b"Access-Control-Allow-Private-Network", b"true"))
        return fields

    cdef list stamp(self, Exchange x, list extra, uint32_t withheld, Buffer* buffer):
        cdef Head head = x.response
        cdef bint varies = False
        cdef Field* field
        cdef bytes name, value, lines, expose
        cdef tuple pair
        cdef list left
        cdef int i
        if x.answer is None:
            for i in range(head.count):
                field = &head.fields[i]
                if (field.name_length == 4 or field.name_length > 15) and not field.flags & DROPPED and self.displaces(
                        x, &varies, head.p + field.name, field.name_length, head.p + field.value, field.value_length):
                    field.flags |= DROPPED
        if extra:
            left = []
            for pair in extra:
                name, value = pair
                if not self.displaces(
                        x, &varies, <const unsigned char*>PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name),
                        <const unsigned char*>PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value)):
                    left.append(pair)
            extra = left
        lines = self.lines(x)
        if lines is not None:
            put_bytes(buffer, lines)
            if not x.preflight:
                expose = names_line(x, extra) if self.exposes_all else self.expose
                if expose is not None:
                    put_bytes(buffer, expose)
        if self.vary is not None and not varies:
            put_bytes(buffer, self.vary)
        return extra

    cdef bint displaces(
        self, Exchange x, bint* varies, const unsigned char* name, Py_ssize_t length, const unsigned char* value,
        Py_ssize_t value_length
    ) noexcept:
        """Whether a field of the answer has to go; ``varies``: the answer says that it depends on the origin."""
        if length == 4 and same(name, 4, b"vary", 4):
            if lists_origin(value, value_length):
                varies[0] = True
        elif length > 15 and same(name, 15, b"access-control-", 15):
            # A preflight was answered here: those are ours.
            return not x.preflight
        return False


cdef bint is_below(bytes origin, bytes before, bytes after) noexcept:
    """Whether an origin has one label or more of a host name between these two."""
    cdef const unsigned char* p = <const unsigned char*>PyBytes_AS_STRING(origin)
    cdef Py_ssize_t at = PyBytes_GET_SIZE(before)
    cdef Py_ssize_t end = PyBytes_GET_SIZE(origin) - PyBytes_GET_SIZE(after)
    cdef bint in_label = False
    if at >= end or memcmp(p, PyBytes_AS_STRING(before), at) != 0 \
            or memcmp(p + end, PyBytes_AS_STRING(after), PyBytes_GET_SIZE(after)) != 0:
        return False
    while at < end:
        if p[at] == b".":
            if not in_label:
                return False
            in_label = False
        elif b"a" <= p[at] <= b"z" or b"0" <= p[at] <= b"9" or p[at] == b"-" or p[at] == b"_":
            in_label = True
        else:
            return False
        at += 1
    return in_label


cdef bint lists_origin(const unsigned char* value, Py_ssize_t length) noexcept:
    """Whether a Vary names Origin, or `*`."""
    cdef Py_ssize_t start = 0
    cdef Py_ssize_t end, stop
    while start < length:
        end = start
        while end < length and value[end] != b",":
            end += 1
        stop = end
        while start < stop and (value[start] == b" " or value[start] == b"\t"):
            start += 1
        while stop > start and (value[stop - 1] == b" " or value[stop - 1] == b"\t"):
            stop -= 1
        if (stop - start == 1 and value[start] == b"*") or same(value + start, stop - start, b"origin", 6):
            return True
        start = end + 1
    return False


cdef bytes names_line(Exchange x, list extra):
    """The names of the fields of this answer: what `*` says where there are no credentials."""
    cdef Head head = x.response
    cdef dict names = {b"content-length": None, b"date": None}
    cdef Field* field
    cdef int i
    if x.answer is None:
        for i in range(head.count):
            field = &head.fields[i]
            if not field.flags & DROPPED:
                names[(<const char*>head.p)[field.name:field.name + field.name_length].lower()] = None
    for name, _ in extra or ():
        names[(<bytes>name).lower()] = None
    if x.runtime.request_id is not None:
        names[x.runtime.request_id_lower] = None
    for each in x.route.stamps:
        (<Stamp>each).name(x, names)
    # No page may read these, whatever is said.
    names.pop(b"set-cookie", None)
    names.pop(b"set-cookie2", None)
    return b"Access-Control-Expose-Headers: %b\r\n" % b", ".join(names)


cdef class PreflightGate(Gate):
    def __init__(self, CrossOrigin cors):
        self.cors = cors

    cdef int enter(self, Exchange x) except -1:
        cdef Answer answer
        if not x.preflight:
            return PASSED
        answer = Answer.__new__(Answer)
        answer.code = 204
        answer.fields = self.cors.preflight_fields(x)
        x.respond(answer, GATEWAY_ANSWERED)
        return ENDED
