"""Message heads: scanned as they arrive, then indexed as spans.

Theory of operation
-------------------
A `Head` reads the bytes of one request or response head (RFC 9112 sections 2 to 5) where they lie and makes no Python
object for them.

1. `scan` runs over every byte once, eight at a time, and stops at control characters. It resumes where it stopped, so
   a head that comes byte by byte costs what a whole one costs. It refuses a line end that is not CRLF and every other
   control character the moment it sees it: a head with bare LF never contains the empty line that would end the wait
   for it. The start line is read as soon as it is complete.
2. `index` walks the lines of a complete head: name, colon, value; each becomes a `Field` of 16 bytes with the number
   of its name. The fields that decide about framing, routing and persistence are read on the way. What the rules say
   must not be passed on is flagged. Fields of requests whose name has anything but letters, digits and ``-`` are
   dropped, unless ``field_names`` says otherwise: CGI, WSGI and PHP make one variable of all of ``X-User``, ``X_User``
   and ``X.User`` (`same_variable`). Where they pass, other spellings of the names known here are dropped even so.
3. httptools has its say on the same bytes (`Engine.accept_request`, `accept_response`).

Nothing after this module looks for line ends or parses a header again.

Costs: the scan takes about one instruction a byte; the index about forty a field and six a byte of its name.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memchr, memcmp, memcpy

from fastgate._core.causes cimport (
    BAD_REQUEST,
    BAD_RESPONSE,
    BAD_VERSION,
    HEAD_TOO_LARGE,
    NOT_IMPLEMENTED,
    OK,
    TARGET_TOO_LONG,
)

cdef extern from * nogil:
    """
    /* The first byte in memory that is below 0x20 or is 0x7F, 8: none of the eight. The lowest mark is exact; a
    borrow can
       only make false ones above it. */
    static inline int first_control(const unsigned char *p) {
        unsigned long long word, others, marks;
        memcpy(&word, p, 8);
    #if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        word = __builtin_bswap64(word);
    #endif
        others = word ^ 0x7F7F7F7F7F7F7F7FULL; marks = (((word - 0x2020202020202020ULL) & ~word) | ((others -
        0x0101010101010101ULL) & ~others)) & 0x8080808080808080ULL; return marks ? __builtin_ctzll(marks) >> 3 : 8;
    }
    """
    int first_control(const unsigned char* p)

cdef enum:
    MAX_TARGET = 8192
    MAX_METHOD = 64
    MAX_RESPONSE_FIELDS = 256

cdef uint8_t TOKEN[256]                # of the tchar of RFC 9110: 1: letters, digits and "-", 2: the others
cdef uint8_t LOWER[256]
cdef uint8_t FOLDED[256]               # as LOWER, with "_" for all but letters and digits
cdef uint8_t TARGET[256]               # bytes that may stand in a request target
cdef uint8_t HOST_BYTE[256]

_NAME_BYTES = b"-0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_OTHER_TOKEN_BYTES = b"!#$%&'*+.^_`|~"
_HOST_BYTES = b"-._~!$&'()*+;=%0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

_NAMES = {
    HOST: b"host", CONNECTION: b"connection", CONTENT_LENGTH: b"content-length",
    TRANSFER_ENCODING: b"transfer-encoding", EXPECT: b"expect", UPGRADE: b"upgrade", KEEP_ALIVE: b"keep-alive",
    PROXY_CONNECTION: b"proxy-connection", PROXY_AUTHENTICATE: b"proxy-authenticate",
    PROXY_AUTHORIZATION: b"proxy-authorization", TE: b"te", TRAILER: b"trailer", HTTP2_SETTINGS: b"http2-settings",
    AUTHORIZATION: b"authorization", X_FORWARDED_FOR: b"x-forwarded-for", X_FORWARDED_PROTO: b"x-forwarded-proto",
    X_FORWARDED_HOST: b"x-forwarded-host", X_FORWARDED_PORT: b"x-forwarded-port", X_REAL_IP: b"x-real-ip",
    FORWARDED: b"forwarded", VIA: b"via", ACCEPT: b"accept", DATE: b"date", SERVER: b"server", COOKIE: b"cookie",
    USER_AGENT: b"user-agent", REFERER: b"referer", CONTENT_TYPE: b"content-type", X_REQUEST_ID: b"x-request-id",
    PROXY: b"proxy",
}

# Names by a hash of length, first and last byte; a slot that two share is followed by `name_next`.
cdef uint8_t name_slot[256]
cdef uint8_t name_next[NAMES]
cdef uint8_t name_flags[NAMES]
cdef uint8_t name_length[NAMES]
cdef char name_text[NAMES][24]
cdef char name_variable[NAMES][24]     # the same, as `same_variable` compares


cdef inline int slot_of(int length, int first, int last) noexcept nogil:
    return (length * 37 + first * 5 + last * 11) & 255


cdef int prepare() except -1:
    cdef int i, number, slot
    cdef bytes text, folded
    for i in range(256):
        LOWER[i] = i + 32 if 65 <= i <= 90 else i
        FOLDED[i] = LOWER[i] if 97 <= LOWER[i] <= 122 or 48 <= i <= 57 else 95
        TOKEN[i] = 0
        HOST_BYTE[i] = 0
        # RFC 3986 allows fewer; clients send the others bare. Refused is what has two readings: space, controls,
        # non-ASCII, "#", "\\".
        TARGET[i] = 0x21 <= i <= 0x7E and i != 0x23 and i != 0x5C
    for i in _NAME_BYTES:
        TOKEN[i] = 1
    for i in _OTHER_TOKEN_BYTES:
        TOKEN[i] = 2
    for i in _HOST_BYTES:
        HOST_BYTE[i] = 1
    for i in range(256):
        name_slot[i] = 0
    for number, text in _NAMES.items():
        slot = slot_of(len(text), text[0], text[len(text) - 1])
        name_next[number] = name_slot[slot]
        name_slot[slot] = number
        name_length[number] = len(text)
        memcpy(name_text[number], <const char*>text, len(text))
        folded = folded_name(text)
        memcpy(name_variable[number], <const char*>folded, len(text))
        name_flags[number] = 0
    # RFC 9110 section 7.6.1, and the names that peers still send in its spirit
    for number in (CONNECTION, KEEP_ALIVE, PROXY_CONNECTION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
                   HTTP2_SETTINGS, UPGRADE, EXPECT, TRANSFER_ENCODING, PROXY):
        name_flags[number] = DROPPED
    for number in (HOST, CONTENT_LENGTH):
        name_flags[number] = RULED
    return 0


prepare()


cdef bint same(const unsigned char* text, Py_ssize_t length, const char* lower, Py_ssize_t lower_length) noexcept nogil:
    """Whether a name equals one that is given in lower case."""
    cdef Py_ssize_t i
    if length != lower_length:
        return False
    for i in range(length):
        if LOWER[text[i]] != <unsigned char>lower[i]:
            return False
    return True


cdef bint is_token(const unsigned char* text, Py_ssize_t length) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(length):
        if TOKEN[text[i]] == 0:
            return False
    return length > 0


cdef bint is_host(const unsigned char* text, Py_ssize_t length) noexcept nogil:
    """uri-host [ ":" port ] of RFC 9110 section 7.2; an empty host is refused."""
    cdef Py_ssize_t i = 0
    cdef Py_ssize_t digits = 0
    cdef int port = 0
    if length == 0:
        return False
    if text[0] == b"[":
        i = 1
        while i < length and (HOST_BYTE[text[i]] or text[i] == b":"):
            i += 1
        if i < 3 or i >= length or text[i] != b"]":
            return False
        i += 1
    else:
        while i < length and (HOST_BYTE[text[i]] or text[i] == b"_"):
            i += 1
        if i == 0:
            return False
    if i == length:
        return True
    if text[i] != b":":
        return False
    i += 1
    while i < length:
        if text[i] < 48 or text[i] > 57:
            return False
        digits += 1
        port = port * 10 + text[i] - 48
        if port > 65535:
            return False
        i += 1
    return digits <= 5


cdef int name_id(const unsigned char* text, Py_ssize_t length) noexcept nogil:
    cdef int number
    if length == 0 or length > 23:
        return OTHER
    number = name_slot[slot_of(<int>length, LOWER[text[0]], LOWER[text[length - 1]])]
    while number != OTHER:
        if name_length[number] == length and same(text, length, name_text[number], length):
            return number
        number = name_next[number]
    return OTHER


cdef bint spells_known(const unsigned char* text, Py_ssize_t length) noexcept nogil:
    """Whether a name becomes the same variable as one that the gateway reads, sends or rules."""
    cdef int number
    if length > 12 and same_variable(text, 12, b"x_forwarded_", 12):
        return True
    for number in range(1, <int>NAMES):
        if same_variable(text, length, name_variable[number], name_length[number]):
            return True
    return False


cdef bint same_variable(
    const unsigned char* text, Py_ssize_t length, const char* folded, Py_ssize_t folded_length
) noexcept nogil:
    """Whether CGI, WSGI and PHP servers make one variable of this name and of one that `folded_name` gave."""
    cdef Py_ssize_t i
    if length != folded_length:
        return False
    for i in range(length):
        if FOLDED[text[i]] != <unsigned char>folded[i]:
            return False
    return True


cdef bytes folded_name(bytes name):
    """A name as `same_variable` compares it: lower case, everything but letters and digits as ``_``."""
    cdef unsigned char c
    return bytes([FOLDED[c] for c in name])


cdef int name_flags_of(int number) noexcept nogil:
    """What the gateway does with every field of this name: `Flag`."""
    return name_flags[number]


cdef class Head:
    """One message head. Reused: `clear` before the next."""

    def __cinit__(self, int limit=MAX_RESPONSE_FIELDS):
        """``limit``: how many fields are taken before the head is refused."""
        self.limit = limit
        self.capacity = 16 if limit > 16 else limit
        self.fields = <Field*>malloc(self.capacity * sizeof(Field))
        if self.fields == NULL:
            raise MemoryError
        self.clear()

    def __dealloc__(self):
        free(self.fields)

    cdef void clear(self) noexcept:
        self.p = NULL
        self.length = self.at = self.line = 0
        self.lines = self.count = 0
        self.content_length = -1
        self.chunked = self.close = self.keep_alive = self.has_forwarded = self.upgrade_named = False
        self.host = self.upgrade = self.expect = self.connection = -1
        self.seen = 0
        self.status = 0
        self.method.length = self.target.length = self.reason.length = 0

    cdef void release(self) noexcept:
        """Lets go of the bytes."""
        self.data = None
        self.clear()

    cdef int copy(self, Head other) except -1:
        """Becomes the same head: the bytes are shared, the index and its flags are not."""
        self.lines = other.count
        if other.count > self.capacity and not self.grow():
            raise MemoryError
        memcpy(self.fields, other.fields, other.count * sizeof(Field))
        self.data = other.data
        self.p = other.p
        self.length = other.length
        self.count = other.count
        self.method = other.method
        self.target = other.target
        self.minor = other.minor
        self.minor_sent = other.minor_sent
        self.status = other.status
        self.reason = other.reason
        self.content_length = other.content_length
        self.chunked = other.chunked
        self.close = other.close
        self.keep_alive = other.keep_alive
        self.host = other.host
        self.upgrade = other.upgrade
        self.expect = other.expect
        self.connection = other.connection
        self.has_forwarded = other.has_forwarded
        self.upgrade_named = other.upgrade_named
        self.seen = other.seen
        return 0

    cdef Py_ssize_t scan(self, const unsigned char* p, Py_ssize_t length, bint request, Py_ssize_t max_bytes) noexcept:
        """Reads on. Returns the length of the head when it is complete, 0 when bytes are missing, else minus the cause.

        ``p`` points at the first byte of the message each time; what was read before is not read again.
        """
        cdef Py_ssize_t i = self.at
        cdef unsigned char c
        cdef int step
        cdef int cause
        cdef Py_ssize_t limit = length if length < max_bytes else max_bytes
        self.p = p
        while True:
            step = 8
            while step == 8 and i + 8 <= limit:
                step = first_control(p + i)
                i += step
            if step == 8:
                while i < limit and p[i] >= 0x20 and p[i] != 0x7F:
                    i += 1
                if i >= limit:
                    break
            c = p[i]
            if c == b"\t" and (self.lines > 0 or not request):
                i += 1
                continue
            if c != b"\r":
                return -BAD_REQUEST
            if i + 1 >= limit:
                break
            if p[i + 1] != b"\n":
                return -BAD_REQUEST
            if i == self.line:
                if self.lines > 0:
                    self.length = i + 2
                    return self.length
                return -BAD_REQUEST
            if self.lines == 0:
                cause = self.request_line(i) if request else self.status_line(i)
                if cause != OK:
                    return -cause
            elif self.lines > self.limit:
                return -HEAD_TOO_LARGE
            self.lines += 1
            i += 2
            self.line = i
        self.at = i
        if self.lines == 0 and request:
            cause = self.unfinished_line(i)
            if cause != OK:
                return -cause
        if length >= max_bytes:
            return -HEAD_TOO_LARGE
        return 0

    cdef int unfinished_line(self, Py_ssize_t end) noexcept:
        """What can be said of a request line whose end has not come."""
        cdef Py_ssize_t seen = end if end <= MAX_METHOD else MAX_METHOD + 1
        cdef const unsigned char* space = <const unsigned char*>memchr(self.p, b" ", seen)
        cdef Py_ssize_t method = space - self.p if space != NULL else end
        if method > MAX_METHOD or (method > 0 and not is_token(self.p, method)) or (space != NULL and method == 0):
            return BAD_REQUEST
        if space != NULL and end - method - 1 > MAX_TARGET:
            space = <const unsigned char*>memchr(space + 1, b" ", MAX_TARGET + 1)
            if space == NULL:
                return TARGET_TOO_LONG
        return OK

    cdef int request_line(self, Py_ssize_t end) noexcept:
        """method SP request-target SP HTTP-version, RFC 9112 section 3."""
        cdef const unsigned char* p = self.p
        cdef Py_ssize_t i = 0
        cdef Py_ssize_t start
        while i < end and TOKEN[p[i]]:
            i += 1
        if i == 0 or i > MAX_METHOD or i >= end or p[i] != b" ":
            return BAD_REQUEST
        self.method.start = 0
        self.method.length = <uint32_t>i
        i += 1
        start = i
        while i < end and TARGET[p[i]]:
            i += 1
        if i - start > MAX_TARGET:
            return TARGET_TOO_LONG
        if i == start or i >= end or p[i] != b" ":
            return BAD_REQUEST
        self.target.start = <uint32_t>start
        self.target.length = <uint32_t>(i - start)
        i += 1
        if end - i == 8 and memcmp(p + i, b"HTTP/1.", 7) == 0 and 48 <= p[i + 7] <= 57:
            self.minor_sent = p[i + 7] - 48
            self.minor = 1 if self.minor_sent > 1 else self.minor_sent
            return OK
        # Another version or another protocol is told so, if it can be read as one.
        start = i
        while i < end and TOKEN[p[i]]:
            i += 1
        if i > start and end - i == 4 and p[i] == b"/" and p[i + 2] == b"." \
                and 48 <= p[i + 1] <= 57 and 48 <= p[i + 3] <= 57:
            return BAD_VERSION
        return BAD_REQUEST

    cdef int status_line(self, Py_ssize_t end) noexcept:
        """HTTP-version SP status-code SP [ reason-phrase ], RFC 9112 section 4. A missing last space is forgiven, as
        everybody does.
        """
        cdef const unsigned char* p = self.p
        cdef Py_ssize_t i
        if end < 12 or memcmp(p, b"HTTP/1.", 7) != 0 or not 48 <= p[7] <= 57 or p[8] != b" ":
            return BAD_RESPONSE
        self.minor_sent = p[7] - 48
        self.minor = 1 if self.minor_sent > 1 else self.minor_sent
        self.status = 0
        for i in range(9, 12):
            if not 48 <= p[i] <= 57:
                return BAD_RESPONSE
            self.status = self.status * 10 + p[i] - 48
        if self.status < 100 or self.status > 599:
            return BAD_RESPONSE
        if end > 12 and p[12] != b" ":
            return BAD_RESPONSE
        self.reason.start = 13
        self.reason.length = <uint32_t>(end - 13) if end > 13 else 0
        for i in range(13, end):
            if p[i] < 0x20 or p[i] > 0x7E:
                self.reason.length = 0
                break
        return OK

    cdef int index(self, bint request, int field_names) noexcept:
        """Reads the fields of a complete head; returns OK or the cause to refuse it with."""
        cdef const unsigned char* p = self.p
        cdef const unsigned char* line_end
        cdef Py_ssize_t last = self.length - 2
        cdef Py_ssize_t i, start, stop
        cdef Field* field
        cdef unsigned char kinds
        cdef int number
        cdef int bad = BAD_REQUEST if request else BAD_RESPONSE
        cdef int codings = 0
        cdef int cause
        cdef int count = 0
        if self.capacity < self.lines - 1 and not self.grow():
            return HEAD_TOO_LARGE
        line_end = <const unsigned char*>memchr(p, b"\r", self.length)
        i = line_end - p + 2
        while i < last:
            if count >= self.capacity:
                return bad
            field = &self.fields[count]
            start = i
            kinds = 0
            while TOKEN[p[i]]:
                kinds |= TOKEN[p[i]]
                i += 1
            # An empty name, a space before the colon and a folded line all end here (RFC 9112 sections 5.1 and 5.2).
            if i == start or p[i] != b":" or i - start > 65535:
                return bad
            field.name = <uint32_t>start
            field.name_length = <uint16_t>(i - start)
            number = name_id(p + start, i - start)
            if number == OTHER and i - start > 12 and p[start + 1] == b"-" and same(p + start, 12, b"x-forwarded-", 12):
                number = X_FORWARDED_OTHER
            field.id = <uint8_t>number
            field.flags = name_flags[number]
            i += 1
            while p[i] == b" " or p[i] == b"\t":
                i += 1
            line_end = <const unsigned char*>memchr(p + i, b"\r", self.length - i)
            stop = line_end - p
            field.value = <uint32_t>i
            i = stop + 2
            while stop > <Py_ssize_t>field.value and (p[stop - 1] == b" " or p[stop - 1] == b"\t"):
                stop -= 1
            field.value_length = <uint32_t>(stop - field.value)
            if kinds & 2 and request:
                if field_names == NAMES_REJECT:
                    return BAD_REQUEST
                if field_names == NAMES_DROP or spells_known(p + field.name, field.name_length):
                    field.flags |= DROPPED
                field.id = OTHER
                number = OTHER
            if number != OTHER:
                self.seen |= <uint32_t>1 << number
                if number == HOST:
                    if request and self.host >= 0:
                        return BAD_REQUEST
                    self.host = count
                    if not request:
                        field.flags = 0
                elif number == CONTENT_LENGTH:
                    if self.content_length >= 0 or not self.read_length(field):
                        return bad
                elif number == TRANSFER_ENCODING:
                    codings += 1
                    cause = BAD_REQUEST if self.minor == 0 else self.read_coding(field)
                    if cause != OK:
                        return cause if request else BAD_RESPONSE
                elif number == CONNECTION:
                    self.connection = count
                elif number == UPGRADE:
                    if self.upgrade >= 0:
                        self.upgrade = -2
                    elif self.upgrade == -1:
                        self.upgrade = count
                elif number == EXPECT:
                    self.expect = count
                    if not request:
                        field.flags = 0
                elif X_FORWARDED_FOR <= number <= FORWARDED:
                    self.has_forwarded = True
                elif number == PROXY and not request:
                    field.flags = 0
            count += 1
        self.count = count
        if codings:
            if codings > 1 or self.content_length >= 0:
                return bad
            self.chunked = True
        if self.connection >= 0:
            cause = self.connection_options(request)
            if cause != OK:
                return cause
        if self.minor == 0 and not self.keep_alive:
            self.close = True
        return OK

    cdef bint grow(self) noexcept:
        cdef Field* fields = <Field*>realloc(self.fields, self.lines * sizeof(Field))
        if fields == NULL:
            return False
        self.fields = fields
        self.capacity = self.lines
        return True

    cdef bint read_length(self, Field* field) noexcept:
        """1*DIGIT, at most 18 of them."""
        cdef const unsigned char* p = self.p + field.value
        cdef int64_t number = 0
        cdef uint32_t i
        if field.value_length == 0 or field.value_length > 18:
            return False
        for i in range(field.value_length):
            if p[i] < 48 or p[i] > 57:
                return False
            number = number * 10 + p[i] - 48
        self.content_length = number
        return True

    cdef int read_coding(self, Field* field) noexcept:
        """Exactly ``chunked``; another coding is not implemented, anything else is malformed (RFC 9112 section 6.1)."""
        cdef const unsigned char* p = self.p + field.value
        cdef Py_ssize_t length = field.value_length
        cdef Py_ssize_t start = 0
        cdef Py_ssize_t end
        if same(p, length, b"chunked", 7):
            return OK
        while start < length:
            while start < length and (p[start] == b" " or p[start] == b"\t" or p[start] == b","):
                start += 1
            end = start
            while end < length and TOKEN[p[end]]:
                end += 1
            if end == start:
                break
            if not same(p + start, end - start, b"chunked", 7):
                return NOT_IMPLEMENTED
            start = end
            while start < length and (p[start] == b" " or p[start] == b"\t"):
                start += 1
            if start < length and p[start] != b",":
                break
        return BAD_REQUEST

    cdef int connection_options(self, bint request) noexcept:
        """``close``, ``keep-alive``, ``upgrade`` and the names of other fields that end here (RFC 9110 section
        7.6.1).
        """
        cdef const unsigned char* p
        cdef Py_ssize_t length, start, end, stop
        cdef int i, j, number
        for i in range(self.connection, -1, -1):
            if self.fields[i].id != CONNECTION:
                continue
            p = self.p + self.fields[i].value
            length = self.fields[i].value_length
            start = 0
            while start < length:
                end = start
                while end < length and p[end] != b",":
                    end += 1
                stop = end
                while start < stop and (p[start] == b" " or p[start] == b"\t"):
                    start += 1
                while stop > start and (p[stop - 1] == b" " or p[stop - 1] == b"\t"):
                    stop -= 1
                if stop == start:
                    start = end + 1
                    continue
                if same(p + start, stop - start, b"keep-alive", 10):
                    self.keep_alive = True
                elif same(p + start, stop - start, b"close", 5):
                    self.close = True
                elif same(p + start, stop - start, b"upgrade", 7):
                    self.upgrade_named = True
                else:
                    number = name_id(p + start, stop - start)
                    if number in (HOST, CONTENT_LENGTH, AUTHORIZATION, X_FORWARDED_FOR, X_FORWARDED_PROTO,
                                  X_FORWARDED_HOST, X_FORWARDED_PORT):
                        # To drop these would change who is asking, or for what.
                        return BAD_REQUEST if request else BAD_RESPONSE
                    for j in range(self.count):
                        if self.fields[j].name_length == stop - start and same_text(
                                self.p + self.fields[j].name, p + start, stop - start):
                            self.fields[j].flags |= DROPPED
                start = end + 1
        return OK

    cdef int find(self, const char* name, Py_ssize_t length, int start) noexcept:
        """Index of the first field from ``start`` on with this lower-case name that is not dropped; -1: none."""
        cdef int i
        for i in range(start, self.count):
            if self.fields[i].name_length == length and not self.fields[i].flags & DROPPED \
                    and same(self.p + self.fields[i].name, length, name, length):
                return i
        return -1

    cdef bytes value_of(self, int field):
        cdef Field* one = &self.fields[field]
        return (<const char*>self.p)[one.value:one.value + one.value_length]

    cdef void keep_alive_timeout(self, int64_t* seconds) noexcept:
        """``timeout=N`` of a Keep-Alive field, or what stands there."""
        cdef int i
        cdef const unsigned char* p
        cdef Py_ssize_t length, at
        cdef int64_t number
        for i in range(self.count):
            if self.fields[i].id != KEEP_ALIVE:
                continue
            p = self.p + self.fields[i].value
            length = self.fields[i].value_length
            at = 0
            while at + 8 < length:
                if same(p + at, 8, b"timeout=", 8):
                    at += 8
                    number = 0
                    while at < length and 48 <= p[at] <= 57 and number < 1000000:
                        number = number * 10 + p[at] - 48
                        at += 1
                    seconds[0] = number
                    return
                at += 1


cdef bint same_text(const unsigned char* one, const unsigned char* other, Py_ssize_t length) noexcept nogil:
    """Whether two texts of one length are equal but for case."""
    cdef Py_ssize_t i
    for i in range(length):
        if LOWER[one[i]] != LOWER[other[i]]:
            return False
    return True
