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

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memchr, memcmp, memcpy

from fastgate._core.exchange.causes cimport (
    BAD_CHARACTER,
    BAD_CODING,
    BAD_CONNECTION,
    BAD_FIELD_NAME,
    BAD_LENGTH,
    BAD_METHOD,
    BAD_REQUEST,
    BAD_START_LINE,
    BAD_TARGET_CHARACTER,
    BAD_VERSION,
    BARE_CR,
    BARE_LF,
    CODING_IN_1_0,
    FOLDED_LINE,
    HEAD_TOO_LARGE,
    LENGTH_AND_CODING,
    NOT_IMPLEMENTED,
    OK,
    REJECTED_FIELD_NAME,
    SPACE_BEFORE_COLON,
    TARGET_TOO_LONG,
    TOO_MANY_FIELDS,
    TWO_HOSTS,
    TWO_LENGTHS,
)
from fastgate._core.routing.hosts cimport HOST_ROOM, end_of_host, write_host

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
    # Fields that are about a connection of HTTP/1.1 and nothing else (RFC 9113 section 8.2.2).
    OF_HTTP_1 = 1 << CONNECTION | 1 << KEEP_ALIVE | 1 << PROXY_CONNECTION | 1 << TRANSFER_ENCODING | 1 << UPGRADE \
        | 1 << HTTP2_SETTINGS

