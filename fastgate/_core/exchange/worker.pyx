"""What a worker has one of: loop, wheel, parsers, counters, scratch space and the runtime that new exchanges use.

httptools validates every head, after `Head.index` has read its framing, on exactly the bytes of the head. One request
parser and one response parser serve the whole worker: no head is ever left half fed. After a head that is not a
complete keep-alive message by itself the parser waits for a body it will never see, so it is set up anew before the
next one.
"""

import os
import time
from collections import OrderedDict
from weakref import WeakSet

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser, HttpResponseParser

from fastgate._core.memory.buffer cimport free_buffer
from fastgate._core.exchange.head cimport PROXY_CONNECTION, Head
from fastgate._core.exchange.route cimport Runtime
from fastgate._core.memory.counters cimport slab_of
from fastgate._core.memory.region cimport Region
from fastgate._core.memory.targets cimport TargetRows
from fastgate._core.memory.workers cimport beat, worker_slot
from fastgate._core.exchange.timers cimport Wheel

from fastgate._core.exchange.timers import TICK_MS

cdef char hex_pairs[512]
memcpy(hex_pairs, PyBytes_AS_STRING(bytes(range(256)).hex().encode()), 512)

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

# What httptools can read. Every other token is shown to it as POST: the framing rules are the same (RFC 9110 section
# 9.1).
_METHODS = frozenset((
    b"DELETE", b"GET", b"HEAD", b"POST", b"PUT", b"CONNECT", b"OPTIONS", b"TRACE", b"COPY", b"LOCK", b"MKCOL",
    b"MOVE", b"PROPFIND", b"PROPPATCH", b"SEARCH", b"UNLOCK", b"BIND", b"REBIND", b"UNBIND", b"ACL", b"REPORT",
    b"MKACTIVITY", b"CHECKOUT", b"MERGE", b"M-SEARCH", b"NOTIFY", b"SUBSCRIBE", b"UNSUBSCRIBE", b"PATCH", b"PURGE",
    b"MKCALENDAR", b"LINK", b"UNLINK",
))


cdef extern from *:
    """
    #if defined(__GLIBC__)
    #include <malloc.h>
    static void keep_freed_memory(void) {
        mallopt(M_MMAP_THRESHOLD, 4 << 20);
        mallopt(M_TRIM_THRESHOLD, 8 << 20);
    }
    #else
    static void keep_freed_memory(void) {}
    #endif
    """
    void keep_freed_memory()


def tune_allocator():
    """Keeps up to 8 MB of freed memory in the process, for a process that is all gateway.

    Reads are objects of up to 256 KB; glibc would map and unmap each: 90 page faults for a body of 1 MB, a quarter of
    its cost.
    """
    keep_freed_memory()


# What httptools made of a head.
cdef enum HeadVerdict:
    REFUSED
    READ                       # and is ready for the next, unless more of the message was to come
    BEFORE_MORE                # and is not ready for the next


cdef enum:
    PARTS = 8                  # of what features keep for a worker

cdef int parts_taken = 0


cdef int new_part() except -1:
    """A number below `PARTS` for a feature, asked for once, when its module is loaded: the place of its `Part`."""
    global parts_taken
    if parts_taken == PARTS:
        raise RuntimeError(f"more than {PARTS} features keep something for a worker")
    parts_taken += 1
    return parts_taken - 1


cdef class Part:
    cdef int turned(self) except -1:
        return 0


