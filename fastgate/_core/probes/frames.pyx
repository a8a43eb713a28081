"""A second wire, for tests: many exchanges over one connection, on both sides. The gateway never loads it.

Theory of operation
-------------------
A frame is ten bytes of header (stream, kind, flags, length) and a payload. A stream is one exchange: HEAD, BODY as
often as need be, TRAILERS; END on the last frame of each direction. A head is a start line (``METHOD TARGET``, or the
status) and lines of fields. RESET ends a stream in both directions.

Each side may send `ROOM` bytes of a body, and after that as many as WINDOW frames give. Room is given for what comes
while nobody holds the stream: so a stream that is held stops its own peer, and no other. What there is no room for
waits in its `Flow`, and the side says that it takes no more (`pause_writing`), as HTTP/1.1 does when a transport is
full.

A `FrameClient` is what a client connects to, a `FrameUpstream` an upstream of which one connection has many places.
"""

from struct import Struct

from cpython.bytes cimport PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint32_t

from fastgate._core.delivery.tries cimport Try, Upstream
from fastgate._core.exchange.answer_fields cimport answer_length, put_answer_fields
from fastgate._core.exchange.causes cimport (
    BAD_REQUEST,
    CLIENT_GONE,
    CONNECT_FAILED,
    IDLE_TIMEOUT,
    NOT_PROCESSED,
    OK,
    READ_TIMEOUT,
    RESPONSE_CUT,
    STOPPED,
    UPSTREAM_RESET,
    WRITE_TIMEOUT,
    in_response,
)
from fastgate._core.exchange.exchange cimport (
    ASK_EVERY,
    WAITS_FOR_NOTHING,
    WAITS_FOR_REQUEST,
    ClientSide,
    Exchange,
    Peer,
    UpstreamSide,
    accepts_trailers,
    answer_trailers,
    identify_client,
    request_trailers,
    response_trailers,
    take_exchange,
)
from fastgate._core.exchange.head cimport Head
from fastgate._core.exchange.request_fields cimport put_authority, put_request_fields, put_target
from fastgate._core.exchange.worker cimport Engine, live
from fastgate._core.memory.buffer cimport Buffer, put, put_length, put_number

cdef enum:
    ROOM = 65536               # bytes of a body before the first WINDOW
    SLICE = 16384              # bytes of one BODY frame, at most
    MAX_HEAD = 65536
    VERSION = 7                # what Via calls this protocol

cdef object HEADER = Struct(">IBBI")
cdef object SIZE = Struct(">I")


cdef class Frames:
    cdef list read(self, bytes data):
        """The frames that are whole with this data: (stream, kind, flags, payload)."""
        cdef list frames = []
        cdef Py_ssize_t at = 0
        cdef Py_ssize_t length
        data = self.rest + data if self.rest is not None else data
        while at + 10 <= PyBytes_GET_SIZE(data):
            number, kind, flags, length = HEADER.unpack_from(data, at)
            if at + 10 + length > PyBytes_GET_SIZE(data):
                break
            frames.append((number, kind, flags, data[at + 10:at + 10 + length]))
            at += 10 + length
        self.rest = data[at:]
        return frames

    cdef int write(self, uint32_t number, int kind, int flags, bytes payload) except -1:
        if self.transport is not None:
            self.transport.write(HEADER.pack(number, kind, flags, PyBytes_GET_SIZE(payload)) + payload)
        return 0


cdef Flow new_flow(Frames frames, uint32_t number):
    cdef Flow flow = Flow.__new__(Flow)
    flow.frames = frames
    flow.number = number
    flow.room = ROOM
    flow.waiting = []
    return flow