include "head_names.pxi"


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
        self.major = 1
        self.content_length = -1
        self.chunked = self.close = self.keep_alive = self.has_forwarded = self.upgrade_named = False
        self.host = self.upgrade = self.expect = self.connection = -1
        self.host_checked = False
        self.seen = 0
        self.names = 0
        self.status = 0
        self.method.length = self.target.length = self.reason.length = 0

    cdef void release(self) noexcept:
        """Lets go of the bytes."""
        self.data = self.trailers = None
        self.clear()

    cdef int copy(self, Head other) except -1:
        """Becomes the same head: the bytes are shared, the index and its flags are not."""
        self.lines = other.count
        if other.count > self.capacity and not self.grow():
            raise MemoryError
        memcpy(self.fields, other.fields, other.count * sizeof(Field))
        self.data = other.data
        self.trailers = other.trailers
        self.p = other.p
        self.length = other.length
        self.count = other.count
        self.method = other.method
        self.target = other.target
        self.major = other.major
        self.minor = other.minor
        self.minor_sent = other.minor_sent
        self.status = other.status
        self.reason = other.reason
        self.content_length = other.content_length
        self.chunked = other.chunked
        self.close = other.close
        self.keep_alive = other.keep_alive
        self.host = other.host
        self.host_checked = other.host_checked
        self.upgrade = other.upgrade
        self.expect = other.expect
        self.connection = other.connection
        self.has_forwarded = other.has_forwarded
        self.upgrade_named = other.upgrade_named
        self.seen = other.seen
        self.names = other.names
        self.names_again = other.names_again
        return 0

    # Heads that no HTTP/1.1 brought: a wire decodes ``lines``, each ``name: value`` with CRLF, and they are held to the
    # same rules as any. Where a body follows whose length no field gives, the wire sets ``chunked`` afterwards. OK, or
    # the cause to refuse the head for.

    cdef int fill_request(
        self, bytes method, bytes target, bytes lines, Py_ssize_t max_bytes, int field_names
    ) except -1:
        return self.fill(b"%b %b HTTP/1.1" % (method, target), lines, True, max_bytes, field_names)

    cdef int fill_response(self, int status, bytes lines, Py_ssize_t max_bytes) except -1:
        return self.fill(b"HTTP/1.1 %03d " % status, lines, False, max_bytes, NAMES_PASS)

    cdef int fill(self, bytes start, bytes lines, bint request, Py_ssize_t max_bytes, int field_names) except -1:
        cdef bytes data = b"%b\r\n%b\r\n" % (start, lines)
        cdef Py_ssize_t size
        cdef int cause
        self.release()
        self.data = data
        size = self.scan(<const unsigned char*>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), request, max_bytes)
        if size <= 0:
            return <int>-size or BAD_REQUEST
        if size != PyBytes_GET_SIZE(data):
            return BAD_REQUEST
        cause = self.index(request, field_names)
        if cause == OK and self.seen & OF_HTTP_1:
            return BAD_CONNECTION
        return cause

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
                return -self.fault(i, request, BARE_LF if c == b"\n" else BAD_CHARACTER)
            if i + 1 >= limit:
                break
            if p[i + 1] != b"\n":
                return -self.fault(i, request, BARE_CR)
            if i == self.line:
                if self.lines > 0:
                    self.length = i + 2
                    return self.length
                return -BAD_START_LINE
            if self.lines == 0:
                cause = self.request_line(i) if request else self.status_line(i)
                if cause != OK:
                    return -cause
            elif self.lines > self.limit:
                return -TOO_MANY_FIELDS
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

    cdef int fault(self, Py_ssize_t at, bint request, int cause) noexcept:
        """What a head is refused for that has a fault at ``at``: something before it in the request line comes first,
        as it does where the bytes come one by one.
        """
        cdef int earlier = self.unfinished_line(at) if request and self.lines == 0 else OK
        return cause if earlier == OK else earlier

    cdef int unfinished_line(self, Py_ssize_t end) noexcept:
        """What can be said of a request line whose end has not come."""
        cdef Py_ssize_t seen = end if end <= MAX_METHOD else MAX_METHOD + 1
        cdef const unsigned char* space = <const unsigned char*>memchr(self.p, b" ", seen)
        cdef Py_ssize_t method = space - self.p if space != NULL else end
        if method > MAX_METHOD or (method > 0 and not is_token(self.p, method)) or (space != NULL and method == 0):
            return BAD_METHOD
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
        if i == 0 or i > MAX_METHOD or (i < end and p[i] != b" "):
            return BAD_METHOD
        if i == end:
            return BAD_START_LINE
        self.method.start = 0
        self.method.length = <uint32_t>i
        i += 1
        start = i
        while i < end and TARGET[p[i]]:
            i += 1
        if i - start > MAX_TARGET:
            return TARGET_TOO_LONG
        if i < end and p[i] != b" ":
            return BAD_TARGET_CHARACTER
        if i == start or i == end:
            return BAD_START_LINE
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
        return BAD_START_LINE

    cdef int status_line(self, Py_ssize_t end) noexcept:
        """HTTP-version SP status-code SP [ reason-phrase ], RFC 9112 section 4. A missing last space is forgiven, as
        everybody does.
        """
        cdef const unsigned char* p = self.p
        cdef Py_ssize_t i
        if end < 12 or memcmp(p, b"HTTP/1.", 7) != 0 or not 48 <= p[7] <= 57 or p[8] != b" ":
            return BAD_START_LINE
        self.minor_sent = p[7] - 48
        self.minor = 1 if self.minor_sent > 1 else self.minor_sent
        self.status = 0
        for i in range(9, 12):
            if not 48 <= p[i] <= 57:
                return BAD_START_LINE
            self.status = self.status * 10 + p[i] - 48
        if self.status < 100 or self.status > 599:
            return BAD_START_LINE
        if end > 12 and p[12] != b" ":
            return BAD_START_LINE
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
        cdef bint odd                      # the name has other bytes than letters, digits and "-"
        cdef int number
        cdef int codings = 0
        cdef int cause
        cdef int count = 0
        if self.capacity < self.lines - 1 and not self.grow():
            return HEAD_TOO_LARGE
        line_end = <const unsigned char*>memchr(p, b"\r", self.length)
        i = line_end - p + 2
        while i < last:
            if count >= self.capacity:
                return TOO_MANY_FIELDS
            field = &self.fields[count]
            start = i
            while TOKEN[p[i]] == 1:
                i += 1
            odd = TOKEN[p[i]] == 2
            while TOKEN[p[i]]:
                i += 1
            # An empty name, a space before the colon and a folded line all end here (RFC 9112 sections 5.1 and 5.2).
            if i == start or p[i] != b":" or i - start > 65535:
                return self.name_fault(start, i)
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
            if odd and request:
                cause = self.odd_name(field, field_names)
                if cause != OK:
                    return cause
                number = OTHER
            if number != OTHER:
                self.seen |= <uint32_t>1 << number
                if number == HOST:
                    if request and self.host >= 0:
                        return TWO_HOSTS
                    self.host = count
                    if not request:
                        field.flags = 0
                elif number == CONTENT_LENGTH:
                    if self.content_length >= 0:
                        return TWO_LENGTHS
                    if not self.read_length(field):
                        return BAD_LENGTH
                elif number == TRANSFER_ENCODING:
                    codings += 1
                    cause = CODING_IN_1_0 if self.minor == 0 else self.read_coding(field)
                    if cause != OK:
                        return cause
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
            count += 1
        self.count = count
        if not request and self.seen & <uint32_t>1 << PROXY:
            self.pass_proxy()
        if codings:
            if codings > 1:
                return BAD_CODING
            if self.content_length >= 0:
                return LENGTH_AND_CODING
            self.chunked = True
        if self.connection >= 0:
            cause = self.connection_options()
            if cause != OK:
                return cause
        if self.minor == 0 and not self.keep_alive:
            self.close = True
        return OK

    cdef int name_fault(self, Py_ssize_t start, Py_ssize_t end) noexcept:
        """Why a line cannot be read that has no name with a colon behind it; ``end`` is where its name broke off."""
        cdef const unsigned char* p = self.p
        if p[end] != b" " and p[end] != b"\t":
            return BAD_FIELD_NAME
        if end == start:
            return FOLDED_LINE
        while p[end] == b" " or p[end] == b"\t":
            end += 1
        return SPACE_BEFORE_COLON if p[end] == b":" else BAD_FIELD_NAME

    cdef void pass_proxy(self) noexcept:
        """In answers it is a field like others."""
        cdef int i
        for i in range(self.count):
            if self.fields[i].id == PROXY:
                self.fields[i].flags &= ~DROPPED

    cdef int odd_name(self, Field* field, int field_names) noexcept:
        """A name with anything but letters, digits and "-". A method, so that it is not made part of `index`."""
        if field_names == NAMES_REJECT:
            return REJECTED_FIELD_NAME
        if field_names == NAMES_DROP or spells_known(self.p + field.name, field.name_length):
            field.flags |= DROPPED
        field.id = OTHER
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
        return BAD_CODING

    cdef int connection_options(self) noexcept:
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
                        return BAD_CONNECTION
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