cdef class Engine:
    """The one of its worker. ``log(level, message, **fields)`` takes what an operator should know."""

    def __cinit__(
        self, loop, int slot, log, *, Region workers not None, Region counters not None, TargetRows rows not None
    ):
        self.loop = loop
        self.slot = slot
        self.workers = workers
        self.seat = worker_slot(workers, slot)
        self.counters = counters
        self.slab = slab_of(counters, slot)
        self.rows = rows
        self.ready = True
        self.log = log
        self.wheel = Wheel(self.timer_failed)
        self.connections = set()
        self.arrivals = OrderedDict()
        self.shares = {}
        self.said_at = {}
        self.copies = set()
        self.afterwards = set()
        self.pools = WeakSet()
        self.parts = [None] * PARTS
        self.turning = []
        self.sink = object()
        self.request_parser = HttpRequestParser(self.sink)
        self.response_parser = HttpResponseParser(self.sink)
        self.feed_request = self.request_parser.feed_data
        self.feed_response = self.response_parser.feed_data
        memcpy(self.id_state, PyBytes_AS_STRING(os.urandom(16)), 16)

    def __dealloc__(self):
        free_buffer(&self.buffer)

    def timer_failed(self, error):
        self.loop.call_exception_handler({"message": "a deadline handler raised an exception", "exception": error})

    def start(self):
        """Sets the wheel going."""
        self.turn()

    def turn(self):
        self.timer = self.loop.call_later(TICK_MS / 1000, self.turn)
        beat(self.seat)
        self.wheel.turn()
        if self.turning:
            for part in list(self.turning):
                (<Part>part).turned()

    def stop(self):
        """Stops the wheel and what waits after its exchange, and lets go of what was kept for later."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        for task in list(self.afterwards):
            task.cancel()
        self.stopped = True
        self.spare = None
        self.spares = 0

    def use(self, Runtime runtime):
        """New exchanges use this runtime; those under way keep theirs."""
        self.runtime = runtime
        self.repeats = None
        self.spare = None
        self.spares = 0
        self.identify_anew()

    def identify_anew(self):
        """What is believed of open connections is asked for again at their next request: a reload may have changed it.
        """
        for connection in self.connections:
            connection.identify_anew()

    def close_idle(self):
        """Closes the client connections on which nothing is under way and nothing unread."""
        for connection in list(self.connections):
            connection.close_idle()
        for connection in list(self.arrivals):
            connection.abort()

    def close_idle_upstreams(self, most=64):
        """Closes some connections to upstreams that have rested longest, because files are needed; says how many."""
        closed = 0
        for pool in list(self.pools):
            closed += pool.close_oldest(max(1, most // len(self.pools)))
        return closed

    def abort_connections(self):
        """Ends every client connection now, and what no client waits for."""
        for connection in [*self.connections, *self.arrivals]:
            connection.abort()
        for copy in list(self.copies):
            copy.abort()

    @property
    def open_connections(self):
        """Client connections that are open."""
        return len(self.connections) + len(self.arrivals)

    cdef int turned_away(self, str kind, str reason) except -1:
        """Counts a connection above a limit, and says so."""
        self.slab.refused_connections += 1
        return self.say_full(kind, f"refusing new connections: {reason}")

    cdef int say_full(self, str kind, str message) except -1:
        """Says that there are too many connections, of each kind at most once in ten seconds."""
        if kind not in self.said_at or self.wheel.now - self.said_at[kind] >= 10000:
            self.said_at[kind] = self.wheel.now
            self.log("warning", message)
        return 0

    # One parser of each kind sees the heads of all connections. What it made of one must not be held against the next:
    # where it does not begin again by itself it is made anew, and what it refuses while it may still have the message
    # before in mind is shown to it once more as the first that it sees.

    cdef bint accept_request(self, Head head, bytes data, Py_ssize_t offset) except -1:
        """httptools' verdict on a complete request head that begins at ``offset``."""
        cdef int verdict
        cdef bint first = self.request_first
        self.request_first = False
        verdict = self.show_request(head, data, offset)
        if verdict == REFUSED and not first:
            self.request_parser.__init__(self.sink)
            verdict = self.show_request(head, data, offset)
        if verdict != READ or head.chunked or head.content_length > 0 or head.close or head.upgrade != -1 \
                or head.seen & (<uint32_t>1 << PROXY_CONNECTION):
            self.request_parser.__init__(self.sink)
            self.request_first = True
        return verdict != REFUSED

    cdef int show_request(self, Head head, bytes data, Py_ssize_t offset) except -1:
        cdef const char* p = PyBytes_AS_STRING(data) + offset
        cdef bytes method
        try:
            if head.minor_sent > 1 or not (
                memcmp(p, b"GET ", 4) == 0 or memcmp(p, b"POST ", 5) == 0 or memcmp(p, b"PUT ", 4) == 0
                or memcmp(p, b"HEAD ", 5) == 0 or p[:head.method.length] in _METHODS
            ):
                method = p[:head.method.length]
                self.feed_request(method if method in _METHODS else b"POST")
                self.feed_request(p[head.method.length:head.target.start + head.target.length + 1])
                self.feed_request(b"HTTP/1.1" if head.minor else b"HTTP/1.0")
                self.feed_request(p[head.target.start + head.target.length + 9:head.length])
                return BEFORE_MORE
            if offset == 0 and PyBytes_GET_SIZE(data) == head.length:
                self.feed_request(data)
            else:
                self.feed_request(PyBytes_FromStringAndSize(p, head.length))
        except HttpParserUpgrade:
            return BEFORE_MORE
        except HttpParserError:
            return REFUSED
        return READ

    cdef bint accept_response(self, Head head, bytes data, Py_ssize_t offset, bint bodiless) except -1:
        """httptools' verdict on a complete response head. ``bodiless``: the parser may believe that nothing follows."""
        cdef int verdict
        cdef bint first = self.response_first
        # The whole message lies there: shown whole, the parser is ready for the next one by itself.
        cdef bint whole = head.minor_sent <= 1 and not bodiless and head.content_length > 0 and not head.close \
            and not head.chunked and offset == 0 and PyBytes_GET_SIZE(data) == head.length + head.content_length
        self.response_first = False
        verdict = self.show_response(head, data, offset, whole)
        if verdict == REFUSED and not first:
            self.response_parser.__init__(self.sink)
            verdict = self.show_response(head, data, offset, whole)
        if verdict != READ or head.seen & (<uint32_t>1 << PROXY_CONNECTION) \
                or (not whole and (head.close or head.chunked or head.content_length != 0)):
            self.response_parser.__init__(self.sink)
            self.response_first = True
        return verdict != REFUSED

    cdef int show_response(self, Head head, bytes data, Py_ssize_t offset, bint whole) except -1:
        cdef const char* p = PyBytes_AS_STRING(data) + offset
        try:
            if head.minor_sent > 1:
                self.feed_response(b"HTTP/1.1")
                self.feed_response(p[8:head.length])
            elif whole or (offset == 0 and PyBytes_GET_SIZE(data) == head.length):
                self.feed_response(data)
            else:
                self.feed_response(PyBytes_FromStringAndSize(p, head.length))
        except HttpParserUpgrade:
            return BEFORE_MORE
        except HttpParserError:
            return REFUSED
        return READ

    cdef bytes date(self):
        """``Date: …`` with its line end, made once a second (RFC 9110 section 6.6.1)."""
        cdef uint64_t second = self.wheel.now // 1000
        if self.date_line is None or second != self.date_at:
            self.date_at = second
            # Not email.utils: its import is a tenth of a start. Not strftime(): it speaks the language of the locale.
            now = time.gmtime()
            self.date_line = (
                f"Date: {_DAYS[now.tm_wday]}, {now.tm_mday:02} {_MONTHS[now.tm_mon - 1]} {now.tm_year}"
                f" {now.tm_hour:02}:{now.tm_min:02}:{now.tm_sec:02} GMT\r\n"
            ).encode()
        return self.date_line

    cdef void make_id(self, char* target) noexcept:
        """32 hexadecimal digits that no other request has: xorshift128+ over a seed from the system, twice."""
        cdef uint64_t word
        cdef int i, j
        for i in range(2):
            word = self.random()
            for j in range(8):
                memcpy(target + i * 16 + j * 2, &hex_pairs[2 * (word & 255)], 2)
                word >>= 8

    cdef uint64_t random(self) noexcept:
        """64 random bits, good enough to spread load with: xorshift128+."""
        cdef uint64_t one = self.id_state[0]
        cdef uint64_t other = self.id_state[1]
        self.id_state[0] = other
        one ^= one << 23
        self.id_state[1] = one ^ other ^ (one >> 17) ^ (other >> 26)
        return self.id_state[1] + other

    cdef object spawn(self, object coroutine):
        """A task of this worker's loop."""
        return self.loop.create_task(coroutine)
