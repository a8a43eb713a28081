"""Shows the parts of the core that Python cannot see to those who test or study them. The gateway never loads it.

Theory of operation
-------------------
Heads and bodies are read here by the very functions that the connections call. What a function is given lies at the
end of a block of memory behind which nothing can be read: a reader that looks one byte too far ends the process
instead of passing.
"""

import time

from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy
from posix.mman cimport MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, PROT_NONE, PROT_READ, PROT_WRITE, mmap, mprotect

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from fastgate._core.delivery.balancer cimport Balancer, Load, mix
from fastgate._core.memory.buffer cimport (
    filled,
    free_buffer,
    put_bytes,
    put_hex,
    put_length,
    put_number,
    reserve,
    room,
)
from fastgate._core.exchange.causes cimport OK, reason_of
from fastgate._core.exchange.hops cimport Element, address_of, read_elements
from fastgate._core.exchange.worker cimport Engine, live
from fastgate._core.wire.h1.framing cimport BROKEN, COMPLETE, by_chunks, by_length, feed, take, until_close
from fastgate._core.routing.hosts cimport HOST_ROOM, write_host
from fastgate._core.routing.networks cimport normal_address
from fastgate._core.exchange.head cimport (
    DROPPED,
    RULED,
    Field,
    Head,
    is_host,
    is_token,
    name_flags_of,
    name_id,
)
from fastgate._core.memory.targets cimport TargetRows
from fastgate._core.exchange.timers cimport Timed, Wheel

cdef extern from "auth/sha256.h" nogil:
    void sha256(const void* data, size_t length, unsigned char* digest32)

cdef extern from "observe/log_text.h":
    Py_ssize_t JSON_MOST(Py_ssize_t length)
    Py_ssize_t QUOTED_MOST(Py_ssize_t length)
    char* write_json(char* at, const unsigned char* text, Py_ssize_t length)
    char* write_quoted(char* at, const unsigned char* text, Py_ssize_t length)

cdef enum:
    PAGE = 65536               # a multiple of every page size in use
    ROOM = 1048576

cdef unsigned char* edge = NULL    # the first byte that must not be read


