"""Requests whose fields are, byte by byte, those of one before: they are not read again.

Theory of operation
-------------------
A client that keeps its connection asks for one thing after the other with the same fields: the script of a page, a
service with a pool of connections, a probe. Two parsers read each head (`Head` and httptools), which is a third of what
a request costs in this process. What they find depends on the method, the version, the fields and the limits of the
configuration; the target is only split off. So a head that both have accepted is kept without its target, with the
index of its fields, and a request that has the same bytes around another target has the same index, moved.

Equal is what `memcmp` calls equal: no hash decides. What is kept has no body, no Expect, no Upgrade, no Connection:
close and is of HTTP/1.1, so neither parser has anything in mind afterwards. A target counts that begins with "/" and
has only bytes that no parser can take for something else (`PLAIN`); every other one is read as usual, and so is a head
that does not come in one piece.

A worker knows `REPEATS` heads, by a keyed hash of their bytes: what is alike has one place, whoever sent it. A
connection knows the place of its own and that nothing else was kept there since (`Expected`); it is never compared with
what another one has sent. It keeps one at the second request, if that has fields of the same length as the first, and
gives up for a while where several in a row were not alike: who sends a new trace id each time pays a few comparisons. A
reload begins anew, as limits may be others.
"""

from libc.stdint cimport uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy, memset

from fastgate._core.exchange.head cimport PROXY_CONNECTION, Field, Head
from fastgate._core.exchange.route cimport Runtime
from fastgate._core.exchange.worker cimport Engine
from fastgate._core.memory.hashing cimport siphash

cdef enum:
    MOST_TARGET = 2048                 # bytes; a longer one is read as usual
    VERSION = 11                       # bytes of what stands behind a target
    MOST_STRANGE = 8                   # heads in a row that were not alike, before none is expected for 248 requests

cdef const char* BEHIND = b" HTTP/1.1\r\n"

cdef uint8_t PLAIN[256]                # bytes of a target that may stand in any part of it


cdef int prepare() except -1:
    cdef int byte
    memset(PLAIN, 0, sizeof(PLAIN))
    for byte in _PLAIN_BYTES:
        PLAIN[byte] = 1
    return 0


_PLAIN_BYTES = b"/-._~%?=&+:@!$'()*,;0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
prepare()