cdef class Flow:
    cdef bint send(self, bytes piece, bint last, bytes trailers) except -1:
        """One more piece, perhaps the last, with what comes behind it. Whether something waits."""
        if piece is not None and piece:
            self.waiting.append(piece)
        if last:
            self.last = True
            self.trailers = trailers
        return self.flush()

    cdef bint flush(self) except -1:
        """Sends what there is room for. Whether something waits."""
        cdef bytes piece, rest
        cdef Py_ssize_t size
        while self.waiting and self.room > 0 and not self.frames.full:
            piece = self.waiting[0]
            size = min(PyBytes_GET_SIZE(piece), min(<int64_t>SLICE, self.room))
            rest = piece[size:]
            if rest:
                self.waiting[0] = rest
            else:
                del self.waiting[0]
            self.room -= size
            self.ended = self.last and not self.waiting and self.trailers is None
            self.frames.write(self.number, BODY, END if self.ended else 0, piece[:size])
        if self.last and not self.ended and not self.waiting:
            self.ended = True
            if self.trailers is not None:
                self.frames.write(self.number, TRAILERS, END, self.trailers)
            else:
                self.frames.write(self.number, BODY, END, b"")
        return len(self.waiting) > 0

    cdef bint grant(self, uint32_t size) except -1:
        """The peer has room for more. Whether something waits even so."""
        self.room += size
        self.granted += size
        return self.flush()

    cdef int arrived(self, uint32_t size, bint held) except -1:
        """So much of a body has come: as much more may, as soon as nobody holds it."""
        self.owed += size
        if self.owed and not held:
            self.frames.write(self.number, WINDOW, 0, SIZE.pack(self.owed))
            self.owed = 0
        return 0


# -- clients

cdef class FrameClient(ClientSide):
    """The protocol of a client's connection, as asyncio knows it. ``listener`` as of a `ClientConnection`."""

    def __cinit__(self, Engine engine, listener):
        self.engine = engine
        self.listener = listener
        self.frames = Frames.__new__(Frames)
        self.streams = {}
        self.stale = True
        self.peer = Peer.__new__(Peer)
        live.connections += 1

    def __dealloc__(self):
        live.connections -= 1

    def connection_made(self, transport):
        self.attach(transport)
        self.frames.transport = transport
        self.engine.slab.accepted += 1
        self.engine.connections.add(self)

    def data_received(self, bytes data):
        cdef ClientStream stream
        self.engine.slab.bytes_in += PyBytes_GET_SIZE(data)
        for number, kind, flags, payload in self.frames.read(data):
            stream = <ClientStream?>self.streams[number] if number in self.streams else None
            if stream is not None:
                stream.received(kind, flags & END, payload)
            elif kind == HEAD:
                self.open_stream(number, payload, flags & END)

    def eof_received(self):
        return False

    def connection_lost(self, error):
        self.connected = False
        self.frames.transport = self.transport = None
        self.engine.connections.discard(self)
        self.engine.slab.closed += 1
        self.peer.leave()
        self.leave(CLIENT_GONE)

    def pause_writing(self):
        self.frames.full = True

    def resume_writing(self):
        cdef ClientStream stream
        self.frames.full = False
        for stream in list(self.streams.values()):
            stream.passed(stream.flow.flush())

    def identify_anew(self):
        self.stale = True

    def close_idle(self):
        if not self.streams and self.transport is not None:
            self.transport.close()

    def abort(self):
        self.leave(STOPPED)
        if self.transport is not None:
            self.transport.abort()

    cdef int waits_for(self) noexcept:
        return WAITS_FOR_NOTHING if self.streams else WAITS_FOR_REQUEST

    cdef int leave(self, int cause) except -1:
        """All that is under way ends."""
        cdef ClientStream stream
        for stream in list(self.streams.values()):
            stream.close(True, CANCELLED)
            if stream.exchange is not None:
                stream.exchange.client_gone(cause)
        return 0

    cdef int open_stream(self, uint32_t number, bytes payload, bint last) except -1:
        cdef ClientStream stream = ClientStream.__new__(ClientStream)
        cdef Exchange x
        cdef Head head
        cdef int cause
        if self.stale:
            self.stale = False
            self.peer.identify(self.transport, self.listener, self.engine.runtime.trusted)
        start, _, lines = payload.partition(b"\r\n")
        method, _, target = start.partition(b" ")
        x = take_exchange(self.engine)
        stream.engine = self.engine
        stream.link = self
        stream.peer = self.peer
        stream.exchange = x
        stream.connected = True
        stream.full_duplex = True
        stream.flow = new_flow(self.frames, number)
        self.streams[number] = stream
        x.client = stream
        head = x.request
        cause = head.fill_request(method, target, lines, x.runtime.max_header_bytes, x.runtime.field_names)
        head.major = VERSION
        if cause == OK and last and head.content_length > 0:
            cause = BAD_REQUEST
        if cause != OK:
            identify_client(x)
            return x.refuse(cause)
        stream.heard = last
        if not last:
            head.chunked = head.content_length < 0
            stream.await_body(x, 0)
        return x.open(None, last)


