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

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcmp, memset

from fastgate._core.exchange.field_lines cimport names_in
from fastgate._core.exchange.head cimport PROXY_CONNECTION, Field, Head, is_host
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


cdef class Known:
    """A head that was read, without its target."""

    cdef Py_ssize_t read(
        self, Head head, const unsigned char* p, Py_ssize_t length, Py_ssize_t max_bytes
    ) except -1:
        cdef Py_ssize_t lines = PyBytes_GET_SIZE(self.lines)
        cdef Py_ssize_t method = PyBytes_GET_SIZE(self.method)
        cdef Py_ssize_t i = method
        cdef Py_ssize_t size
        # One byte of a target at least. Behind the last byte of what came is a zero, which is no byte of a target.
        if length < i + 1 + VERSION + lines or memcmp(p, PyBytes_AS_STRING(self.method), i) != 0 or p[i] != b"/":
            return 0
        while i < method + MOST_TARGET and PLAIN[p[i]]:
            i += 1
        size = i + VERSION + lines
        if length < size or size > max_bytes or memcmp(p + i, BEHIND, VERSION) != 0 \
                or memcmp(p + i + VERSION, PyBytes_AS_STRING(self.lines), lines) != 0:
            return 0
        head.copy(self.head)
        head.p = p
        head.length = size
        head.target.length = <uint32_t>(i - method)
        move_fields(head, i + VERSION)
        return size


cdef inline void move_fields(Head head, Py_ssize_t by) noexcept:
    """So many bytes more stand before them; less, where it is below 0."""
    cdef Field* field = head.fields
    cdef Field* end = field + head.count
    while field < end:
        field.name += <uint32_t>by
        field.value += <uint32_t>by
        field += 1


cdef class Repeats:
    """The heads that a worker knows, in one configuration."""

    def __cinit__(self):
        self.known = [None] * REPEATS

    cdef int keep(self, Head head) except -2:
        cdef Py_ssize_t line = head.target.start + head.target.length + VERSION
        cdef const unsigned char* p = head.p
        cdef bytes lines, method
        cdef Known known
        cdef int place
        if (
            head.minor_sent != 1 or head.content_length > 0 or head.chunked or head.close or head.upgrade != -1
            or head.expect >= 0 or head.seen & <uint32_t>1 << PROXY_CONNECTION or head.count > MOST_FIELDS
            or head.target.start + head.length - line > MOST_BYTES or head.target.start != head.method.length + 1
        ):
            return -1
        method = p[:head.target.start]
        lines = p[line:head.length]
        place = <int>(siphash(
            <const unsigned char*>self.secret, PyBytes_AS_STRING(lines), PyBytes_GET_SIZE(lines)
        ) & (REPEATS - 1))
        known = <Known>self.known[place]
        if known is not None and known.method == method and known.lines == lines:
            return place
        known = Known.__new__(Known)
        known.head = Head.__new__(Head)
        # What requests find out of their fields: they do so no more.
        names_in(head)
        known.head.copy(head)
        known.head.host_checked = head.host >= 0 and is_host(
            head.p + head.fields[head.host].value, head.fields[head.host].value_length
        )
        known.head.data = None
        known.head.p = NULL
        move_fields(known.head, -line)
        known.method = method
        known.lines = lines
        self.kept += 1
        known.number = self.kept
        self.known[place] = known
        return place


cdef Py_ssize_t again(
    Engine engine, Expected* expected, Head head, const unsigned char* p, Py_ssize_t length, Py_ssize_t max_bytes
) except -1:
    cdef Repeats repeats
    cdef Known known
    cdef Py_ssize_t size
    if expected.place < 0 or head.at or engine.repeats is None:
        return 0
    repeats = <Repeats>engine.repeats
    known = <Known>repeats.known[expected.place]
    if known is None or known.number != expected.number:
        # Another one is kept there by now: it begins anew.
        expected.place = -1
        return 0
    size = known.read(head, p, length, max_bytes)
    if size:
        expected.strange = 0
        repeats.matched += 1
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
            expected.number = (<Known>repeats.known[expected.place]).number
    expected.lines = <unsigned short>lines
    return 0
