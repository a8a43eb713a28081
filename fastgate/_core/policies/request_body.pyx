"""Gates that look at the body of a request: what kind it is, and what is in it.

Theory of operation. What is announced is looked at in the head; none makes an object for a request that passes, but for
`BodyCheck`, which waits until the whole body is there.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.string cimport memcmp

from fastgate._core.exchange.causes cimport BAD_CONTENT_TYPE
from fastgate._core.exchange.exchange cimport ENDED, PASSED, Exchange, Gate, policy_failed, wait_on
from fastgate._core.exchange.head cimport Head, same

cdef enum:
    LONG = 16384               # bytes; the look at a longer body is taken in a thread


cdef bint has_body(Exchange x) noexcept:
    """Whether a body was announced that has something in it, or may have."""
    return x.request.content_length > 0 or x.request.chunked


cdef bint takes_body(Exchange x) noexcept:
    """Whether the method is one that sends something: POST, PUT or PATCH."""
    cdef const unsigned char* p = x.request.p
    cdef Py_ssize_t length = x.request.method.length
    return (length == 4 and memcmp(p, b"POST", 4) == 0) or (length == 3 and memcmp(p, b"PUT", 3) == 0) \
        or (length == 5 and memcmp(p, b"PATCH", 5) == 0)


cdef class ContentTypes(Gate):
    def __init__(self, ranges, *, plain=False):
        parts = []
        for each in ranges:
            before, star, after = each.lower().partition("*")
            if each == "*/*":
                before = after = ""
            parts.append((before.encode("ascii"), after.encode("ascii") if star else None))
        self.ranges = tuple(parts)
        self.accept = ", ".join(ranges).encode("ascii")
        self.plain = plain

    cdef int enter(self, Exchange x) except -1:
        cdef Head head = x.request
        if not has_body(x):
            return PASSED
        if not self.accepts(x):
            x.refusal_of = BAD_CONTENT_TYPE
            x.refusal_fields = [(b"Accept", self.accept)]
            if head.method.length == 5 and memcmp(head.p, b"PATCH", 5) == 0:
                # RFC 5789 section 3.1
                x.refusal_fields.append((b"Accept-Patch", self.accept))
        elif self.plain and head.find(b"content-encoding", 16, 0) >= 0:
            x.refusal_of = BAD_CONTENT_TYPE
            x.refusal_fields = [(b"Accept-Encoding", b"identity")]
            x.refusal_detail = "This route accepts request bodies only without a content coding."
        else:
            return PASSED
        x.refuse(BAD_CONTENT_TYPE)
        return ENDED

    cdef bint accepts(self, Exchange x) except -1:
        """Whether there is one Content-Type, and its media type is in one of the ranges; parameters do not matter."""
        cdef Head head = x.request
        cdef int at = head.find(b"content-type", 12, 0)
        cdef const unsigned char* text
        cdef Py_ssize_t length = 0
        cdef Py_ssize_t size
        cdef bytes before, after
        if at < 0 or head.find(b"content-type", 12, at + 1) >= 0:
            return False
        text = head.p + head.fields[at].value
        while length < head.fields[at].value_length and text[length] not in b";, \t":
            length += 1
        size = length
        while size < head.fields[at].value_length and text[size] in b" \t":
            size += 1
        if size < head.fields[at].value_length and text[size] != c";":
            return False
        for before, after in self.ranges:
            if after is None:
                if same(text, length, PyBytes_AS_STRING(before), PyBytes_GET_SIZE(before)):
                    return True
                continue
            size = PyBytes_GET_SIZE(after)
            if length > PyBytes_GET_SIZE(before) + size \
                    and same(text, PyBytes_GET_SIZE(before), PyBytes_AS_STRING(before), PyBytes_GET_SIZE(before)) \
                    and same(text + length - size, size, PyBytes_AS_STRING(after), size):
                return True
        return False


def measure(bytes text not None, Py_ssize_t max_depth, Py_ssize_t max_values):
    """How deep a JSON text is nested and how many values and names it has, before anything is made of it.

    The look ends where one of both is above its bound.
    """
    cdef const unsigned char* p = <const unsigned char*>PyBytes_AS_STRING(text)
    cdef Py_ssize_t length = PyBytes_GET_SIZE(text)
    cdef Py_ssize_t i = 0
    cdef Py_ssize_t depth = 0
    cdef Py_ssize_t deepest = 0
    cdef Py_ssize_t values = 0
    cdef bint in_string = False
    cdef bint in_word = False    # a number, true, false or null
    with nogil:
        while i < length and deepest <= max_depth and values <= max_values:
            if in_string:
                if p[i] == c"\\":
                    i += 1
                elif p[i] == c'"':
                    in_string = False
            elif p[i] == c'"':
                in_string = True
                in_word = False
                values += 1
            elif p[i] == c"[" or p[i] == c"{":
                in_word = False
                values += 1
                depth += 1
                if depth > deepest:
                    deepest = depth
            elif p[i] == c"]" or p[i] == c"}":
                in_word = False
                depth -= 1
            elif p[i] == c"," or p[i] == c":" or p[i] <= c" ":
                in_word = False
            elif not in_word:
                in_word = True
                values += 1
            i += 1
    return deepest, values


cdef class BodyCheck(Gate):
    def __init__(self, check, executor=None):
        self.check = check
        self.executor = executor

    cdef int enter(self, Exchange x) except -1:
        if not has_body(x) and not takes_body(x):
            return PASSED
        if not x.request_complete or x.body_kept > LONG:
            wait_on(x, self.wait(x))
            return ENDED
        return self.look(x)

    cdef int look(self, Exchange x) except -1:
        try:
            self.check(b"".join(x.body) if x.body is not None else b"")
        except Exception as error:
            policy_failed(x, error)
            return ENDED
        return PASSED

    async def wait(self, Exchange x):
        """The rest of `enter`, when the body is not there yet, or takes long."""
        cdef bytes body = await x.read_body(True)
        if len(body) > LONG:
            await x.engine.loop.run_in_executor(self.executor, self.check, body)
        else:
            self.check(body)