cdef class ClientStream(ClientSide):
    cdef int received(self, int kind, bint last, bytes payload) except -1:
        cdef Exchange x = self.exchange
        cdef int cause
        if kind == WINDOW:
            return self.passed(self.flow.grant(SIZE.unpack(payload)[0]))
        if kind == RESET:
            self.close(False, CANCELLED)
            return x.client_gone(CLIENT_GONE) if x is not None else 0
        if x is None or self.heard:
            return 0
        self.heard = last
        if last:
            self.due = 0
        else:
            self.await_body(x, PyBytes_GET_SIZE(payload))
        if kind == TRAILERS:
            x.request.trailers = payload or None
            cause = request_trailers(x) if payload else OK
            return x.body_arrived(None, True) if cause == OK else x.broke_off(None, cause)
        self.flow.arrived(PyBytes_GET_SIZE(payload), self.held != 0)
        return x.body_arrived(payload or None, last)

    cdef int hold(self, int reason) except -1:
        self.held |= reason
        return 0

    cdef int release(self, int reason) except -1:
        if self.held & reason:
            self.held &= ~reason
            if not self.held:
                self.flow.arrived(0, False)
                self.restart()
        return 0

    cdef int rearm(self) except -1:
        if self.write_paused:
            self.engine.wheel.arm(self, ASK_EVERY)
        elif not self.exchange.request_complete:
            self.upload_until = 0
            self.await_body(self.exchange, 0)
        return 0

    cdef int64_t taken_so_far(self) except -1:
        return self.flow.granted

    cdef int passed(self, bint stuck) except -1:
        """Says whether this stream takes more."""
        if stuck and not self.write_paused:
            self.pause_writing()
        elif not stuck and self.write_paused:
            self.resume_writing()
        return self.close(not self.heard, CANCELLED) if self.flow.ended and self.exchange is None else 0

    cdef int send_response(self, Exchange x, bytes piece, bint last) except -1:
        cdef Buffer* buffer = &self.engine.buffer
        cdef Py_ssize_t size = PyBytes_GET_SIZE(piece) if piece is not None else 0
        cdef int64_t length = answer_length(x, size)
        cdef uint32_t withheld
        cdef bint bodiless = x.is_head or x.status == 204 or x.status == 304
        buffer.length = 0
        put_number(buffer, x.status)
        put(buffer, b"\r\n", 2)
        put_answer_fields(x, &withheld, buffer)
        if length >= 0:
            put_length(buffer, length)
        self.flow.ended = bodiless or (last and size == 0 and answer_trailers(x) is None)
        self.flow.frames.write(
            self.flow.number, HEAD, END if self.flow.ended else 0, PyBytes_FromStringAndSize(buffer.data, buffer.length)
        )
        return 0 if self.flow.ended else self.send_body(x, piece, last)

    cdef int send_body(self, Exchange x, bytes piece, bint last) except -1:
        if self.flow.ended:
            return 0
        x.bytes_out += PyBytes_GET_SIZE(piece) if piece is not None else 0
        return self.passed(self.flow.send(piece, last, answer_trailers(x) if last else None))

    cdef int send_continue(self, Exchange x) except -1:
        x.expects_continue = False
        return 0

    cdef int cut(self, Exchange x) except -1:
        return self.close(True, BROKEN)

    cdef int settled(self, Exchange x) except -1:
        self.exchange = None
        if self.flow.ended:
            return self.close(not self.heard, CANCELLED)
        # The rest of its answer may still wait for room.
        return 0 if self.flow.last else self.close(True, CANCELLED)

    cdef int close(self, bint reset, int why) except -1:
        """The stream is over. ``reset``: that has to be said, because one of its directions has not ended."""
        if self.connected:
            self.connected = False
            self.due = 0
            self.link.streams.pop(self.flow.number, None)
            if reset:
                self.flow.frames.write(self.flow.number, RESET, END, bytes([why]))
        return 0

    cdef int expired(self) except -1:
        cdef Exchange x = self.exchange
        cdef int cause
        if self.write_paused:
            cause = self.answer_late(x)
            if cause != OK:
                self.close(True, BROKEN)
                return x.client_gone(cause) if x is not None else 0
            self.engine.wheel.arm(self, ASK_EVERY)
        elif x is not None and not x.request_complete and not self.held:
            cause = self.body_late(x)
            if cause != OK:
                return x.refuse(cause)
        return 0


