"""The access log: one line an exchange, written into a block of memory from the spans of its heads.

Theory of operation
-------------------
An `AccessLog` is an observer of the runtime: it is told of each exchange exactly once (`finished`), while the heads can
still be read. What the client and the configuration put into a line is gathered first, as spans (`Text`); the room for
the line is the sum of what these same spans need at most, and of `ROOM` for what the gateway says itself. Then the line
is written in one go. No Python object is made for it. A line that was begun is finished: `filled` is the last step, so
that an error on the way leaves no half of one.

Lines stand one behind the other in a block of memory. A block of `BLOCK` bytes is written at once where the writer
has a `descriptor` that is good for that, and what it does not take is handed over with `left`; else a copy of it is
handed to the writer (`append(lines, count) -> bool`), whose thread does all input and output. What does not fill a
block is fetched by the writer with `collect`, in the loop's turn or from its thread: the first line after a
collection calls its `wake`, the others cost nothing. Formatting calls nothing that could let go of the GIL, so that
`collect` finds whole lines only. A line costs O(its length), about an instruction a byte; the block's memory is kept.
The time of day is read once a second: in between it is the monotonic clock, which the exchange has read already.

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
from libc.string cimport memchr, memcpy, memset, strlen
from posix.time cimport CLOCK_MONOTONIC, CLOCK_REALTIME, clock_gettime, timespec
from posix.unistd cimport write

from fastgate._core.exchange.cache_result cimport CACHE_RESULTS, cache_result
from fastgate._core.exchange.identity cimport Identity
from fastgate._core.memory.buffer cimport filled, free_buffer, room, write_number
from fastgate._core.exchange.causes cimport (
    CACHE_ANSWERED,
    CAUSES,
    GATEWAY_ANSWERED,
    OK,
    POLICY_ANSWERED,
    ROUTE_ANSWERED,
    outcomes,
)
from fastgate._core.exchange.exchange cimport Exchange
from fastgate._core.exchange.head cimport REFERER, USER_AGENT, Field, Head
from fastgate._core.routing.query cimport Parameter, find_parameter, without_parameter

from fastgate._core.exchange.causes import reason_of

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

cdef extern from "observe/log_text.h":
    Py_ssize_t JSON_MOST(Py_ssize_t length)
    Py_ssize_t QUOTED_MOST(Py_ssize_t length)
    char* write_text(char* at, const char* text)
    char* write_json(char* at, const unsigned char* text, Py_ssize_t length)
    char* write_quoted(char* at, const unsigned char* text, Py_ssize_t length)
    char* write_word(char* at, const unsigned char* text, Py_ssize_t length)
    char* write_two(char* at, unsigned int number)
    char* write_three(char* at, unsigned int number)
    char* write_milliseconds(char* at, uint64_t begin, uint64_t end)

cdef enum:
    BLOCK = 65536
    ROOM = 1024                # of a line, beside its texts: names of keys, numbers, the time, the word of the cause
    SECOND = 1000000           # microseconds
    SLOW = 50                  # milliseconds for a write, from which on the writer's thread does it

cdef const char* MONTHS = b"JanFebMarAprMayJunJulAugSepOctNovDec"

# What a line has of the client and the configuration. No start: there is no such text.
cdef struct Text:
    const unsigned char* start
    Py_ssize_t length

cdef enum:
    ID
    CLIENT
    METHOD
    HOST
    PATH                       # JSON: as it was matched; combined: the target without its query
    QUERY
    ROUTE
    IDENTITY
    UPSTREAM
    AGENT
    REFERRER
    TEXTS

cdef const char* cache_words[CACHE_RESULTS]     # as JSON
cache_words[:] = [b"null", b'"hit"', b'"miss"', b'"stale"', b'"revalidated"', b'"collapsed"', b'"bypass"']

cdef char ends[CAUSES][32]     # the words of the causes, each with a 0 behind it

for _cause in range(CAUSES):
    _word = (reason_of(_cause) or "").encode("ascii")
    if len(_word) >= 32:
        raise ValueError(f"the word of a cause has at most 31 characters: {_word}")
    memcpy(ends[_cause], PyBytes_AS_STRING(_word), len(_word) + 1)


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
        free_buffer(&self.buffer)

    def collect(self) -> None:
        """Hands over what is there. For the writer's thread, and once at the end."""
        self.told = False
        if self.lines:
            self.hand_over()

    cdef int finished(self, Exchange x) except -1:
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
        if status >= 400 or cause not in (OK, CACHE_ANSWERED, POLICY_ANSWERED, GATEWAY_ANSWERED, ROUTE_ANSWERED):
            return True
        self.random ^= self.random << 13
        self.random ^= self.random >> 7
        self.random ^= self.random << 17
        return self.random < self.threshold

    cdef int hand_over(self) except -1:
        cdef const char* data = self.buffer.data
        cdef Py_ssize_t length = self.buffer.length
        cdef Py_ssize_t written = 0
        cdef int count = self.lines
        cdef int fd = self.writer.descriptor
        cdef bytes lines
        cdef uint64_t began
        if fd >= 0:
            # In the loop's turn: nothing is put into the block meanwhile.
            self.buffer.length = 0
            self.lines = 0
            began = milliseconds()
            with nogil:
                written = max(write(fd, data, length), 0)
            if written < length or milliseconds() - began > SLOW:
                lines = PyBytes_FromStringAndSize(data + written, length - written)
                self.writer.left(lines, written > 0 and data[written - 1] != c"\n")
            return 0
        lines = PyBytes_FromStringAndSize(data, length)
        # From here on another thread may run: this block is no longer there for it.
        self.buffer.length = 0
        self.lines = 0
        if not self.writer.append(lines, count) and self.engine is not None:
            self.engine.slab.log_lines_dropped += count
        return 0

    cdef int put_json_line(self, Exchange x, int status) except -1:
        cdef Text texts[TEXTS]
        cdef Head head = x.request
        cdef tuple unlogged = x.runtime.unlogged
        cdef bytes shown = None            # holds what the spans of `texts` point into
        cdef int64_t at = self.time_of(x)
        cdef Py_ssize_t length = 0
        cdef Py_ssize_t most
        cdef char* p
        cdef int i
        gather(x, texts)
        if x.path_length:
            texts[PATH].start = x.path
            texts[PATH].length = x.path_length
        elif head.data is not None:
            texts[PATH].start = head.p + head.target.start
            texts[PATH].length = shown_length(texts[PATH].start, head.target.length, unlogged)
        if x.has_query:
            texts[QUERY].start = x.query
            texts[QUERY].length = x.query_length
            if unlogged is not None:
                shown = without_secrets(x.query, x.query_length, unlogged)
                if shown is not None:
                    texts[QUERY].start = <const unsigned char*>PyBytes_AS_STRING(shown) if shown else NULL
                    texts[QUERY].length = PyBytes_GET_SIZE(shown)
        if x.host_length:
            texts[HOST].start = x.host
            texts[HOST].length = x.host_length
        if x.id_length:
            texts[ID].start = <const unsigned char*>x.id
            texts[ID].length = x.id_length
        if x.route is not None:
            texts[ROUTE].start = <const unsigned char*>PyUnicode_AsUTF8AndSize(x.route.name, &texts[ROUTE].length)
        if x.target_name is not None:
            texts[UPSTREAM].start = <const unsigned char*>PyUnicode_AsUTF8AndSize(
                x.target_name, &texts[UPSTREAM].length
            )
        for i in range(TEXTS):
            length += texts[i].length
        most = JSON_MOST(length) + TEXTS * JSON_MOST(0) + ROOM
        p = room(&self.buffer, most)
        p = write_text(p, b'{"time":"')
        memcpy(p, self.stamp, self.stamp_length)
        p = write_three(p + self.stamp_length, <unsigned int>(at // 1000 % 1000))
        p = write_text(p, b'Z","id":')
        p = write_json(p, texts[ID].start, texts[ID].length)
        p = write_text(p, b',"client":')
        p = write_json(p, texts[CLIENT].start, texts[CLIENT].length)
        p = write_text(p, b',"method":')
        p = write_json(p, texts[METHOD].start, texts[METHOD].length)
        p = write_text(p, b',"host":')
        p = write_json(p, texts[HOST].start, texts[HOST].length)
        p = write_text(p, b',"path":')
        p = write_json(p, texts[PATH].start, texts[PATH].length)
        p = write_text(p, b',"query":')
        p = write_json(p, texts[QUERY].start, texts[QUERY].length)
        if head.data is not None:
            p = write_text(p, b',"version":"1.')
            p = write_number(p, head.minor_sent)
            p = write_text(p, b'","status":')
        else:
            p = write_text(p, b',"version":null,"status":')
        p = write_number(p, status)
        p = write_text(p, b',"bytes_in":')
        p = write_number(p, x.body_bytes)
        p = write_text(p, b',"bytes_out":')
        p = write_number(p, x.bytes_out)
        p = write_text(p, b',"route":')
        p = write_json(p, texts[ROUTE].start, texts[ROUTE].length)
        p = write_text(p, b',"identity":')
        p = write_json(p, texts[IDENTITY].start, texts[IDENTITY].length)
        p = write_text(p, b',"upstream":')
        p = write_json(p, texts[UPSTREAM].start, texts[UPSTREAM].length)
        p = write_text(p, b',"attempts":')
        p = write_number(p, x.tries)
        p = write_text(p, b',"cache":')
        p = write_text(p, cache_words[cache_result(x)])
        p = write_text(p, b',"head_ms":')
        p = write_milliseconds(p, x.started, x.head_at)
        p = write_text(p, b',"policies_ms":')
        p = write_milliseconds(p, x.head_at, x.forwarded_at)
        p = write_text(p, b',"connect_ms":')
        p = write_milliseconds(p, x.forwarded_at, x.connected_at)
        p = write_text(p, b',"response_ms":')
        p = write_milliseconds(p, x.connected_at, x.response_at)
        p = write_text(p, b',"body_ms":')
        p = write_milliseconds(p, x.response_at, x.ended)
        p = write_text(p, b',"total_ms":')
        p = write_milliseconds(p, x.started, x.ended)
        p = write_text(p, b',"end":"')
        p = write_text(p, ends[x.cause])
        p = write_text(p, b'","user_agent":')
        p = write_json(p, texts[AGENT].start, texts[AGENT].length)
        p = write_text(p, b',"referer":')
        p = write_json(p, texts[REFERRER].start, texts[REFERRER].length)
        p = write_text(p, b"}\n")
        filled(&self.buffer, p)
        return 0

    cdef int put_combined_line(self, Exchange x, int status) except -1:
        cdef Text texts[TEXTS]
        cdef Head head = x.request
        cdef tuple unlogged = x.runtime.unlogged
        cdef bytes shown = None            # holds what the spans of `texts` point into
        cdef const unsigned char* target
        cdef Py_ssize_t length
        cdef Py_ssize_t most = ROOM
        cdef char* p
        cdef int i
        self.time_of(x)
        gather(x, texts)
        if head.data is not None:
            target = head.p + head.target.start
            length = head.target.length
            if unlogged is not None:
                length = before_query(target, length)
                if length < head.target.length:
                    shown = without_secrets(target + length + 1, head.target.length - length - 1, unlogged)
            texts[PATH].start = target
            texts[PATH].length = head.target.length if shown is None else length
            if shown:
                texts[QUERY].start = <const unsigned char*>PyBytes_AS_STRING(shown)
                texts[QUERY].length = PyBytes_GET_SIZE(shown)
        for i in range(TEXTS):
            most += QUOTED_MOST(texts[i].length)
        p = room(&self.buffer, most)
        p = write_word(p, texts[CLIENT].start, texts[CLIENT].length)
        p = write_text(p, b" - ")
        if texts[IDENTITY].length:
            p = write_word(p, texts[IDENTITY].start, texts[IDENTITY].length)
        else:
            p = write_text(p, b"-")
        p = write_text(p, b" [")
        memcpy(p, self.stamp, self.stamp_length)
        p = write_text(p + self.stamp_length, b'] "')
        if head.data is not None:
            p = write_quoted(p, texts[METHOD].start, texts[METHOD].length)
            p = write_text(p, b" ")
            p = write_quoted(p, texts[PATH].start, texts[PATH].length)
            if texts[QUERY].start != NULL:
                p = write_text(p, b"?")
                p = write_quoted(p, texts[QUERY].start, texts[QUERY].length)
            p = write_text(p, b" HTTP/1.")
            p = write_number(p, head.minor_sent)
        else:
            p = write_text(p, b"-")
        p = write_text(p, b'" ')
        p = write_three(p, status)
        p = write_text(p, b" ")
        p = write_number(p, x.bytes_out)
        p = write_text(p, b' "')
        p = write_quoted_or_dash(p, &texts[REFERRER])
        p = write_text(p, b'" "')
        p = write_quoted_or_dash(p, &texts[AGENT])
        p = write_text(p, b'"\n')
        filled(&self.buffer, p)
        return 0

    cdef int64_t time_of(self, Exchange x) noexcept:
        """When the first byte of the request came, in microseconds since 1970; `stamp` stands for its second then."""
        cdef timespec now
        cdef timespec steady
        cdef int64_t at
        cdef uint64_t since = x.ended - self.read_at
        if since >= SECOND:
            clock_gettime(CLOCK_REALTIME, &now)
            clock_gettime(CLOCK_MONOTONIC, &steady)
            self.read_at = x.ended
            self.epoch = (<int64_t>now.tv_sec - steady.tv_sec) * SECOND + (now.tv_nsec - steady.tv_nsec) // 1000
        at = self.epoch + <int64_t>x.started
        if at // SECOND != self.second:
            self.second = at // SECOND
            self.make_stamp()
        return at

    cdef void make_stamp(self) noexcept:
        """The second as the format has it: 26 bytes, or 42 if a clock says a year of 20 digits."""
        cdef time_t clock = self.second
        cdef tm parts
        cdef long offset
        cdef char* p = self.stamp
        if self.combined:
            localtime_r(&clock, &parts)
        else:
            gmtime_r(&clock, &parts)
        if self.combined:
            p = write_two(p, parts.tm_mday)
            p = write_text(p, b"/")
            memcpy(p, MONTHS + 3 * (parts.tm_mon % 12), 3)
            p = write_text(p + 3, b"/")
            p = write_number(p, parts.tm_year + 1900)
            p = write_text(p, b":")
        else:
            p = write_number(p, parts.tm_year + 1900)
            p = write_text(p, b"-")
            p = write_two(p, parts.tm_mon + 1)
            p = write_text(p, b"-")
            p = write_two(p, parts.tm_mday)
            p = write_text(p, b"T")
        p = write_two(p, parts.tm_hour)
        p = write_text(p, b":")
        p = write_two(p, parts.tm_min)
        p = write_text(p, b":")
        p = write_two(p, parts.tm_sec)
        if self.combined:
            offset = parts.tm_gmtoff // 60
            p = write_text(p, b" -" if offset < 0 else b" +")
            offset = abs(offset)
            p = write_two(p, offset // 60)
            p = write_two(p, offset % 60)
        else:
            p = write_text(p, b".")
        self.stamp_length = <int>(p - self.stamp)


cdef char* write_quoted_or_dash(char* p, Text* text) noexcept:
    return write_text(p, b"-") if text.start == NULL else write_quoted(p, text.start, text.length)


cdef void gather(Exchange x, Text* texts) noexcept:
    """What both formats have; the others are set to none."""
    cdef Head head = x.request
    cdef bytes client = x.client_ip
    cdef Field* field
    cdef Text* text
    cdef int missing
    cdef int i
    memset(texts, 0, TEXTS * sizeof(Text))
    if client is None and x.client is not None and x.client.peer is not None:
        client = x.client.peer.address
    if not client:
        texts[CLIENT].start = <const unsigned char*>b"-"
        texts[CLIENT].length = 1
    else:
        texts[CLIENT].start = <const unsigned char*>PyBytes_AS_STRING(client)
        texts[CLIENT].length = PyBytes_GET_SIZE(client)
    if isinstance(x.identity, Identity):
        name_of(<Identity>x.identity, &texts[IDENTITY])
    if head.data is None:
        return
    texts[METHOD].start = head.p + head.method.start
    texts[METHOD].length = head.method.length
    missing = (head.seen >> USER_AGENT & 1) + (head.seen >> REFERER & 1)
    for i in range(head.count):
        if missing == 0:
            break
        field = &head.fields[i]
        if field.id != USER_AGENT and field.id != REFERER:
            continue
        text = &texts[AGENT if field.id == USER_AGENT else REFERRER]
        if text.start == NULL:             # the first of its name
            missing -= 1
            text.start = head.p + field.value
            text.length = field.value_length
            if field.id == REFERER:
                text.length = shown_length(text.start, text.length, x.runtime.unlogged)


cdef uint64_t milliseconds() noexcept:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <uint64_t>now.tv_sec * 1000 + now.tv_nsec // 1000000


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


cdef void name_of(Identity who, Text* text) noexcept:
    """Of who was authenticated. Its key is its method and its id: bytes also where the id is no Unicode."""
    cdef const char* key = PyBytes_AS_STRING(who.key)
    cdef Py_ssize_t method = <Py_ssize_t>strlen(key) + 1
    text.start = <const unsigned char*>key + method
    text.length = PyBytes_GET_SIZE(who.key) - method
