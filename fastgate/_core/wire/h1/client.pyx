"""The client's connection: HTTP/1.1 on the wire, one exchange at a time.

Theory of operation
-------------------
`data_received` hands what came, with what was left over, to `run`: a loop over a bytes object and an offset. Each
turn reads a head, reads body, or finds that an exchange is under way and puts the rest aside. The loop ends when the
bytes are used up. An exchange that ends at once (an error, an answer from a policy) lets the loop go on with the next
pipelined request; one that ends later calls `settled`, which starts the loop again on what was put aside. So
pipelining is a loop and never a recursion, and it yields to others after `MAX_TURNS`.

Modes: IDLE → READING_HEAD → READING_BODY → WAITING → IDLE is the plain way. After an early answer the rest of a body
is dropped (DRAINING). A connection that must end while the client may still be sending lingers (RFC 9112 section 9.6):
closed for writing, read and dropped until the client closes, so that it gets the answer and not a reset. How long that
may take is bounded, how much it sends is not. TUNNEL passes bytes.

An idle connection owns no head, no buffer and no exchange.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint64_t
from libc.string cimport memcmp, memcpy

from fastgate._core.wire.h1.answer_head cimport Ending, put_answer_head, put_interim_head, put_tunnel_head
from fastgate._core.memory.buffer cimport Buffer, put, put_bytes, put_hex
from fastgate._core.exchange.causes cimport BAD_HOST, BAD_REQUEST, BAD_TARGET, CLIENT_GONE, CONNECTION_CUT
from fastgate._core.exchange.causes cimport HEAD_TIMEOUT, NO_HOST, OK, STOPPED
from fastgate._core.exchange.causes cimport TURNED_AWAY, outcomes
from fastgate._core.exchange.worker cimport Engine, live
from fastgate._core.exchange.exchange cimport (
    ASK_EVERY,
    HOLD_PIPELINE,
    HOLD_SINK,
    HOLD_WAIT,
    SLICE,
    WAITS_FOR_HEAD,
    WAITS_FOR_NOTHING,
    WAITS_FOR_REQUEST,
    ClientSide,
    Exchange,
    Peer,
    answer_trailers,
    identify_client,
    request_trailers,
    split_target,
    take_exchange,
)
from fastgate._core.wire.h1.framing cimport BROKEN, COMPLETE, MORE, by_chunks, by_length, gather, other_protocol
from fastgate._core.wire.h1.framing cimport put_last_chunk, take
from fastgate._core.exchange.head cimport Head, is_host
from fastgate._core.routing.networks cimport normal_address
from fastgate._core.exchange.sockets cimport is_closing, is_reset, send_now
from fastgate._core.wire.h1.repeats cimport again, remember
from fastgate._core.wire.room cimport YOUNG, admitted, leave_share, share_of

cdef enum:
    MAX_TURNS = 32             # pipelined requests before others get their turn
    MAX_TAIL = 65536           # bytes of later requests that wait
    MAX_DRAIN = 65536          # bytes of an unread body that are dropped to keep the connection
    LINGER_TIME = 30000        # milliseconds that an answered client may go on sending
    LINGER_QUIET = 5000        # … and may send nothing meanwhile
    INLINE_BODY = 16384        # up to so many body bytes are copied behind the head; more are written on their own

include "client_heads.pxi"
include "client_memory.pxi"


cdef class ClientConnection(ClientSide):
    """The protocol of one client connection, as asyncio knows it.

    ``listener`` has ``scheme``, ``address`` and ``port``. ``peer`` and ``local`` are addresses that a PROXY protocol
    header told.
    """

    def __cinit__(self, Engine engine, listener, peer=None, local=None):
        self.engine = engine
        self.listener = listener
        self.mode = IDLE
        self.fd = -1
        self.fresh = True
        self.stale = True
        self.share = None
        self.expected.place = -1
        if peer is not None:
            self.peer = Peer.__new__(Peer)
            self.peer.address = normal_address(peer[0].encode("ascii"))
            self.peer.local_port = local[1] if local is not None else 0
        live.connections += 1

    def __dealloc__(self):
        live.connections -= 1

    # -- asyncio's side

    def connection_made(self, transport):
        cdef object peer = (self.peer.address.decode("ascii"),) if self.peer is not None else None
        cdef object share = share_of(self.engine, transport, peer)
        self.engine.slab.accepted += 1
        if not admitted(self.engine, share):
            self.attach(transport)
            self.mode = CLOSED
            transport.abort()
            return
        self.share = share
        self.begin(transport, self.accepted_at or self.engine.wheel.now)

    cdef int begin(self, object transport, uint64_t accepted_at) except -1:
        """The connection is there, and has been counted; its first request is due, from when it was accepted."""
        cdef uint64_t now = self.engine.wheel.now
        cdef uint64_t due = accepted_at + self.engine.runtime.header_timeout
        self.attach(transport)
        self.engine.connections.add(self)
        self.engine.wheel.arm(self, due - now if due > now else 1)
        return 0

    def data_received(self, bytes data):
        cdef Exchange x = self.exchange
        self.engine.slab.bytes_in += PyBytes_GET_SIZE(data)
        if self.mode == IDLE or self.mode == READING_HEAD or self.mode == READING_BODY or self.mode == DRAINING:
            if self.tail is not None:
                data = self.tail + data
                self.tail = None
            self.run(data)
        elif self.mode == TUNNEL:
            self.rearm()
            x.client_bytes(data)
        elif self.mode == WAITING:
            self.stash(data, 0)
        elif self.mode == LINGERING:
            self.linger_on()

    def eof_received(self):
        if self.serves_on():
            self.half_closed = True
            self.engine.wheel.arm(self, ASK_EVERY)
            return True
        self.end_of_stream()
        return False

    cdef bint serves_on(self) except -1:
        """Whether a request is under way whose client may have shut its sending side (not with TLS, which cannot)."""
        return self.mode == WAITING and self.exchange.route is not None and self.exchange.route.serves_half_closed \
            and self.listener.scheme == "http"

    cdef bint ends_here(self) except -1:
        """Whether what a half-closed client has sent is used up, no whole request, or one of a route that cancels."""
        if self.mode == WAITING:
            return not self.serves_on()
        return self.mode == READING_HEAD or self.mode == READING_BODY or (self.mode == IDLE and self.tail is None)

    cdef int end_of_stream(self) except -1:
        """The client sends no more: that is taken for its leaving."""
        cdef Exchange x = self.exchange
        cdef int mode = self.mode
        # First, so that nothing that waits is begun for a client that has left.
        self.mode = CLOSED
        self.tail = None
        if x is not None:
            x.client_gone(CONNECTION_CUT if mode == READING_BODY or mode == READING_HEAD else
                          OK if mode == TUNNEL else CLIENT_GONE)
        return 0

    def connection_lost(self, error):
        cdef Exchange x = self.exchange
        cdef int mode = self.mode
        self.connected = False
        self.mode = CLOSED
        self.unlink()
        self.engine.connections.discard(self)
        self.engine.slab.closed += 1
        leave_share(self.engine, self.share)
        self.share = None
        if x is not None:
            if mode == READING_BODY or mode == READING_HEAD:
                x.client_gone(CONNECTION_CUT)
            else:
                x.client_gone(OK if mode == TUNNEL else CLIENT_GONE)
        self.exchange = None
        self.tail = None
        self.unsent = None
        self.transport = None
        if self.peer is not None:
            self.peer.leave()

    # -- reading

    cdef int run(self, bytes data) except -1:
        cdef Py_ssize_t offset = 0
        cdef Py_ssize_t length = PyBytes_GET_SIZE(data)
        cdef int turns = 0
        self.running = True
        try:
            while offset < length:
                if self.mode == IDLE or self.mode == READING_HEAD:
                    if self.write_paused and self.exchange is None:
                        # The client does not take its answers: no further ones are made until it does.
                        self.stash(data, offset)
                        self.hold(HOLD_PIPELINE)
                        break
                    turns += 1
                    if turns > MAX_TURNS:
                        self.stash(data, offset)
                        self.engine.loop.call_soon(self.go_on)
                        break
                    if not self.read_head(data, &offset):
                        break
                elif self.mode == READING_BODY or self.mode == DRAINING:
                    self.read_body(data, &offset)
                elif self.mode == WAITING:
                    self.stash(data, offset)
                    break
                elif self.mode == TUNNEL:
                    self.exchange.client_bytes(data[offset:])
                    break
                else:
                    break
        finally:
            self.running = False
        return 0

    def go_on(self):
        """Takes up what was put aside."""
        cdef bytes data = self.tail
        if data is not None and not self.running and (self.mode == IDLE or self.mode == READING_HEAD):
            self.tail = None
            if self.held & HOLD_PIPELINE:
                self.release(HOLD_PIPELINE)
            self.run(data)
            if self.half_closed and self.connected and self.ends_here():
                self.end_of_stream()
                self.close()

    cdef int stash(self, bytes data, Py_ssize_t offset) except -1:
        """Puts bytes aside that belong to a later request, or to a tunnel that is not open yet."""
        if self.tail is not None:
            self.tail = self.tail + (data[offset:] if offset else data)
        else:
            self.tail = data[offset:] if offset else data
        if self.mode == WAITING and PyBytes_GET_SIZE(self.tail) > MAX_TAIL:
            self.hold(HOLD_PIPELINE)
            self.engine.wheel.arm(self, ASK_EVERY)
        return 0

    cdef bint read_head(self, bytes data, Py_ssize_t* offset) except -1:
        """One head, or as much of it as there is. False: the bytes are used up or nothing more is to be read."""
        cdef Exchange x = self.exchange
        cdef Engine engine = self.engine
        cdef const unsigned char* p = <const unsigned char*>PyBytes_AS_STRING(data)
        cdef Py_ssize_t length = PyBytes_GET_SIZE(data)
        cdef Py_ssize_t size
        cdef Head head
        cdef bytes piece = None
        cdef int progress = MORE
        cdef int cause
        cdef bint repeated
        if x is None:
            if p[offset[0]] == b"\r" and not self.blank_line:
                # One empty line before a request is forgiven (RFC 9112 section 2.2).
                if offset[0] + 1 == length:
                    self.stash(data, offset[0])
                    self.begin_head()
                    return False
                if p[offset[0] + 1] == b"\n":
                    offset[0] += 2
                    self.blank_line = True
                    self.begin_head()
                    return offset[0] < length
            if self.stale:
                self.stale = False
                if self.peer is None:
                    self.peer = Peer.__new__(Peer)
                self.peer.identify(self.transport, self.listener, engine.runtime.trusted)
            x = take_exchange(engine)
            x.client = self
            self.exchange = x
            self.begin_head()
        head = x.request
        size = again(engine, &self.expected, head, p + offset[0], length - offset[0], x.runtime.max_header_bytes)
        repeated = size > 0
        if not repeated:
            size = head.scan(p + offset[0], length - offset[0], True, x.runtime.max_header_bytes)
        if size == 0:
            self.stash(data, offset[0])
            return False
        if size < 0:
            refuse_start(x, data, offset[0], <int>-size)
            return False
        if length - size > 4096:
            # A head must not keep a whole read with body alive.
            head.data = PyBytes_FromStringAndSize(<const char*>p + offset[0], size)
            head.p = <const unsigned char*>PyBytes_AS_STRING(head.data)
        else:
            head.data = data
        self.due = 0
        self.blank_line = False
        if not repeated:
            cause = index_head(engine, x)
            if cause != OK:
                refuse_head(x, cause)
                return False
            remember(engine, &self.expected, head, x.runtime)
        offset[0] += size
        self.closing = head.close
        self.more_waits = offset[0] < length
        if head.chunked:
            by_chunks(&self.framing, <int>x.runtime.max_header_bytes)
        elif head.content_length > 0:
            by_length(&self.framing, head.content_length)
        else:
            self.mode = WAITING
            x.open(None, True)
            return True
        self.mode = READING_BODY
        if offset[0] < length:
            piece = take(&self.framing, data, offset, &progress)
            if self.framing.section and progress != BROKEN:
                gather(&self.framing, head, data, offset[0])
            self.more_waits = offset[0] < length
            if progress == COMPLETE:
                self.mode = WAITING
        if self.mode == READING_BODY and head.expect < 0:
            self.upload_until = 0
            self.await_body(x, 0)
        if progress == BROKEN:
            x.open_broken(piece, self.framing.fault)
        else:
            x.open(piece, progress == COMPLETE)
        return True

    cdef int begin_head(self) except -1:
        if self.mode == IDLE:
            self.mode = READING_HEAD
            if self.fresh:
                # Its first request is due since it was accepted.
                self.fresh = False
            else:
                self.engine.wheel.arm(self, self.engine.runtime.header_timeout)
        return 0

    cdef int read_body(self, bytes data, Py_ssize_t* offset) except -1:
        cdef Exchange x = self.exchange
        cdef int progress = MORE
        cdef Py_ssize_t before = offset[0]
        cdef bytes piece = take(&self.framing, data, offset, &progress)
        cdef int cause
        if self.mode == DRAINING:
            self.dropped += offset[0] - before
            if progress == COMPLETE:
                self.become_idle()
            elif progress == BROKEN or self.dropped > MAX_DRAIN:
                self.linger()
            else:
                self.linger_on()
            return 0
        if progress == BROKEN:
            x.broke_off(piece, self.framing.fault)
            return 0
        if self.framing.section:
            gather(&self.framing, x.request, data, offset[0])
            if progress == COMPLETE and x.request.trailers is not None:
                cause = request_trailers(x)
                if cause != OK:
                    x.broke_off(piece, cause)
                    return 0
        if progress == COMPLETE:
            self.mode = WAITING
            self.due = 0
        else:
            self.await_body(x, offset[0] - before)
        if x.sending_stopped:
            self.dropped += offset[0] - before
        x.body_arrived(piece, progress == COMPLETE)
        return 0

    # -- the exchange's side

    cdef int send_response(self, Exchange x, bytes piece, bint last) except -1:
        cdef Buffer* buffer = &self.engine.buffer
        cdef Py_ssize_t size = PyBytes_GET_SIZE(piece) if piece is not None else 0
        cdef Ending ending
        if not self.connected:
            return 0
        self.decide_close(x)
        ending.closes = self.closing
        buffer.length = 0
        put_answer_head(x, size, &ending, buffer)
        self.closing = ending.closes
        self.bodiless = ending.bodiless
        self.chunked = ending.chunked
        self.until_close = ending.until_close
        # the body, or what is there of it
        if self.bodiless or size == 0:
            if not last and x.source is not None and x.source.in_memory and not self.chunked and not self.bodiless:
                return draw_behind(self, x)
            if self.chunked and last:
                put_last_chunk(buffer, answer_trailers(x))
            self.put_out(x)
            return 0
        x.bytes_out += size
        if self.chunked:
            self.put_chunk(x, piece, last)
        else:
            if size <= INLINE_BODY:
                put_bytes(buffer, piece)
            self.put_out(x)
            if size > INLINE_BODY:
                self.engine.slab.bytes_out += size
                self.write(piece)
        if not self.write_paused and not last:
            self.rearm()
        return 0

    cdef int put_chunk(self, Exchange x, bytes piece, bint last) except -1:
        """Writes what was assembled and a chunk behind it; a large one on its own."""
        cdef Buffer* buffer = &self.engine.buffer
        cdef Py_ssize_t size = PyBytes_GET_SIZE(piece) if piece is not None else 0
        if size:
            put_hex(buffer, size)
            put(buffer, b"\r\n", 2)
            if size <= INLINE_BODY:
                put_bytes(buffer, piece)
            else:
                self.put_out(x)
                buffer.length = 0
                self.engine.slab.bytes_out += size
                self.write(piece)
            put(buffer, b"\r\n", 2)
        if last:
            put_last_chunk(buffer, answer_trailers(x))
        return self.put_out(x)

    cdef int put_out(self, Exchange x) except -1:
        """Writes what was assembled."""
        cdef Buffer* buffer = &self.engine.buffer
        self.engine.slab.bytes_out += buffer.length
        self.write(PyBytes_FromStringAndSize(buffer.data, buffer.length))
        return 0

    cdef int send_body(self, Exchange x, bytes piece, bint last) except -1:
        cdef Py_ssize_t size = PyBytes_GET_SIZE(piece) if piece is not None else 0
        if not self.connected or self.bodiless:
            return 0
        x.bytes_out += size
        if not self.chunked:
            if size:
                self.engine.slab.bytes_out += size
                self.write(piece)
            return 0
        self.engine.buffer.length = 0
        return self.put_chunk(x, piece, last) if size or last else 0

    cdef int draw(self, Exchange x) except -1:
        return draw_on(self, x)

    cdef int send_interim(self, Exchange x) except -1:
        cdef Buffer* buffer = &self.engine.buffer
        if x.request.minor == 0:
            return 0
        buffer.length = 0
        put_interim_head(x, buffer)
        return self.put_out(x)

    cdef int send_continue(self, Exchange x) except -1:
        x.expects_continue = False
        self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # Until now the client waited for the gateway.
        self.upload_until = 0
        return self.await_body(x, 0) if self.mode == READING_BODY else 0

    cdef int open_tunnel(self, Exchange x) except -1:
        cdef Buffer* buffer = &self.engine.buffer
        cdef bytes early = self.tail
        buffer.length = 0
        put_tunnel_head(x, buffer)
        self.put_out(x)
        self.mode = TUNNEL
        self.closing = True
        self.rearm()
        if early is not None:
            self.tail = None
            if self.held & HOLD_PIPELINE:
                self.release(HOLD_PIPELINE)
            x.client_bytes(early)
        return 0

    cdef int send_raw(self, Exchange x, bytes data) except -1:
        self.engine.slab.bytes_out += PyBytes_GET_SIZE(data)
        return self.write(data)

    cdef int cut(self, Exchange x) except -1:
        """The client must see that the answer is not whole."""
        self.mode = CLOSED
        if not self.connected:
            return 0
        if self.until_close:
            # Without length or chunks only a reset tells.
            return self.reset()
        self.send_unsent()
        self.transport.close()
        return 0

    cdef int settled(self, Exchange x) except -1:
        self.exchange = None
        if self.mode == CLOSED or not self.connected:
            return self.close()
        if self.held:
            self.release(HOLD_SINK | HOLD_WAIT)
        if self.mode == TUNNEL:
            return self.close()
        if self.closing or self.engine.draining:
            if self.mode == WAITING and (self.tail is None or self.half_closed):
                return self.close()
            return self.linger()
        if self.mode == READING_HEAD:
            return self.linger()
        if self.mode == READING_BODY:
            self.mode = DRAINING
            self.lingers_until = self.engine.wheel.now + LINGER_TIME
            return self.linger_on()
        self.become_idle()
        return 0

    cdef int become_idle(self) except -1:
        self.mode = IDLE
        self.dropped = 0
        self.engine.wheel.arm(self, self.engine.runtime.keepalive)
        if self.tail is not None and not self.running:
            self.go_on()
        return 0

    cdef int decide_close(self, Exchange x) except -1:
        """Whether this answer is the last of the connection."""
        if self.closing:
            return 0
        if self.engine.draining or x.request.close or outcomes[x.cause].close \
                or (self.half_closed and self.tail is None and not self.more_waits):
            self.closing = True
        elif self.mode == READING_HEAD:
            self.closing = True
        elif self.mode == READING_BODY:
            # The rest of the body is dropped if it is short; a client that waits for 100 may or may not send it.
            if x.expects_continue or (x.request.content_length >= 0 and self.framing.remaining > MAX_DRAIN):
                self.closing = True
        return 0

    # -- the end

    cdef int linger(self) except -1:
        """Closes for writing and reads on: a plain close would make the client lose the answer."""
        if not self.connected:
            return 0
        if self.mode != DRAINING:
            self.lingers_until = self.engine.wheel.now + LINGER_TIME
        self.mode = LINGERING
        self.tail = None
        if self.held:
            self.release(self.held)
        self.send_unsent()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        return self.linger_on()

    cdef int linger_on(self) except -1:
        """The client has its answer; more of what it sends is waited for, within the time that there is."""
        cdef uint64_t now = self.engine.wheel.now
        if now >= self.lingers_until:
            return self.close()
        self.engine.wheel.arm(self, min(<uint64_t>LINGER_QUIET, self.lingers_until - now))
        return 0

    cdef int close(self) except -1:
        self.mode = CLOSED
        return self.flush_and_close()

    def resume_writing(self):
        ClientSide.resume_writing(self)
        if self.tail is not None and self.exchange is None:
            self.engine.loop.call_soon(self.go_on)

    # -- giving way: see room

    cdef int waits_for(self) noexcept:
        if self.mode == IDLE or self.mode == LINGERING:
            return WAITS_FOR_REQUEST
        return WAITS_FOR_HEAD if self.mode == READING_HEAD else WAITS_FOR_NOTHING

    cdef uint64_t waits_since(self) noexcept:
        cdef uint64_t since
        if self.mode == LINGERING:
            since = self.lingers_until - LINGER_TIME
        elif self.write_paused or (self.held if self.mode == READING_HEAD else self.tail is not None):
            return 0
        elif self.mode == IDLE and not self.fresh:
            return max(<uint64_t>1, self.due - min(self.due, self.engine.runtime.keepalive))
        else:
            since = self.due - min(self.due, self.engine.runtime.header_timeout)
        return max(<uint64_t>1, since) if since + YOUNG <= self.engine.wheel.now else 0

    cdef bint give_way(self) except -1:
        cdef Exchange x = self.exchange
        if not self.connected or (self.mode == IDLE and not self.quiet()):
            return False
        if self.mode == IDLE and not self.backlog():
            self.close()
            return True
        self.mode = CLOSED
        self.tail = None
        if x is not None:
            identify_client(x)
            x.client_gone(TURNED_AWAY)
        self.abort_transport()
        return True

    def close_idle(self):
        """Part of draining: closes the connection if nothing is under way and nothing unread."""
        if self.mode == IDLE and self.connected and self.tail is None and self.quiet():
            self.close()

    def identify_anew(self):
        """A reload may have changed what is believed of the peer: it is asked for again at the next request."""
        self.stale = True

    def abort(self):
        """Ends the connection now, because the gateway stops; what was under way is counted and logged as that."""
        cdef Exchange x = self.exchange
        self.mode = CLOSED
        self.tail = None
        if x is not None:
            x.client_gone(STOPPED)
        self.abort_transport()

    cdef int rearm(self) except -1:
        """The deadline of the mode; that of a tunnel is kept by the upstream's side, which sees both ways."""
        if self.held or self.write_paused:
            self.engine.wheel.arm(self, ASK_EVERY)
        elif self.mode == READING_BODY:
            # Until now the gateway was waited for.
            self.upload_until = 0
            self.await_body(self.exchange, 0)
        return 0

    cdef bint peer_gone(self) except -1:
        """A half-closed connection looks like one that the client has closed: then only a reset tells."""
        return is_reset(self.descriptor()) if self.half_closed else is_closing(self.descriptor())

    cdef int expired(self) except -1:
        cdef Exchange x = self.exchange
        cdef int cause
        if not self.connected:
            return 0
        if self.mode == CLOSED:
            self.abort_if_stalled()
        elif self.held or self.write_paused:
            if self.write_paused:
                cause = self.answer_late(x)
                if cause != OK:
                    self.mode = CLOSED
                    if x is not None:
                        x.client_gone(cause)
                    if self.connected:
                        self.reset()
                    return 0
            if self.held and self.peer_gone():
                self.mode = CLOSED
                if x is not None:
                    x.client_gone(CLIENT_GONE)
                return self.abort_transport()
            self.engine.wheel.arm(self, ASK_EVERY)
        elif self.mode == READING_HEAD:
            if x is None:
                self.close()
            else:
                identify_client(x)
                x.refuse(HEAD_TIMEOUT)
        elif self.mode == READING_BODY:
            cause = self.body_late(x)
            if cause != OK:
                x.refuse(cause)
        elif self.mode == WAITING and self.half_closed:
            if self.peer_gone():
                self.end_of_stream()
                self.close()
            else:
                self.engine.wheel.arm(self, ASK_EVERY)
        elif self.mode == IDLE:
            self.close()
        elif self.mode == DRAINING:
            self.linger()
        elif self.mode == LINGERING:
            self.mode = CLOSED
            self.abort_transport()
        return 0