# -- upstreams

cdef class FrameUpstream(Upstream):
    """One target, with ``most`` exchanges at once over one connection."""

    def __init__(self, Engine engine, str name, str host, int port, *, int most=100):
        self.engine = engine
        self.name = name
        self.host = host
        self.port = port
        self.most = most
        self.waiting = []

    cdef int acquire(self, Exchange x, Try t) except -1:
        t.target = self
        x.target_name = self.name
        if self.link is not None and self.link.connected and len(self.link.streams) < self.most:
            return self.give(x, t)
        t.waiting = True
        self.waiting.append((x, t))
        return self.serve()

    cdef int leave(self, Exchange x, Try t) except -1:
        t.waiting = False
        self.waiting = [pair for pair in self.waiting if pair[1] is not t]
        return 0

    cdef int give(self, Exchange x, Try t) except -1:
        """A place on the connection."""
        cdef UpstreamStream stream = UpstreamStream.__new__(UpstreamStream)
        stream.engine = self.engine
        stream.link = self.link
        stream.connected = True
        stream.full_duplex = True
        self.link.last_number += 1
        stream.flow = new_flow(self.link.frames, self.link.last_number)
        self.link.streams[self.link.last_number] = stream
        t.waiting = False
        return t.by.connected(x, t, stream)

    cdef int serve(self) except -1:
        """There may be a place for those that wait, or a connection may have to be made for them."""
        if self.waiting and self.link is None:
            self.link = FrameLink.__new__(FrameLink, self)
            self.engine.spawn(self.connect(self.link))
        while self.waiting and self.link is not None and self.link.connected and len(self.link.streams) < self.most:
            x, t = self.waiting.pop(0)
            self.give(<Exchange>x, <Try>t)
        return 0

    async def connect(self, FrameLink link):
        cdef Try t
        try:
            await self.engine.loop.create_connection(lambda: link, self.host, self.port)
        except OSError:
            self.link = None
            waiting, self.waiting = self.waiting, []
            for x, each in waiting:
                t = <Try>each
                t.waiting = False
                t.by.failed(<Exchange>x, CONNECT_FAILED)

    def close(self):
        if self.link is not None and self.link.transport is not None:
            self.link.transport.close()


cdef class FrameLink(UpstreamSide):
    """The protocol of a connection to an upstream, as asyncio knows it."""

    def __cinit__(self, FrameUpstream upstream):
        self.engine = upstream.engine
        self.upstream = upstream
        self.frames = Frames.__new__(Frames)
        self.streams = {}
        live.upstreams += 1

    def __dealloc__(self):
        live.upstreams -= 1

    def connection_made(self, transport):
        self.attach(transport)
        self.frames.transport = transport
        self.upstream.serve()

    def data_received(self, bytes data):
        cdef UpstreamStream stream
        for number, kind, flags, payload in self.frames.read(data):
            stream = <UpstreamStream?>self.streams[number] if number in self.streams else None
            if stream is not None:
                stream.received(kind, flags & END, payload)

    def eof_received(self):
        return False

    def connection_lost(self, error):
        cdef UpstreamStream stream
        self.connected = False
        self.frames.transport = self.transport = None
        if self.upstream.link is self:
            self.upstream.link = None
        for stream in list(self.streams.values()):
            stream.fail(RESPONSE_CUT if stream.answered else UPSTREAM_RESET)
        self.upstream.serve()

    def pause_writing(self):
        self.frames.full = True

    def resume_writing(self):
        cdef UpstreamStream stream
        self.frames.full = False
        for stream in list(self.streams.values()):
            stream.passed(stream.flow.flush())


