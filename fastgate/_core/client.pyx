"""The client's connection: HTTP/1.1 on the wire, one exchange at a time.

Theory of operation
-------------------
`data_received` hands what came, with what was left over, to `run`: a loop over a bytes object and an offset. Each
turn reads a head, reads body, or finds that an exchange is under way and puts the rest aside. The loop ends when the
bytes are used up. An exchange that ends at once (an error, an answer from a policy) lets the loop go on with the next
pipelined request; one that ends later calls `settled`, which starts the loop again on what was put aside. So
pipelining is a loop and never a recursion, and it yields to others after `MAX_TURNS`.

Modes: IDLE → READING_HEAD → READING_BODY → WAITING → IDLE is the plain way. After an early answer the rest of a body
is dropped (DRAINING). A connection that must end while the client may still be sending lingers: closed for writing,
read and dropped, so that the client gets the answer and not a reset. TUNNEL passes bytes.

An idle connection owns no head, no buffer and no exchange.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE

from fastgate._core.admission cimport put_quotas
from fastgate._core.browser cimport Browser
from fastgate._core.buffer cimport Buffer, put, put_bytes, put_hex, put_length, put_number
from fastgate._core.causes cimport (
    BAD_REQUEST,
    BODY_TIMEOUT,
    CLIENT_GONE,
    CLIENT_STALLED,
    CONNECTION_CUT,
    HEAD_TIMEOUT,
    OK,
    STOPPED,
    outcomes,
    phrase_of,
)
from fastgate._core.engine cimport Engine, live
from fastgate._core.exchange cimport (
    ASK_EVERY,
    FRAMED_ANEW,
    FRAMED_AS_SENT,
    FRAMED_WHOLE,
    HOLD_PIPELINE,
    HOLD_SINK,
    HOLD_WAIT,
    ClientSide,
    Exchange,
    take_exchange,
)
from fastgate._core.framing cimport BROKEN, COMPLETE, MORE, by_chunks, by_length, take
from fastgate._core.head cimport (
    DATE,
    DROPPED,
    RULED,
    X_REQUEST_ID,
    Field,
    Head,
)
from fastgate._core.resolve cimport identify_client

cdef enum:
    MAX_TURNS = 32             # pipelined requests before others get their turn
    MAX_TAIL = 65536           # bytes of later requests that wait
    MAX_DRAIN = 65536          # bytes of an unread body that are dropped to keep the connection
    MAX_LINGER = 1048576
    LINGER_TIME = 2000         # milliseconds
    WRITE_TIME = 60000         # milliseconds without a byte taken, where no route says it
    INLINE_BODY = 16384        # up to so many body bytes are copied behind the head; more are written on their own


cdef class ClientConnection(ClientSide):
    """The protocol of one client connection, as asyncio knows it.

    ``listener`` has ``scheme``, ``port`` and ``tls``. ``peer`` and ``local`` are addresses that a PROXY protocol
    header told.
    """

    def __cinit__(self, Engine engine, listener, peer=None, local=None):
        self.engine = engine
        self.listener = listener
        self.mode = IDLE
        self.fd = -1
        if peer is not None:
            self.peer_address = peer[0].encode("ascii")
            self.trusted = engine.runtime.trusted is not None and engine.runtime.trusted(peer[0])
            self.local_port = local[1] if local is not None else 0
        live.connections += 1

    def __dealloc__(self):
        live.connections -= 1

    # -- asyncio's side

    def connection_made(self, transport):
        self.attach(transport)
        self.engine.slab.accepted += 1
        if self.engine.max_connections and len(self.engine.connections) >= self.engine.max_connections:
            self.engine.turned_away()
            self.mode = CLOSED
            transport.abort()
            return
        self.engine.connections.add(self)
        self.engine.wheel.arm(self, self.engine.runtime.keepalive)

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
            self.dropped += PyBytes_GET_SIZE(data)
            if self.dropped > MAX_LINGER:
                self.close()

    def eof_received(self):
        cdef Exchange x = self.exchange
        cdef int mode = self.mode
        # First, so that nothing that waits is begun for a client that has left.
        self.mode = CLOSED
        self.tail = None
        if x is not None:
            x.client_gone(CONNECTION_CUT if mode == READING_BODY or mode == READING_HEAD else
                          OK if mode == TUNNEL else CLIENT_GONE)

    def connection_lost(self, error):
        cdef Exchange x = self.exchange
        cdef int mode = self.mode
        self.connected = False
        self.mode = CLOSED
        self.unlink()
        self.engine.connections.discard(self)
        self.engine.slab.closed += 1
        if x is not None:
            if mode == READING_BODY or mode == READING_HEAD:
                x.client_gone(CONNECTION_CUT)
            else:
                x.client_gone(OK if mode == TUNNEL else CLIENT_GONE)
        self.exchange = None
        self.tail = None
        self.transport = None

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
        cdef Py_ssize_t size, begin
        cdef Head head
        cdef bytes piece = None
        cdef int progress = MORE
        cdef int cause
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
            if self.scheme is None:
                self.identify_peer()
            x = take_exchange(engine)
            x.client = self
            self.exchange = x
            self.begin_head()
        head = x.request
        size = head.scan(p + offset[0], length - offset[0], True, x.runtime.max_header_bytes)
        if size == 0:
            self.stash(data, offset[0])
            return False
        if size < 0:
            # What was read of the request line can still be logged.
            head.data = data if head.target.length else None
            identify_client(x)
            x.refuse(<int>-size)
            return False
        if length - size > 4096:
            # A head must not keep a whole read with body alive.
            head.data = PyBytes_FromStringAndSize(<const char*>p + offset[0], size)
            head.p = <const unsigned char*>PyBytes_AS_STRING(head.data)
        else:
            head.data = data
        self.due = 0
        self.blank_line = False
        cause = head.index(True, x.runtime.underscores)
        if cause == OK:
            begin = head.p - <const unsigned char*>PyBytes_AS_STRING(head.data)
            if not engine.accept_request(head, head.data, begin):
                cause = BAD_REQUEST
        if cause != OK:
            identify_client(x)
            x.refuse(cause)
            return False
        offset[0] += size
        self.closing = head.close
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
            if progress == COMPLETE:
                self.mode = WAITING
        if self.mode == READING_BODY:
            engine.wheel.arm(self, x.runtime.body_timeout)
        if progress == BROKEN:
            x.open_broken(piece)
        else:
            x.open(piece, progress == COMPLETE)
        return True

    cdef int begin_head(self) except -1:
        if self.mode == IDLE:
            self.mode = READING_HEAD
            self.engine.wheel.arm(self, self.engine.runtime.header_timeout)
        return 0

    cdef int read_body(self, bytes data, Py_ssize_t* offset) except -1:
        cdef Exchange x = self.exchange
        cdef int progress = MORE
        cdef Py_ssize_t before = offset[0]
        cdef bytes piece = take(&self.framing, data, offset, &progress)
        if self.mode == DRAINING:
            self.dropped += <uint32_t>(offset[0] - before)
            if progress == COMPLETE:
                self.become_idle()
            elif progress == BROKEN or self.dropped > MAX_DRAIN:
                self.linger()
            return 0
        if progress == BROKEN:
            x.broke_off(piece)
            return 0
        if progress == COMPLETE:
            self.mode = WAITING
            self.due = 0
        else:
            self.engine.wheel.arm(self, x.runtime.body_timeout)
        if x.sending_stopped:
            self.dropped += <uint32_t>(offset[0] - before)
        x.request_body(piece, progress == COMPLETE)
        return 0

    cdef int identify_peer(self) except -1:
        """Addresses and TLS facts of the connection; asked for when the first request begins."""
        cdef object address, connection
        cdef str host
        self.scheme = b"http"
        if self.listener.scheme == "https":
            self.scheme = b"https"
            connection = self.transport.get_extra_info("ssl_object")
            name = getattr(connection, "sni_name", None)
            self.server_name = name.lower().encode("ascii", "replace") if name else None
        if self.peer_address is not None:
            return 0
        address = self.transport.get_extra_info("peername")
        if isinstance(address, tuple):
            host = address[0]
            if host.startswith("::ffff:") and "." in host:
                host = host[7:]
            self.peer_address = host.encode("ascii")
            if self.engine.runtime.trusted is not None:
                self.trusted = self.engine.runtime.trusted(host)
        else:
            self.peer_address = b"unix:"
        self.local_port = self.listener.port or 0
        return 0

    # -- the exchange's side

    cdef int send_response(self, Exchange x, bytes piece, bint last) except -1:
        cdef Engine engine = self.engine
        cdef Buffer* buffer = &engine.buffer
        cdef Head head = x.response
        cdef Py_ssize_t size = PyBytes_GET_SIZE(piece) if piece is not None else 0
        cdef bint keep_length = False
        cdef bint inline = size <= INLINE_BODY
        cdef bytes name, value
        cdef const char* phrase
        cdef Py_ssize_t length
        cdef list extra = x.answer.fields if x.answer is not None else x.response_extra
        if not self.connected:
            return 0
        self.decide_close(x)
        self.bodiless = x.is_head or x.status == 204 or x.status == 304
        self.chunked = self.until_close = False
        buffer.length = 0
        # status line
        put(buffer, b"HTTP/1.1 ", 9)
        put_number(buffer, x.status)
        put(buffer, b" ", 1)
        if x.answer is None and not x.status_changed:
            put(buffer, head.p + head.reason.start, head.reason.length)
        else:
            phrase = phrase_of(x.status, &length)
            put(buffer, phrase, length)
        put(buffer, b"\r\n", 2)
        if x.route is not None and x.route.browser is not None:
            extra = (<Browser>x.route.browser).stamp(x, extra, buffer)
        # what comes with it
        if x.answer is None:
            keep_length = head.content_length >= 0 and x.status != 204 \
                and (x.reframed == FRAMED_AS_SENT or (self.bodiless and x.reframed == FRAMED_WHOLE))
            if x.status_changed and head.status == 304 and not self.bodiless:
                # It gave the length of what it did not send.
                keep_length = False
            put_fields(buffer, head)
        if extra is not None:
            for name, value in extra:
                put_bytes(buffer, name)
                put(buffer, b": ", 2)
                put_bytes(buffer, value)
                put(buffer, b"\r\n", 2)
        # what the gateway says
        if x.answer is not None or not head.seen & (1 << DATE):
            put_bytes(buffer, engine.date())
        if x.answer is not None:
            put_bytes(buffer, x.runtime.server_line)
        elif x.runtime.via:
            put(buffer, b"Via: 1.", 7)
            put_number(buffer, head.minor)
            put(buffer, b" fastgate\r\n", 11)
        if x.runtime.request_id is not None and not head.seen & (1 << X_REQUEST_ID) and x.id_length:
            put_bytes(buffer, x.runtime.request_id)
            put(buffer, b": ", 2)
            put(buffer, x.id, x.id_length)
            put(buffer, b"\r\n", 2)
        if x.quota_count:
            put_quotas(x, buffer)
        # framing
        if (x.answer is not None and x.reframed != FRAMED_ANEW) or (x.reframed == FRAMED_WHOLE and not self.bodiless):
            if x.status != 204 and x.status != 304:
                put_length(buffer, size)
        elif keep_length:
            put_length(buffer, head.content_length)
        elif not self.bodiless:
            if x.request.minor == 1:
                self.chunked = True
                put(buffer, b"Transfer-Encoding: chunked\r\n", 28)
            else:
                self.until_close = self.closing = True
        if self.closing:
            put(buffer, b"Connection: close\r\n", 19)
        elif x.request.minor == 0:
            put(buffer, b"Connection: keep-alive\r\n", 24)
        put(buffer, b"\r\n", 2)
        # the body, or what is there of it
        if self.bodiless or size == 0:
            if self.chunked and last:
                put(buffer, b"0\r\n\r\n", 5)
            self.put_out(x)
            return 0
        x.bytes_out += size
        if self.chunked:
            put_hex(buffer, size)
            put(buffer, b"\r\n", 2)
        if inline:
            put_bytes(buffer, piece)
        else:
            self.put_out(x)
            buffer.length = 0
            self.engine.slab.bytes_out += size
            self.write(piece)
        if self.chunked:
            put(buffer, b"\r\n", 2)
            if last:
                put(buffer, b"0\r\n\r\n", 5)
        if buffer.length:
            self.put_out(x)
        if self.write_paused is False and not last:
            self.rearm()
        return 0

    cdef int put_out(self, Exchange x) except -1:
        """Writes what was assembled."""
        cdef Buffer* buffer = &self.engine.buffer
        self.engine.slab.bytes_out += buffer.length
        self.write(PyBytes_FromStringAndSize(buffer.data, buffer.length))
        return 0

    cdef int send_body(self, Exchange x, bytes piece, bint last) except -1:
        cdef Buffer* buffer = &self.engine.buffer
        cdef Py_ssize_t size = PyBytes_GET_SIZE(piece) if piece is not None else 0
        if not self.connected:
            return 0
        if self.bodiless:
            return 0
        x.bytes_out += size
        if not self.chunked:
            if size:
                self.engine.slab.bytes_out += size
                self.write(piece)
            return 0
        buffer.length = 0
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
            put(buffer, b"0\r\n\r\n", 5)
        if buffer.length:
            self.put_out(x)
        return 0

    cdef int send_interim(self, Exchange x) except -1:
        cdef Buffer* buffer = &self.engine.buffer
        cdef Head head = x.response
        buffer.length = 0
        put(buffer, b"HTTP/1.1 ", 9)
        put_number(buffer, head.status)
        put(buffer, b" ", 1)
        put(buffer, head.p + head.reason.start, head.reason.length)
        put(buffer, b"\r\n", 2)
        put_fields(buffer, head)
        put(buffer, b"\r\n", 2)
        return self.put_out(x)

    cdef int send_continue(self, Exchange x) except -1:
        x.expects_continue = False
        return self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    cdef int open_tunnel(self, Exchange x) except -1:
        cdef Buffer* buffer = &self.engine.buffer
        cdef Head head = x.response
        cdef bytes early = self.tail
        buffer.length = 0
        put(buffer, b"HTTP/1.1 101 ", 13)
        put(buffer, head.p + head.reason.start, head.reason.length)
        put(buffer, b"\r\n", 2)
        put_fields(buffer, head)
        put(buffer, b"Connection: Upgrade\r\nUpgrade: ", 30)
        put(buffer, head.p + head.fields[head.upgrade].value, head.fields[head.upgrade].value_length)
        put(buffer, b"\r\n\r\n", 4)
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

    cdef int cut(self, Exchange x) except -1:
        """The client must see that the answer is not whole."""
        self.mode = CLOSED
        if not self.connected:
            return 0
        if self.until_close:
            # Without length or chunks only a reset tells.
            return self.reset()
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
            if self.mode == WAITING and self.tail is None:
                return self.close()
            return self.linger()
        if self.mode == READING_HEAD:
            return self.linger()
        if self.mode == READING_BODY:
            self.mode = DRAINING
            self.engine.wheel.arm(self, LINGER_TIME)
            return 0
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
        if self.engine.draining or x.request.close or outcomes[x.cause].close:
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
        self.mode = LINGERING
        self.tail = None
        self.dropped = 0
        if self.held:
            self.release(self.held)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.engine.wheel.arm(self, LINGER_TIME)
        return 0

    cdef int close(self) except -1:
        self.mode = CLOSED
        return self.flush_and_close()

    def resume_writing(self):
        ClientSide.resume_writing(self)
        if self.tail is not None and self.exchange is None:
            self.engine.loop.call_soon(self.go_on)

    def close_idle(self):
        """Part of draining: closes the connection if nothing is under way and nothing unread."""
        if self.mode == IDLE and self.connected and self.tail is None and self.quiet():
            self.close()

    def abort(self):
        """Ends the connection now, because the gateway stops; what was under way is counted and logged as that."""
        cdef Exchange x = self.exchange
        self.mode = CLOSED
        self.tail = None
        if x is not None:
            x.client_gone(STOPPED)
        if self.connected and self.transport is not None:
            self.transport.abort()

    cdef int rearm(self) except -1:
        """The deadline of the mode; that of a tunnel is kept by the upstream's side, which sees both ways."""
        if self.held or self.write_paused:
            self.engine.wheel.arm(self, ASK_EVERY)
        elif self.mode == READING_BODY:
            self.engine.wheel.arm(self, self.engine.runtime.body_timeout)
        return 0

    cdef int expired(self) except -1:
        cdef Exchange x = self.exchange
        if not self.connected:
            return 0
        if self.mode == CLOSED:
            self.abort_if_stalled()
        elif self.held or self.write_paused:
            if self.write_paused and self.stalled(
                    x.route.write_timeout if x is not None and x.route is not None else WRITE_TIME):
                self.mode = CLOSED
                if x is not None:
                    x.client_gone(CLIENT_STALLED)
                if self.connected:
                    self.reset()
                return 0
            if self.held and self.peer_gone():
                self.mode = CLOSED
                if x is not None:
                    x.client_gone(CLIENT_GONE)
                if self.connected:
                    self.transport.abort()
                return 0
            self.engine.wheel.arm(self, ASK_EVERY)
        elif self.mode == READING_HEAD:
            if x is None:
                self.close()
            else:
                identify_client(x)
                x.refuse(HEAD_TIMEOUT)
        elif self.mode == READING_BODY:
            x.refuse(BODY_TIMEOUT)
        elif self.mode == IDLE or self.mode == DRAINING:
            self.close()
        elif self.mode == LINGERING:
            self.mode = CLOSED
            self.transport.abort()
        return 0


cdef int put_fields(Buffer* buffer, Head head) except -1:
    """Copies the lines of a response head that are passed on, neighbours in one go."""
    cdef Field* field
    cdef Py_ssize_t begin = -1
    cdef int i
    for i in range(head.count):
        field = &head.fields[i]
        if field.flags & (DROPPED | RULED):
            if begin >= 0:
                put(buffer, head.p + begin, field.name - begin)
                begin = -1
        elif begin < 0:
            begin = field.name
    if begin >= 0:
        put(buffer, head.p + begin, head.length - 2 - begin)
    return 0
