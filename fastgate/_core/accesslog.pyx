"""The access log: one line an exchange, written into a block of memory from the spans of its heads.

Theory of operation
-------------------
An `AccessLog` is the engine's observer: `Exchange.finish` calls `exchange_finished` exactly once, while the heads can
still be read. The line is put behind those that are there, without making Python objects. A block of `BLOCK` bytes is
handed to the writer (`append(lines, count) -> bool`), whose thread does all input and output. What does not fill a
block is fetched by that thread with `collect`: the first line after a collection calls the writer's `wake`, the others
cost nothing. Formatting calls nothing that could let go of the GIL, so that `collect` finds whole lines only. A line
costs O(its length); the block's memory is kept.

Phases, each in milliseconds, null where the exchange did not get there, after the timers of HAProxy:

    head_ms       first byte of the request → its head complete                                    (TR)
    policies_ms   → policies passed, body buffered where asked: ready for the upstream             (Tw)
    connect_ms    → connected, waiting for a free connection included; 0 on a pooled one           (Tc)
    response_ms   → response head complete                                                         (Tr)
    body_ms       → end of the response body, or of the tunnel                                     (Td)
    total_ms      first byte of the request → end                                                  (Ta)

``end`` is the word of the cause in `causes`. JSON text is UTF-8: bytes of a head that are valid UTF-8 are copied,
any other byte is read as latin-1, and what a terminal would obey (controls, C1 controls too) is always escaped, so
that no request can forge a line or a key. Parameters of queries that carry secrets are left out
(``Runtime.unlogged``); a Referer with it, or a target that was refused before it was split, ends before its query.
"""

import os

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memchr, memcpy, strlen
from posix.time cimport CLOCK_REALTIME, clock_gettime, timespec

from fastgate._core.auth cimport Identity
from fastgate._core.buffer cimport Buffer, put, put_number, reserve
from fastgate._core.causes cimport GATEWAY_ANSWERED, OK, POLICY_ANSWERED, ROUTE_ANSWERED, outcomes, reason_of
from fastgate._core.exchange cimport Exchange
from fastgate._core.head cimport REFERER, USER_AGENT, Field, Head
from fastgate._core.query cimport Parameter, find_parameter, without_parameter

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL

cdef extern from "time.h" nogil:
    ctypedef long time_t
    struct tm:
        int tm_sec
        int tm_min
        int tm_hour
        int tm_mday
        int tm_mon
        int tm_year
        long tm_gmtoff
    tm* gmtime_r(const time_t* clock, tm* result)
    tm* localtime_r(const time_t* clock, tm* result)

cdef enum:
    BLOCK = 65536
    ROOM = 1024                # of a line, beside what the client and the configuration have put into it

cdef unsigned char PLAIN[256]              # bytes that stand for themselves in both formats
for _byte in range(256):
    PLAIN[_byte] = 0x20 <= _byte <= 0x7E and _byte != 0x22 and _byte != 0x5C

cdef const char* HEX = b"0123456789abcdef"
cdef const char* MONTHS = b"JanFebMarAprMayJunJulAugSepOctNovDec"


