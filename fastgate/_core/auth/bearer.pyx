"""Bearer tokens (RFC 6750) as a method of authentication.

Theory of operation. The token is looked for in its sources, in their order; the first that has one decides, and one
that is there twice in a source counts as not valid, because whoever is behind the gateway may read the other one. Who
it stands for is looked up by its bytes in a `VerifiedCache`, whose entries end with the token: a token that comes again
costs a hash and a comparison, and no signature. Only what is not found there is judged, in Python; what is refused is
not kept, so that nobody can fill the memory with nonsense.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint64_t
from posix.time cimport CLOCK_REALTIME, clock_gettime, timespec

from fastgate._core.auth.gate cimport REFUSED, UNAVAILABLE, WAITING, ABSENT, Method, VerifiedCache, inquiry_of
from fastgate._core.exchange.identity cimport Identity
from fastgate._core.exchange.exchange cimport Exchange
from fastgate._core.exchange.head cimport AUTHORIZATION, DROPPED, Field, Head, same
from fastgate._core.exchange.request_key cimport find_cookie
from fastgate._core.routing.query cimport Parameter, find_parameter

cdef dict KINDS = {"header": IN_HEADER, "cookie": IN_COOKIE, "query": IN_QUERY}


cdef class TokenMethod(Method):
    def __init__(self, str name, object judge, VerifiedCache cache, *, sources, max_size, owned=(), realm="fastgate"):
        self.name = name
        self.judge = judge
        self.cache = cache
        self.sources = tuple(source_of(source) for source in sources)
        self.max_size = max_size
        self.owned = tuple(field.lower().encode("ascii") for field in owned)
        self.challenge = f'Bearer realm="{realm}"'.encode("ascii")

    cdef int verify(self, Exchange x) except -1:
        cdef const unsigned char* value
        cdef Py_ssize_t length
        cdef bytes token
        cdef Identity identity
        cdef object judgement
        cdef int presence = self.find(x, &value, &length)
        if presence == NO_TOKEN:
            return ABSENT
        if presence == NOT_ONE_TOKEN:
            return self.settle(x, "the request has no token or more than one")
        identity = self.cache.find(value, length, wall_clock())
        if identity is not None:
            return self.grant(x, identity)
        if length > self.max_size:
            return self.settle(x, "the token is too large")
        token = PyBytes_FromStringAndSize(<const char*>value, length)
        judgement = self.judge(token)
        if hasattr(judgement, "__await__"):
            inquiry_of(x).pending = self.wait(x, token, judgement)
            return WAITING
        if isinstance(judgement, tuple):
            identity, until = judgement
            self.cache.keep(token, identity, until)
            return self.grant(x, identity)
        return self.settle(x, judgement)

    async def wait(self, Exchange x, bytes token, awaitable):
        """The rest of `verify`, when a key had to be fetched first."""
        cdef uint64_t generation = x.generation
        cdef object judgement = await awaitable
        if isinstance(judgement, tuple):
            self.cache.keep(token, judgement[0], judgement[1])
            return judgement[0]
        return self.settle(x, judgement) if x.generation == generation else None

    cdef int settle(self, Exchange x, object judgement) except -1:
        """A token that was not granted: the sentence for its client, or None where nobody can say."""
        if judgement is None:
            return UNAVAILABLE
        inquiry_of(x).complaint = (self, judgement)
        return REFUSED

    cdef bytes challenge_to(self, Exchange x, bint refused):
        if refused and inquiry_of(x).complaint is not None and (<tuple>inquiry_of(x).complaint)[0] is self:
            why = (<str>(<tuple>inquiry_of(x).complaint)[1]).encode("ascii")
            return self.challenge + b', error="invalid_token", error_description="' + why + b'"'
        return self.challenge

    cdef int find(self, Exchange x, const unsigned char** value, Py_ssize_t* length) except -1:
        """The token that the request brings, in the first source that has one."""
        cdef Head head = x.request
        cdef Py_ssize_t other
        cdef int presence
        for kind, name in self.sources:
            if kind == IN_COOKIE:
                value[0] = find_cookie(head, name, 0, length)
                presence = NO_TOKEN if value[0] == NULL else \
                    ONE_TOKEN if find_cookie(head, name, 1, &other) == NULL else NOT_ONE_TOKEN
            elif kind == IN_QUERY:
                presence = find_in_query(x, name, value, length)
            else:
                presence = find_field(head, kind, name, value, length)
            if presence == NO_TOKEN:
                continue
            return ONE_TOKEN if presence == ONE_TOKEN and length[0] else NOT_ONE_TOKEN
        return NO_TOKEN


cdef tuple source_of(str source):
    kind, _, name = source.partition(":")
    if source.lower() == "header:authorization":
        return IN_AUTHORIZATION, b"authorization"
    return KINDS[kind], (name.lower() if kind == "header" else name).encode("ascii")


cdef int find_field(
    Head head, int kind, bytes name, const unsigned char** value, Py_ssize_t* length
) except -1:
    """The token in a field: behind ``Bearer``, which only Authorization needs (RFC 9110, 11.1: in any case)."""
    cdef Field* field
    cdef int first = next_field(head, kind, name, 0)
    cdef bint bearer
    if first < 0:
        return NO_TOKEN
    field = &head.fields[first]
    value[0] = head.p + field.value
    length[0] = field.value_length
    bearer = length[0] >= 6 and same(value[0], 6, b"bearer", 6) and (length[0] == 6 or value[0][6] == b" ")
    if bearer:
        value[0] += 6
        length[0] -= 6
        while length[0] and value[0][0] == b" ":
            value[0] += 1
            length[0] -= 1
    elif kind == IN_AUTHORIZATION:
        return NO_TOKEN
    return ONE_TOKEN if next_field(head, kind, name, first + 1) < 0 else NOT_ONE_TOKEN


cdef int next_field(Head head, int kind, bytes name, int start) noexcept:
    """`Head.find`; Authorization is one of the names that were numbered when the head was read."""
    cdef int i
    if kind != IN_AUTHORIZATION:
        return head.find(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name), start)
    for i in range(start, head.count):
        if head.fields[i].id == AUTHORIZATION and not head.fields[i].flags & DROPPED:
            return i
    return -1


cdef int find_in_query(Exchange x, bytes name, const unsigned char** value, Py_ssize_t* length) noexcept:
    """The token in the query, as it stands there: its characters need no percent-encoding.

    Its name may be encoded, as it may be for whoever is behind the gateway.
    """
    cdef Parameter parameter
    if not x.has_query or not find_parameter(x.query, x.query_length, name, 0, &parameter):
        return NO_TOKEN
    value[0] = x.query + parameter.value
    length[0] = parameter.end - parameter.value
    return NOT_ONE_TOKEN if find_parameter(x.query, x.query_length, name, parameter.end + 1, &parameter) else ONE_TOKEN


cdef double wall_clock() noexcept nogil:
    """Seconds since 1970, exactly: by `wall_ms`, which is some milliseconds behind, a token would outlive itself."""
    cdef timespec time
    clock_gettime(CLOCK_REALTIME, &time)
    return <double>time.tv_sec + <double>time.tv_nsec / 1e9