cdef class UpstreamStream(UpstreamSide):
    cdef int start(self, Exchange x) except -1:
        cdef Buffer* buffer = &self.engine.buffer
        cdef Head head = x.request
        cdef list body = x.body or []
        cdef bint bodiless = x.request_complete and not body and head.trailers is None
        self.exchange = x
        buffer.length = 0
        put(buffer, head.p, head.method.length)
        put(buffer, b" ", 1)
        put_target(x, buffer)
        put(buffer, b"\r\nHost: ", 8)
        put_authority(x, self.link.upstream.name.encode(), buffer)
        put(buffer, b"\r\n", 2)
        put_request_fields(x, buffer)
        if x.buffering:
            put_length(buffer, x.body_kept)
        elif head.content_length >= 0:
            put_length(buffer, head.content_length)
        if accepts_trailers(x):
            put(buffer, b"TE: trailers\r\n", 14)
        self.flow.ended = bodiless
        self.flow.frames.write(
            self.flow.number, HEAD, END if bodiless else 0, PyBytes_FromStringAndSize(buffer.data, buffer.length)
        )
        if body:
            self.flow.waiting.extend(body)
        if not bodiless and (body or x.request_complete):
            self.send_body(None, x.request_complete)
        return self.rearm()

    cdef int send_body(self, bytes piece, bint last) except -1:
        if self.flow.ended:
            return 0
        return self.passed(self.flow.send(piece, last, self.exchange.request.trailers if last else None))

    cdef int passed(self, bint stuck) except -1:
        if stuck and not self.write_paused:
            self.pause_writing()
        elif not stuck and self.write_paused:
            self.resume_writing()
        return 0

    cdef int received(self, int kind, bint last, bytes payload) except -1:
        cdef Exchange x = self.exchange
        cdef Head head
        cdef int cause
        if kind == WINDOW:
            return self.passed(self.flow.grant(SIZE.unpack(payload)[0]))
        if kind == RESET:
            if payload == b"\1":
                return self.fail(NOT_PROCESSED)
            return self.fail(RESPONSE_CUT if self.answered else UPSTREAM_RESET)
        self.rearm()
        if kind == HEAD:
            status, _, lines = payload.partition(b"\r\n")
            cause = x.response.fill_response(int(status), lines, MAX_HEAD)
            x.response.major = VERSION
            if cause != OK:
                return self.fail(in_response(cause))
            if x.response.status < 200:
                x.interim()
                if self.exchange is x:
                    x.response.release()
                return 0
            self.answered = True
            if last:
                self.done(False)
            return self.delivery.answered(x, None, last)
        if kind == TRAILERS:
            head = self.delivery.arriving(x)
            head.trailers = payload or None
            cause = response_trailers(x, head) if payload else OK
            if cause != OK:
                return self.fail(in_response(cause))
            self.done(False)
            return self.delivery.piece(x, None, True)
        self.flow.arrived(PyBytes_GET_SIZE(payload), self.held != 0)
        if last:
            self.done(False)
        return self.delivery.piece(x, payload or None, last)

    cdef int hold(self, int reason) except -1:
        self.held |= reason
        return 0

    cdef int release(self, int reason) except -1:
        if self.held & reason:
            self.held &= ~reason
            if not self.held and self.connected:
                self.flow.arrived(0, False)
                self.restart()
        return 0

    cdef int64_t taken_so_far(self) except -1:
        return self.flow.granted

    cdef int abandon(self) except -1:
        return self.done(True)

    cdef int done(self, bint early) except -1:
        """The stream is over, and its place is free. ``early``: its answer has not ended."""
        if self.connected:
            self.connected = False
            self.exchange = None
            self.due = 0
            self.link.streams.pop(self.flow.number, None)
            if early or not self.flow.ended:
                self.flow.frames.write(self.flow.number, RESET, END, bytes([CANCELLED]))
            self.link.upstream.serve()
        return 0

    cdef int fail(self, int cause) except -1:
        cdef Exchange x = self.exchange
        self.done(True)
        return self.delivery.failed(x, cause)

    cdef int rearm(self) except -1:
        cdef Exchange x = self.exchange
        if self.write_paused or self.held:
            self.engine.wheel.arm(self, ASK_EVERY)
        else:
            self.engine.wheel.arm(self, x.route.idle_timeout if self.answered else x.route.read_timeout)
        return 0

    cdef int expired(self) except -1:
        cdef Exchange x = self.exchange
        if x is None:
            return 0
        if self.write_paused or self.held:
            if self.write_paused and self.stalled(x.route.write_timeout):
                return self.fail(WRITE_TIMEOUT)
            self.engine.wheel.arm(self, ASK_EVERY)
            return 0
        if not x.request_complete and not self.answered:
            return 0
        return self.fail(IDLE_TIMEOUT if self.answered else READ_TIMEOUT)