cdef class AccessLog(Observer):
    """Gives ``writer`` a line for each exchange that ends, and is what the writer collects from.

    ``format`` is ``"json"`` or ``"combined"``. ``sample`` is the share of successes (status below 400, nothing cut)
    that is written, 0 to 1; everything else always is.
    """

    def __cinit__(self, writer, str format="json", double sample=1.0):
        if format not in ("json", "combined"):
            raise ValueError(f"unknown access log format {format!r}")
        self.writer = writer
        self.combined = format == "combined"
        self.sampled = sample < 1.0
        self.threshold = <uint64_t>(sample * <double>(<uint64_t>1 << 63)) << 1 if 0 < sample < 1 else 0
        memcpy(&self.random, PyBytes_AS_STRING(os.urandom(8)), 8)
        self.random |= 1
        self.second = -1
        writer.collect = self.collect

    def __dealloc__(self):
        free(self.buffer.data)

    def collect(self) -> None:
        """Hands over what is there. For the writer's thread, and once at the end."""
        self.told = False
        if self.lines:
            self.hand_over()

    cdef int exchange_finished(self, Exchange x) except -1:
        cdef int status = x.status if x.status else outcomes[x.cause].status
        if self.sampled and not self.kept(x, status):
            return 0
        if self.combined:
            self.put_combined_line(x, status)
        else:
            self.put_json_line(x, status)
        self.lines += 1
        self.engine = x.engine
        if self.buffer.length >= BLOCK:
            self.hand_over()
        elif not self.told:
            self.told = True
            self.writer.wake()
        return 0

    cdef bint kept(self, Exchange x, int status) noexcept:
        cdef int cause = x.cause
        if status >= 400 or cause not in (OK, POLICY_ANSWERED, GATEWAY_ANSWERED, ROUTE_ANSWERED):
            return True
        self.random ^= self.random << 13
        self.random ^= self.random >> 7
        self.random ^= self.random << 17
        return self.random < self.threshold

    cdef int hand_over(self) except -1:
        cdef bytes lines = PyBytes_FromStringAndSize(self.buffer.data, self.buffer.length)
        cdef int count = self.lines
        # From here on another thread may run: this block is no longer there for it.
        self.buffer.length = 0
        self.lines = 0
        if not self.writer.append(lines, count) and self.engine is not None:
            self.engine.slab.log_lines_dropped += count
        return 0

    cdef int put_json_line(self, Exchange x, int status) except -1:
        cdef Buffer* b = &self.buffer
        cdef Head head = x.request
        cdef bint readable = head.data is not None
        cdef Py_ssize_t raw = head.length if readable else 0
        cdef Py_ssize_t start = b.length
        cdef Py_ssize_t name_length = 0
        cdef Py_ssize_t target_length = 0
        cdef Py_ssize_t reason_length = 0
        cdef const char* name = PyUnicode_AsUTF8AndSize(x.route.name, &name_length) if x.route is not None else NULL
        cdef const char* target = NULL
        cdef const char* who = NULL
        cdef Py_ssize_t who_length = 0
        cdef const char* reason = PyUnicode_AsUTF8AndSize(reason_of(x.cause), &reason_length)
        cdef bytes client = client_of(x)
        cdef Py_ssize_t client_length = min(PyBytes_GET_SIZE(client), 64)
        cdef const unsigned char* path = x.path
        cdef Py_ssize_t path_length = x.path_length
        cdef const unsigned char* query = x.query if x.has_query else NULL
        cdef Py_ssize_t query_length = x.query_length
        cdef bytes shown = None
        cdef int64_t at
        if x.target_name is not None:
            target = PyUnicode_AsUTF8AndSize(x.target_name, &target_length)
        if isinstance(x.identity, Identity):
            who = name_of(<Identity>x.identity, &who_length)
        if path_length == 0 and readable:
            path = head.p + head.target.start
            path_length = shown_length(path, head.target.length, x.runtime.unlogged)
        if x.runtime.unlogged is not None and x.has_query:
            shown = without_secrets(x.query, x.query_length, x.runtime.unlogged)
            if shown is not None:
                query = <const unsigned char*>PyBytes_AS_STRING(shown) if shown else NULL
                query_length = PyBytes_GET_SIZE(shown)
        reserve(b, ROOM + 6 * (
            raw + x.path_length + x.query_length + x.host_length + x.id_length + name_length + target_length
            + who_length
        ))
        word(b, b'{"time":"')
        at = self.put_time(x)
        put_number_padded(b, at // 1000 % 1000, 3)
        word(b, b'Z","id":')
        put_json(b, <unsigned char*>x.id if x.id_length else NULL, x.id_length)
        word(b, b',"client":')
        put_json(b, <unsigned char*>client, client_length)
        word(b, b',"method":')
        put_json(b, head.p + head.method.start if readable else NULL, head.method.length)
        word(b, b',"host":')
        put_json(b, x.host if x.host_length else NULL, x.host_length)
        word(b, b',"path":')
        put_json(b, path if path_length else NULL, path_length)
        word(b, b',"query":')
        put_json(b, query, query_length)
        if readable:
            word(b, b',"version":"1.')
            put_number(b, head.minor_sent)
            word(b, b'","status":')
        else:
            word(b, b',"version":null,"status":')
        put_number(b, status)
        word(b, b',"bytes_in":')
        put_number(b, x.body_bytes)
        word(b, b',"bytes_out":')
        put_number(b, x.bytes_out)
        word(b, b',"route":')
        put_json(b, <const unsigned char*>name, name_length)
        word(b, b',"identity":')
        put_json(b, <const unsigned char*>who, who_length)
        word(b, b',"upstream":')
        put_json(b, <const unsigned char*>target, target_length)
        word(b, b',"attempts":')
        put_number(b, x.tries)
        word(b, b',"head_ms":')
        put_span(b, x.started, x.head_at)
        word(b, b',"policies_ms":')
        put_span(b, x.head_at, x.forwarded_at)
        word(b, b',"connect_ms":')
        put_span(b, x.forwarded_at, x.connected_at)
        word(b, b',"response_ms":')
        put_span(b, x.connected_at, x.response_at)
        word(b, b',"body_ms":')
        put_span(b, x.response_at, x.ended)
        word(b, b',"total_ms":')
        put_span(b, x.started, x.ended)
        word(b, b',"end":')
        put_json(b, <const unsigned char*>reason, reason_length)
        word(b, b',"user_agent":')
        put_field(b, head, USER_AGENT, False, None)
        word(b, b',"referer":')
        put_field(b, head, REFERER, False, x.runtime.unlogged)
        word(b, b"}\n")
        return <int>(b.length - start)

    cdef int put_combined_line(self, Exchange x, int status) except -1:
        cdef Buffer* b = &self.buffer
        cdef Head head = x.request
        cdef bint readable = head.data is not None
        cdef bytes client = client_of(x)
        cdef Py_ssize_t client_length = min(PyBytes_GET_SIZE(client), 64)
        cdef const unsigned char* target = head.p + head.target.start
        cdef Py_ssize_t length = 0
        cdef bytes shown = None
        cdef const char* who = NULL
        cdef Py_ssize_t who_length = 0
        if readable and x.runtime.unlogged is not None:
            length = before_query(target, head.target.length)
            if length < head.target.length:
                shown = without_secrets(target + length + 1, head.target.length - length - 1, x.runtime.unlogged)
        if isinstance(x.identity, Identity):
            who = name_of(<Identity>x.identity, &who_length)
        reserve(b, ROOM + (4 * head.length if readable else 0) + 4 * who_length)
        put(b, <const char*>client, client_length)
        word(b, b" - ")
        if who_length:
            put_word(b, <const unsigned char*>who, who_length)
        else:
            word(b, b"-")
        word(b, b" [")
        self.put_time(x)
        word(b, b'] "')
        if readable:
            put_quoted(b, head.p + head.method.start, head.method.length)
            word(b, b" ")
            if shown is None:
                put_quoted(b, target, head.target.length)
            else:
                put_quoted(b, target, length)
                if shown:
                    word(b, b"?")
                    put_quoted(b, <const unsigned char*>shown, PyBytes_GET_SIZE(shown))
            word(b, b" HTTP/1.")
            put_number(b, head.minor_sent)
        else:
            word(b, b"-")
        word(b, b'" ')
        put_number_padded(b, status, 3)
        word(b, b" ")
        put_number(b, x.bytes_out)
        word(b, b' "')
        put_field(b, head, REFERER, True, x.runtime.unlogged)
        word(b, b'" "')
        put_field(b, head, USER_AGENT, True, None)
        word(b, b'"\n')
        return 0

    cdef int64_t put_time(self, Exchange x) except -1:
        """When the first byte of the request came, to the second; returns it in microseconds since 1970."""
        cdef timespec now
        cdef int64_t at
        cdef int64_t second
        cdef time_t clock
        cdef tm parts
        cdef Buffer b
        cdef long offset
        clock_gettime(CLOCK_REALTIME, &now)
        at = <int64_t>now.tv_sec * 1000000 + now.tv_nsec // 1000 - <int64_t>(x.ended - x.started)
        second = at // 1000000
        if second != self.second:
            self.second = second
            clock = second
            b.data = self.stamp
            b.length = 0
            b.capacity = sizeof(self.stamp)
            if self.combined:
                localtime_r(&clock, &parts)
                put_number_padded(&b, parts.tm_mday, 2)
                word(&b, b"/")
                put(&b, MONTHS + 3 * parts.tm_mon, 3)
                word(&b, b"/")
                put_number_padded(&b, parts.tm_year + 1900, 4)
                put_clock(&b, &parts, b":")
                offset = parts.tm_gmtoff // 60
                word(&b, b" -" if offset < 0 else b" +")
                offset = abs(offset)
                put_number_padded(&b, offset // 60, 2)
                put_number_padded(&b, offset % 60, 2)
            else:
                gmtime_r(&clock, &parts)
                put_number_padded(&b, parts.tm_year + 1900, 4)
                word(&b, b"-")
                put_number_padded(&b, parts.tm_mon + 1, 2)
                word(&b, b"-")
                put_number_padded(&b, parts.tm_mday, 2)
                put_clock(&b, &parts, b"T")
                word(&b, b".")
            self.stamp_length = <int>b.length
        put(&self.buffer, self.stamp, self.stamp_length)
        return at


def json_text(bytes text not None) -> bytes:
    """The bytes of a head as a JSON string, quotes included."""
    cdef Buffer b
    b.data = NULL
    b.length = b.capacity = 0
    try:
        reserve(&b, 6 * len(text) + 8)
        put_json(&b, <const unsigned char*>text, PyBytes_GET_SIZE(text))
        return b.data[:b.length]
    finally:
        free(b.data)


def quoted_text(bytes text not None) -> bytes:
    """The bytes of a head as they stand between the quotes of the combined format."""
    cdef Buffer b
    b.data = NULL
    b.length = b.capacity = 0
    try:
        reserve(&b, 4 * len(text) + 8)
        put_quoted(&b, <const unsigned char*>text, PyBytes_GET_SIZE(text))
        return b.data[:b.length]
    finally:
        free(b.data)


cdef inline void word(Buffer* b, const char* text) noexcept nogil:
    put(b, text, strlen(text))


cdef Py_ssize_t before_query(const unsigned char* target, Py_ssize_t length) noexcept:
    """How much of a target or URL is not query."""
    cdef const unsigned char* mark = <const unsigned char*>memchr(target, b"?", length)
    return mark - target if mark != NULL else length


cdef bytes without_secrets(const unsigned char* query, Py_ssize_t length, tuple names):
    """A query without the parameters that are not logged; None when it has none of them."""
    cdef bytes shown = None
    cdef bytes rest, name
    for name in names:
        rest = without_parameter(query, length, name)
        if rest is not None:
            shown = rest
            query = <const unsigned char*>PyBytes_AS_STRING(rest)
            length = PyBytes_GET_SIZE(rest)
    return shown


cdef Py_ssize_t shown_length(const unsigned char* target, Py_ssize_t length, tuple unlogged) noexcept:
    """How much of a target or URL is shown: not its query, when such a parameter is in it. Makes no object."""
    cdef Py_ssize_t start
    cdef bytes name
    cdef Parameter parameter
    if unlogged is None:
        return length
    start = before_query(target, length)
    for name in unlogged:
        if start < length and find_parameter(target + start + 1, length - start - 1, name, 0, &parameter):
            return start
    return length


cdef const char* name_of(Identity who, Py_ssize_t* length) noexcept:
    """Of who was authenticated. Its key is its method and its id: bytes also where the id is no Unicode."""
    cdef const char* text = PyBytes_AS_STRING(who.key)
    cdef Py_ssize_t method = <Py_ssize_t>strlen(text) + 1
    length[0] = PyBytes_GET_SIZE(who.key) - method
    return text + method


cdef inline bytes client_of(Exchange x):
    if x.client_ip is not None:
        return x.client_ip
    if x.client is not None and x.client.peer_address is not None:
        return x.client.peer_address
    return b"-"


cdef void put_json(Buffer* b, const unsigned char* text, Py_ssize_t length) noexcept nogil:
    """A JSON string, null for no text at all. There must be room for 6 bytes for each of the text's, and 4 more."""
    cdef Py_ssize_t i = 0
    cdef Py_ssize_t start
    cdef Py_ssize_t size
    cdef unsigned char c
    if text == NULL:
        word(b, b"null")
        return
    word(b, b'"')
    while True:
        start = i
        while i < length and PLAIN[text[i]]:
            i += 1
        put(b, text + start, i - start)
        if i >= length:
            break
        c = text[i]
        if c == 0x22:
            word(b, b'\\"')
        elif c == 0x5C:
            word(b, b"\\\\")
        elif c == 0xC2 and i + 1 < length and 0x80 <= text[i + 1] <= 0x9F:
            i += 1
            put_escape(b, text[i])
        else:
            size = utf8_length(text + i, length - i) if c >= 0x80 else 0
            if size:
                put(b, text + i, size)
                i += size - 1
            else:
                put_escape(b, c)
        i += 1
    word(b, b'"')


cdef inline void put_escape(Buffer* b, unsigned char c) noexcept nogil:
    word(b, b"\\u00")
    put(b, HEX + (c >> 4), 1)
    put(b, HEX + (c & 15), 1)


cdef Py_ssize_t utf8_length(const unsigned char* text, Py_ssize_t length) noexcept nogil:
    """How many bytes the character beyond ASCII that begins here has; 0 when it is no valid UTF-8 (RFC 3629)."""
    cdef unsigned char first = text[0]
    cdef unsigned char low = 0x80
    cdef unsigned char high = 0xBF
    cdef Py_ssize_t size
    cdef Py_ssize_t i
    if first < 0xC2 or first > 0xF4:
        return 0
    size = 2 if first < 0xE0 else 3 if first < 0xF0 else 4
    if length < size:
        return 0
    if first == 0xE0:
        low = 0xA0
    elif first == 0xED:
        high = 0x9F
    elif first == 0xF0:
        low = 0x90
    elif first == 0xF4:
        high = 0x8F
    if text[1] < low or text[1] > high:
        return 0
    for i in range(2, size):
        if text[i] & 0xC0 != 0x80:
            return 0
    return size


cdef void put_quoted(Buffer* b, const unsigned char* text, Py_ssize_t length) noexcept nogil:
    """Text of the combined format, escaped as nginx does. There must be room for 4 bytes for each of the text's."""
    cdef Py_ssize_t i = 0
    cdef Py_ssize_t start
    while True:
        start = i
        while i < length and PLAIN[text[i]]:
            i += 1
        put(b, text + start, i - start)
        if i >= length:
            return
        word(b, b"\\x")
        put(b, HEX + (text[i] >> 4), 1)
        put(b, HEX + (text[i] & 15), 1)
        i += 1


cdef void put_word(Buffer* b, const unsigned char* text, Py_ssize_t length) noexcept nogil:
    """The same for text that must stay one word: a space would end it."""
    cdef Py_ssize_t start = 0
    cdef Py_ssize_t i
    for i in range(length):
        if text[i] == 0x20:
            put_quoted(b, text + start, i - start)
            word(b, b"\\x20")
            start = i + 1
    put_quoted(b, text + start, length - start)


cdef void put_field(Buffer* b, Head head, int name, bint quoted, tuple unlogged) noexcept:
    """The first field of that name; for one that is a URL, the parameters that are not shown in it."""
    cdef int i
    cdef Field* field
    cdef Py_ssize_t length
    if head.data is not None and head.seen >> name & 1:
        for i in range(head.count):
            field = &head.fields[i]
            if field.id == name:
                length = shown_length(head.p + field.value, field.value_length, unlogged)
                if quoted:
                    put_quoted(b, head.p + field.value, length)
                else:
                    put_json(b, head.p + field.value, length)
                return
    word(b, b"-" if quoted else b"null")


cdef void put_span(Buffer* b, uint64_t begin, uint64_t end) noexcept nogil:
    """Milliseconds with three decimals between two times in microseconds; null when one of them never came."""
    if begin == 0 or end == 0 or end < begin:
        word(b, b"null")
        return
    put_number(b, (end - begin) // 1000)
    word(b, b".")
    put_number_padded(b, (end - begin) % 1000, 3)


cdef void put_number_padded(Buffer* b, unsigned long long number, int digits) noexcept nogil:
    """At least so many decimal digits."""
    cdef unsigned long long power = 10
    while digits > 1:
        if number < power:
            word(b, b"0")
        power *= 10
        digits -= 1
    put_number(b, number)


cdef void put_clock(Buffer* b, tm* parts, const char* before) noexcept nogil:
    word(b, before)
    put_number_padded(b, parts.tm_hour, 2)
    word(b, b":")
    put_number_padded(b, parts.tm_min, 2)
    word(b, b":")
    put_number_padded(b, parts.tm_sec, 2)