cdef class Repeats:
    """The heads that a worker knows, in one configuration."""

    def __cinit__(self):
        memset(self.known, 0, sizeof(self.known))

    def __dealloc__(self):
        cdef int place
        for place in range(REPEATS):
            free(self.known[place].fields)

    cdef int keep(self, Head head) except -2:
        cdef Py_ssize_t line = head.target.start + head.target.length + VERSION
        cdef Py_ssize_t method = head.target.start
        cdef Py_ssize_t length = head.length - line
        cdef const unsigned char* lines = head.p + line
        cdef Known* known
        cdef Field* field
        cdef int place, number
        if (
            head.minor_sent != 1 or head.content_length > 0 or head.chunked or head.close or head.upgrade != -1
            or head.expect >= 0 or head.seen & <uint32_t>1 << PROXY_CONNECTION or head.count > MOST_FIELDS
            or method + length > MOST_BYTES or method != <Py_ssize_t>head.method.length + 1
        ):
            return -1
        place = <int>(siphash(<const unsigned char*>self.secret, lines, length) & (REPEATS - 1))
        known = &self.known[place]
        if known.fields != NULL and known.method_length == method and known.length == length \
                and memcmp(known.method, head.p, method) == 0 and memcmp(known.lines, lines, length) == 0:
            return place
        free(known.fields)
        known.fields = <Field*>malloc(head.count * sizeof(Field) + method + length)
        if known.fields == NULL:
            raise MemoryError
        known.method = <unsigned char*>&known.fields[head.count]
        known.lines = known.method + method
        memcpy(known.fields, head.fields, head.count * sizeof(Field))
        memcpy(known.method, head.p, method)
        memcpy(known.lines, lines, length)
        for number in range(head.count):
            field = &known.fields[number]
            field.name -= <uint32_t>line
            field.value -= <uint32_t>line
        known.number += 1
        known.method_length = method
        known.length = length
        known.count = head.count
        known.content_length = head.content_length
        known.host = head.host
        known.connection = head.connection
        known.seen = head.seen
        known.keep_alive = head.keep_alive
        known.has_forwarded = head.has_forwarded
        known.upgrade_named = head.upgrade_named
        return place

    cdef Py_ssize_t read(
        self, int place, Head head, const unsigned char* p, Py_ssize_t length, Py_ssize_t max_bytes
    ) except -1:
        cdef Known* known = &self.known[place]
        cdef const Field* one
        cdef Field* field
        cdef Field* end
        cdef Py_ssize_t i = known.method_length
        cdef Py_ssize_t stop = i + MOST_TARGET
        cdef Py_ssize_t size
        # One byte of a target at least. Behind the last byte of what came is a zero, which is no byte of a target.
        if known.fields == NULL or length < i + 1 + VERSION + known.length or memcmp(p, known.method, i) != 0 \
                or p[i] != b"/":
            return 0
        while i < stop and PLAIN[p[i]]:
            i += 1
        size = i + VERSION + known.length
        if length < size or size > max_bytes or memcmp(p + i, BEHIND, VERSION) != 0 \
                or memcmp(p + i + VERSION, known.lines, known.length) != 0:
            return 0
        # As many as are known, or it grows.
        head.lines = known.count + 1
        if known.count > head.capacity and not head.grow():
            raise MemoryError
        head.p = p
        head.length = size
        head.method.start = 0
        head.method.length = <uint32_t>(known.method_length - 1)
        head.target.start = <uint32_t>known.method_length
        head.target.length = <uint32_t>(i - known.method_length)
        head.minor = head.minor_sent = 1
        i += VERSION
        one = known.fields
        field = head.fields
        end = field + known.count
        while field < end:
            field[0] = one[0]
            field.name += <uint32_t>i
            field.value += <uint32_t>i
            field += 1
            one += 1
        head.count = known.count
        head.content_length = known.content_length
        head.host = known.host
        head.connection = known.connection
        head.seen = known.seen
        head.keep_alive = known.keep_alive
        head.has_forwarded = known.has_forwarded
        head.upgrade_named = known.upgrade_named
        self.matched += 1
        return size


cdef Py_ssize_t again(
    Engine engine, Expected* expected, Head head, const unsigned char* p, Py_ssize_t length, Py_ssize_t max_bytes
) except -1:
    cdef Repeats repeats
    cdef Py_ssize_t size
    if expected.place < 0 or head.at or engine.repeats is None:
        return 0
    repeats = <Repeats>engine.repeats
    if repeats.known[expected.place].number != expected.number:
        # Another one is kept there by now: it begins anew.
        expected.place = -1
        return 0
    size = repeats.read(expected.place, head, p, length, max_bytes)
    if size:
        expected.strange = 0
    return size


cdef int remember(Engine engine, Expected* expected, Head head, Runtime runtime) except -1:
    cdef Repeats repeats
    cdef Py_ssize_t lines = head.length - head.target.start - head.target.length
    if expected.place >= 0 or expected.strange >= MOST_STRANGE:
        expected.strange += 1          # of 255 the next is 0
    if expected.strange >= MOST_STRANGE or lines > 65535:
        return 0
    # One that comes between others which are alike does not take their place.
    if lines == expected.lines and expected.strange != 1 and runtime is engine.runtime:
        if engine.repeats is None:
            repeats = Repeats.__new__(Repeats)
            repeats.secret[0] = engine.random()
            repeats.secret[1] = engine.random()
            engine.repeats = repeats
        repeats = <Repeats>engine.repeats
        expected.place = <short>repeats.keep(head)
        if expected.place >= 0:
            expected.number = repeats.known[expected.place].number
    expected.lines = <unsigned short>lines
    return 0