cdef int prepare() except -1:
    global edge
    cdef void* block = mmap(NULL, ROOM + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    if block == MAP_FAILED:
        raise MemoryError
    edge = <unsigned char*>block + ROOM
    if mprotect(edge, PAGE, PROT_NONE) != 0:
        raise OSError("a page could not be protected")
    return 0


prepare()


cdef const unsigned char* at_the_edge(bytes data) except NULL:
    """A copy of these bytes and of the zero that ends every bytes object; behind it nothing can be read."""
    cdef Py_ssize_t length = PyBytes_GET_SIZE(data)
    if length + 1 > ROOM:
        raise ValueError("too much to show at once")
    memcpy(edge - length - 1, PyBytes_AS_STRING(data), length + 1)
    return edge - length - 1


cdef bytes span(Head head, Py_ssize_t start, Py_ssize_t length):
    return (<const char*>head.p)[start:start + length]


def read_head(pieces, *, bint request=True, Py_ssize_t max_bytes=32768, int limit=100, field_names="drop"):
    """Feeds a head as a connection does: each time with everything that came so far.

    A dict; see the stub.
    """
    cdef Head head = Head.__new__(Head, limit)
    cdef bytes data = b""
    cdef bytes piece
    cdef const unsigned char* p
    cdef Py_ssize_t size = 0
    cdef int cause
    cdef int64_t seconds = -1
    cdef dict shown
    for piece in pieces:
        data += piece
        p = at_the_edge(data)
        size = head.scan(p, len(data), request, max_bytes)
        if size != 0:
            break
    shown = {"taken": len(data), "length": size if size > 0 else 0, "cause": None}
    if size == 0:
        return shown
    if size < 0:
        shown["cause"] = reason_of(<int>-size)
        return shown
    # The empty line ends the head: nothing behind it is looked at.
    data = data[:size]
    head.p = at_the_edge(data)
    cause = head.index(request, {"drop": 0, "pass": 1, "reject": 2}[field_names])
    if cause != OK:
        shown["cause"] = reason_of(cause)
        return shown
    head.keep_alive_timeout(&seconds)
    if request:
        shown["method"] = span(head, head.method.start, head.method.length)
        shown["target"] = span(head, head.target.start, head.target.length)
    else:
        shown["status"] = head.status
        shown["reason"] = span(head, head.reason.start, head.reason.length)
    shown.update(
        minor=head.minor,
        minor_sent=head.minor_sent,
        fields=[show_field(head, &head.fields[i]) for i in range(head.count)],
        content_length=head.content_length if head.content_length >= 0 else None,
        chunked=head.chunked,
        close=head.close,
        keep_alive=head.keep_alive,
        host=head.value_of(head.host) if head.host >= 0 else None,
        upgrade=head.value_of(head.upgrade) if head.upgrade >= 0 else None,
        upgrades=0 if head.upgrade == -1 else 1 if head.upgrade >= 0 else 2,
        upgrade_named=head.upgrade_named,
        expect=head.value_of(head.expect) if head.expect >= 0 else None,
        has_forwarded=head.has_forwarded,
        keep_alive_timeout=seconds if seconds >= 0 else None,
    )
    return shown


cdef tuple show_field(Head head, Field* field):
    return (
        span(head, field.name, field.name_length),
        span(head, field.value, field.value_length),
        field.flags & DROPPED != 0,
        field.flags & RULED != 0,
    )


def known_name(bytes name):
    """The number of a field name that the gateway knows, 0 for every other; whether such fields are dropped, ruled."""
    cdef int number = name_id(at_the_edge(name), len(name))
    cdef int flags = name_flags_of(number)
    return number, flags & DROPPED != 0, flags & RULED != 0


def sha_256(bytes data not None):
    """The SHA-256 of these bytes."""
    cdef unsigned char[32] digest
    sha256(at_the_edge(data), len(data), digest)
    return (<const char*>digest)[:32]


def token(bytes text):
    """Whether a text is a token (RFC 9110 section 5.6.2)."""
    return is_token(at_the_edge(text), len(text))


def host(bytes text):
    """Whether a text can stand in a Host field."""
    return is_host(at_the_edge(text), len(text))


def host_form(bytes text):
    """The form in which a host is compared; None: it is too long, or no literal."""
    cdef char form[HOST_ROOM]
    cdef Py_ssize_t size = write_host(at_the_edge(text), len(text), form)
    return form[:size] if size >= 0 else None


cdef class Decoder:
    """The framing of one body."""

    def __init__(self, kind, *, int64_t length=0, int trailer_limit=32768):
        if kind == "chunked":
            by_chunks(&self.framing, trailer_limit)
        elif kind == "length":
            by_length(&self.framing, length)
        elif kind == "until_close":
            until_close(&self.framing)
        else:
            raise ValueError(f"no such framing: {kind!r}")

    @property
    def done(self):
        """Whether the message is complete."""
        return self.framing.done

    def feed(self, bytes data):
        """Reads on, span by span: progress, how many bytes were consumed, the body among them."""
        cdef Py_ssize_t length = len(data)
        cdef const unsigned char* p = at_the_edge(data)
        cdef Py_ssize_t offset = 0
        cdef Py_ssize_t consumed, start, size
        cdef int progress
        cdef list body = []
        while True:
            consumed = start = size = 0
            progress = feed(&self.framing, p + offset, length - offset, &consumed, &start, &size)
            if progress == BROKEN:
                break
            if size:
                body.append((<const char*>p)[offset + start:offset + start + size])
            offset += consumed
            if progress == COMPLETE or offset >= length:
                break
        return progress_of(progress), offset, b"".join(body)

    def take(self, bytes data, Py_ssize_t offset=0):
        """The body of ``data`` from ``offset`` on as one object: progress, the new offset, the body or None."""
        cdef int progress = 0
        cdef bytes body = take(&self.framing, data, &offset, &progress)
        return progress_of(progress), offset, body


cdef str progress_of(int progress):
    return "broken" if progress == BROKEN else "complete" if progress == COMPLETE else "more"


def live_counts():
    return {"connections": live.connections, "exchanges": live.exchanges, "upstreams": live.upstreams}


def normalize_address(str text not None):
    cdef bytes found = normal_address(text.encode("utf-8", "surrogatepass"))
    return None if found is None else found.decode("ascii")


def read_address(bytes hop not None):
    return address_of(hop)


def read_forwarded(bytes value not None):
    cdef list elements = []
    cdef list shown = []
    cdef Element element
    if not read_elements(value, elements):
        return None
    for element in elements:
        shown.append((bool(element.has_node), element.node, element.proto, element.host))
    return shown


def json_text(bytes text not None):
    cdef Block block = Block()
    cdef char* at = room(&block.buffer, JSON_MOST(len(text)))
    filled(&block.buffer, write_json(at, <const unsigned char*>text, PyBytes_GET_SIZE(text)))
    return block.contents


def quoted_text(bytes text not None):
    cdef Block block = Block()
    cdef char* at = room(&block.buffer, QUOTED_MOST(len(text)))
    filled(&block.buffer, write_quoted(at, <const unsigned char*>text, PyBytes_GET_SIZE(text)))
    return block.contents


cdef class Alarm(Timed):
    """A deadline that calls back."""

    def __init__(self, callback):
        self.callback = callback

    cdef int expired(self) except -1:
        self.callback()
        return 0

    @property
    def is_set(self):
        """Whether a deadline is set."""
        return self.due != 0


def seed_random(Engine engine not None, uint64_t seed):
    """Makes what an engine chooses by chance the same each time."""
    engine.id_state[0] = seed * 2 + 1
    engine.id_state[1] = ~seed


cdef class HandWheel:
    """A timer wheel whose clock the caller moves."""

    def __init__(self, failed=None, Wheel wheel=None):
        self.wheel = Wheel(failed) if wheel is None else wheel
        self.now = self.wheel.now

    def arm(self, Alarm alarm, uint64_t delay):
        """Sets the deadline so many milliseconds from now; 0 takes it away."""
        self.wheel.arm(alarm, delay)

    def turn(self, uint64_t now):
        """Moves the clock to ``now``, in milliseconds, and fires what is due."""
        if now < self.now:
            raise ValueError("the clock never goes back")
        self.now = now
        self.wheel.turn_to(now)


cdef class SharedCounts:
    """The counts of rows as a balancer reads them: its member i is the row ``numbers[i]``."""

    def __cinit__(self, Balancer balancer not None, TargetRows rows not None, numbers):
        cdef Load load
        cdef int index
        self.balancer = balancer
        self.rows = rows
        self.first = <long long**>malloc((len(numbers) + 1) * sizeof(long long*))
        if self.first == NULL:
            raise MemoryError
        for index in range(len(numbers)):
            rows.check(numbers[index], 0)
            self.first[index] = rows.in_flight(numbers[index], 0)
        load.first = self.first
        load.stride = rows.stride
        load.slots = rows.slots
        balancer.loads(&load)

    def end(self):
        """The balancer counts for itself again."""
        self.balancer.loads(NULL)

    def __dealloc__(self):
        free(self.first)


def use_members(Balancer balancer not None, weights):
    """Tells a balancer weights of members that may be more or less than its targets."""
    cdef double[4096] values
    cdef int index
    if len(weights) > 4096:
        raise ValueError("too many to show at once")
    for index in range(len(weights)):
        values[index] = weights[index]
    balancer.use(values, <int>len(weights))


def nanoseconds_per_pick(Balancer balancer not None, int picks=1000000, int slots=1, int most=8):
    cdef int size = balancer.size, index, _turn
    cdef uint64_t random = 1
    cdef Load load, before = balancer.load
    cdef long long* words = <long long*>malloc((slots * size + 1) * sizeof(long long))
    load.first = <long long**>malloc((size + 1) * sizeof(long long*))
    load.stride = size * sizeof(long long)
    load.slots = slots
    try:
        if words == NULL or load.first == NULL:
            raise MemoryError
        for index in range(slots * size):
            words[index] = mix(index) % most
        for index in range(size):
            load.first[index] = &words[index]
        balancer.loads(&load)
        began = time.perf_counter_ns()
        for _turn in range(picks):
            random = mix(random)
            balancer.pick(random, mix(random), NULL)
        return (time.perf_counter_ns() - began) / picks
    finally:
        balancer.load = before
        free(words)
        free(load.first)


cdef class Block:
    def __dealloc__(self):
        free_buffer(&self.buffer)

    @property
    def contents(self):
        return self.buffer.data[:self.buffer.length] if self.buffer.length else b""

    def clear(self):
        self.buffer.length = 0

    def reserve(self, Py_ssize_t more):
        reserve(&self.buffer, more)

    def put(self, bytes data not None):
        put_bytes(&self.buffer, data)

    def put_number(self, uint64_t number):
        put_number(&self.buffer, number)

    def put_hex(self, uint64_t number):
        put_hex(&self.buffer, number)

    def put_length(self, uint64_t number):
        put_length(&self.buffer, number)

    def fill(self, Py_ssize_t most, bytes data not None):
        cdef char* at = room(&self.buffer, most)
        memcpy(at, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
        filled(&self.buffer, at + PyBytes_GET_SIZE(data))
