"""Connections to upstreams: HTTP/1.1 on the wire, one exchange at a time.

Theory of operation
-------------------
An `UpstreamConnection` has one exchange at a time. It writes the request head and what is there of the body in one
piece, reads the response head with `Head`, and passes the body on as it comes. When the response is complete it goes
back to the pool *before* the exchange ends, so that the client's next request finds it. It goes back only if the
request was sent whole, the framing of the response was its own end, and nothing came behind it.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE

from fastgate._core.exchange.causes cimport (
    BAD_REQUEST,
    IDLE_TIMEOUT,
    OK,
    READ_TIMEOUT,
    RESPONSE_BAD_SWITCH,
    RESPONSE_CUT,
    UPSTREAM_RESET,
    UPSTREAM_STALE,
    WRITE_TIMEOUT,
    in_response,
    reason_of,
    said_of,
)
from fastgate._core.exchange.exchange cimport ASK_EVERY, Exchange, Peer, accepts_trailers, response_trailers
from fastgate._core.exchange.head cimport (
    AUTHORIZATION,
    DROPPED,
    OTHER,
    PROXY_AUTHENTICATE,
    UPGRADE,
    Field,
    Head,
    same,
    same_text,
)
from fastgate._core.exchange.worker cimport Engine, live
from fastgate._core.memory.buffer cimport Buffer, put, put_bytes, put_hex
from fastgate._core.wire.h1.forwarding cimport in_chunks, put_request
from fastgate._core.wire.h1.framing cimport (
    BROKEN,
    COMPLETE,
    MORE,
    UNTIL_CLOSE,
    by_chunks,
    by_length,
    gather,
    put_last_chunk,
    take,
    until_close,
)
from fastgate._core.wire.pooled cimport (
    CLOSED,
    IDLE,
    READING_BODY,
    READING_HEAD,
    RESERVED,
    STARTING,
    TUNNEL,
    Home,
    PooledConnection,
)
from fastgate._core.exchange.sockets cimport read_waiting

cdef enum:
    MAX_HEAD = 65536
    INLINE_BODY = 16384


cdef class UpstreamConnection(PooledConnection):
    """The protocol of one connection to a target."""

    def __cinit__(self, Engine engine, Home home, pool):
        self.engine = engine
        self.home = home
        self.pool = pool
        self.mode = STARTING
        self.fd = -1
        self.keep_seconds = -1
        live.upstreams += 1

    def __dealloc__(self):
        live.upstreams -= 1

    # -- asyncio's side

    def connection_made(self, transport):
        if self.forgotten:
            transport.abort()
            return
        self.attach(transport)

    def data_received(self, bytes data):
        if self.mode == READING_BODY:
            self.rearm()
            self.read_body(data, 0)
        elif self.mode == READING_HEAD:
            self.answered = True
            self.read_head(data)
        elif self.mode == TUNNEL:
            self.rearm()
            self.exchange.upstream_bytes(data)
        elif self.mode == IDLE or self.mode == STARTING or self.mode == RESERVED:
            # Nothing was asked.
            self.close()

    def eof_received(self):
        cdef Exchange x = self.exchange
        if x is None:
            self.close()
        elif self.mode == READING_BODY and self.framing.kind == UNTIL_CLOSE:
            self.reusable = False
            self.finished()
            self.delivery.piece(x, None, True)
        elif self.mode == TUNNEL:
            self.mode = CLOSED
            x.finish(OK)
        else:
            self.fail(UPSTREAM_RESET)

    def connection_lost(self, error):
        cdef Exchange x
        cdef int mode
        if error is not None and (self.mode == READING_HEAD or self.mode == READING_BODY):
            self.read_rest()
        x = self.exchange
        mode = self.mode
        self.forget()
        if self.mode == IDLE:
            self.home.remove(self)
        if self.owner is not None:
            self.disown()
        if x is not None:
            if mode == TUNNEL:
                self.exchange = None
                x.finish(OK)
            else:
                self.fail(UPSTREAM_RESET)
        self.mode = CLOSED
        self.tail = None
        self.home.came_free(self)

    cdef int read_rest(self) except -1:
        """Reads what came before the connection was reset.

        An upstream that answers early and closes, without having read the whole request, resets it: writing fails then,
        while its answer lies here unread. (Not with TLS, whose records only the transport could read.)
        """
        cdef Exchange x = self.exchange
        cdef bytes data
        if self.home.tls is not None:
            return 0
        self.reusable = False
        while self.exchange is x:
            data = read_waiting(self.descriptor())
            if data is None:
                return 0
            self.data_received(data)
        return 0

    # -- the exchange's side

    cdef int start(self, Exchange x) except -1:
        cdef Buffer* buffer = &self.engine.buffer
        cdef bytes piece
        cdef Py_ssize_t size = x.body_kept
        cdef bint chunked = in_chunks(x)
        self.exchange = x
        self.mode = READING_HEAD
        self.requests += 1
        self.answered = False
        self.reusable = True
        self.carried_body = x.request.chunked or x.request.content_length > 0
        self.tail = None
        if x.request.seen & (1 << AUTHORIZATION) and not self.authenticated and authenticates_connection(x.request):
            self.authenticated = True
            if x.is_copy:
                # No other request of this client comes the same way.
                self.reusable = False
            elif self.owner is None:
                self.reserve_for(x.client.peer)
        buffer.length = 0
        put_request(x, self.home.authority, buffer)
        if x.body is not None and size <= INLINE_BODY:
            if chunked and size:
                put_hex(buffer, size)
                put(buffer, b"\r\n", 2)
            for piece in x.body:
                put_bytes(buffer, piece)
            if chunked and size:
                put(buffer, b"\r\n", 2)
        if chunked and x.request_complete and size <= INLINE_BODY:
            put_last_chunk(buffer, x.request.trailers)
        self.write(PyBytes_FromStringAndSize(buffer.data, buffer.length))
        if x.body is not None and size > INLINE_BODY:
            for piece in list(x.body):
                self.send_body(piece, False)
            if x.request_complete and chunked:
                self.send_body(None, True)
        if x.request_complete:
            self.engine.wheel.arm(self, x.route.read_timeout)
        else:
            self.due = 0
        return 0

    cdef int send_body(self, bytes piece, bint last) except -1:
        cdef Exchange x = self.exchange
        cdef Buffer* buffer = &self.engine.buffer
        cdef Py_ssize_t size = PyBytes_GET_SIZE(piece) if piece is not None else 0
        if last and not self.write_paused:
            self.engine.wheel.arm(self, x.route.read_timeout)
        if not in_chunks(x):
            return self.write(piece) if size else 0
        buffer.length = 0
        if size:
            put_hex(buffer, size)
            put(buffer, b"\r\n", 2)
            if size <= INLINE_BODY:
                put_bytes(buffer, piece)
            else:
                self.write(PyBytes_FromStringAndSize(buffer.data, buffer.length))
                buffer.length = 0
                self.write(piece)
            put(buffer, b"\r\n", 2)
        if last:
            put_last_chunk(buffer, x.request.trailers)
        if buffer.length:
            self.write(PyBytes_FromStringAndSize(buffer.data, buffer.length))
        return 0

    cdef int send_raw(self, bytes data) except -1:
        self.rearm()
        return self.write(data)

    cdef int stop_sending(self) except -1:
        self.reusable = False
        return 0

    cdef int reserve_for(self, Peer peer) except -1:
        """From now on only this client's requests use the connection: until the client leaves, and then it ends.

        Where the upstream has asked for credentials and got none, it knows nobody by the connection: that one goes to
        the pool when its client leaves.
        """
        self.owner = peer
        if peer.reserved is None:
            peer.reserved = []
        peer.reserved.append(self)
        return 0

    cdef int disown(self) except -1:
        cdef Peer peer = self.owner
        self.owner = None
        if peer.reserved is not None and self in peer.reserved:
            peer.reserved.remove(self)
        if self.authenticated:
            self.reusable = False
        if self.mode == RESERVED:
            return self.close() if self.authenticated else self.home.take_back(self)
        return 0

    cdef int abandon(self) except -1:
        self.exchange = None
        if self.mode == TUNNEL:
            return self.close()
        self.mode = CLOSED
        self.due = 0
        return self.abort_transport()

    # -- reading

    cdef int read_head(self, bytes data) except -1:
        cdef Exchange x = self.exchange
        cdef Head head = x.response
        cdef Py_ssize_t offset = 0
        cdef Py_ssize_t size
        cdef const unsigned char* p
        cdef bytes piece = None
        cdef int progress = MORE
        cdef bint bodiless
        cdef int cause
        if self.tail is not None:
            data = self.tail + data
            self.tail = None
        p = <const unsigned char*>PyBytes_AS_STRING(data)
        while True:
            size = head.scan(p + offset, PyBytes_GET_SIZE(data) - offset, False, MAX_HEAD)
            if size == 0:
                self.tail = data[offset:] if offset else data
                return 0
            if size < 0:
                return self.reject(in_response(<int>-size))
            if PyBytes_GET_SIZE(data) - size > 4096:
                head.data = PyBytes_FromStringAndSize(<const char*>p + offset, size)
                head.p = <const unsigned char*>PyBytes_AS_STRING(head.data)
            else:
                head.data = data
            cause = head.index(False, 1)
            if cause != OK:
                return self.reject(in_response(cause))
            bodiless = x.is_head or head.status == 204 or head.status == 304 or head.status < 200
            if not self.engine.accept_response(
                    head, head.data, head.p - <const unsigned char*>PyBytes_AS_STRING(head.data), bodiless):
                return self.reject(in_response(BAD_REQUEST))
            offset += size
            if head.status >= 200 or head.status == 101:
                break
            x.interim()
            if self.exchange is not x:
                return 0
            head.release()
            if offset == PyBytes_GET_SIZE(data):
                return 0
        if head.status == 101:
            if not x.upgrading or head.upgrade < 0 or not same_protocol(x.request, head):
                return self.reject(RESPONSE_BAD_SWITCH)
            self.mode = TUNNEL
            self.reusable = False
            self.engine.wheel.arm(self, x.route.idle_timeout)
            self.delivery.answered(x, None, False)
            if offset < PyBytes_GET_SIZE(data) and self.exchange is x:
                x.upstream_bytes(data[offset:])
            return 0
        if head.status >= 401:
            keep_for_status(head)
            if (head.status == 401 or head.status == 407) and self.owner is None and not x.is_copy \
                    and asks_for_connection(head):
                self.reserve_for(x.client.peer)
        if head.close:
            self.reusable = False
        head.keep_alive_timeout(&self.keep_seconds)
        if bodiless:
            by_length(&self.framing, 0)
        elif head.chunked:
            by_chunks(&self.framing, MAX_HEAD)
        elif head.content_length >= 0:
            by_length(&self.framing, head.content_length)
        else:
            until_close(&self.framing)
            self.reusable = False
        self.mode = READING_BODY
        if not x.request_complete:
            self.reusable = False
        piece = take(&self.framing, data, &offset, &progress)
        if self.framing.section and progress != BROKEN:
            progress = self.read_trailers(data, offset, progress)
        if progress == BROKEN:
            return self.reject(in_response(self.framing.fault))
        if progress == COMPLETE:
            if offset != PyBytes_GET_SIZE(data):
                self.reusable = False
            self.finished()
            return self.delivery.answered(x, piece, True)
        self.engine.wheel.arm(self, x.route.idle_timeout)
        return self.delivery.answered(x, piece, False)

    cdef int read_body(self, bytes data, Py_ssize_t offset) except -1:
        cdef Exchange x = self.exchange
        cdef int progress = MORE
        cdef bytes piece = take(&self.framing, data, &offset, &progress)
        if self.framing.section and progress != BROKEN:
            progress = self.read_trailers(data, offset, progress)
        if progress == BROKEN:
            return self.reject(in_response(self.framing.fault))
        if progress == COMPLETE:
            if offset != PyBytes_GET_SIZE(data):
                self.reusable = False
            self.finished()
            return self.delivery.piece(x, piece, True)
        if piece is not None:
            return self.delivery.piece(x, piece, False)
        return 0

    cdef int read_trailers(self, bytes data, Py_ssize_t end, int progress) except -1:
        """Some of the fields behind the body has come, or all: kept for a client that takes them. How the message goes
        on.
        """
        cdef Exchange x = self.exchange
        cdef Head head
        if accepts_trailers(x):
            head = self.delivery.arriving(x)
            gather(&self.framing, head, data, end)
            if progress == COMPLETE and head.trailers is not None:
                self.framing.fault = response_trailers(x, head)
                if self.framing.fault != OK:
                    return BROKEN
        return progress

    cdef int finished(self) except -1:
        """The response is complete: away from the exchange and back to the pool, or closed."""
        self.exchange = None
        self.due = 0
        if self.held:
            self.release(self.held)
        if self.reusable and not self.write_paused:
            return self.home.take_back(self)
        return self.close()

    cdef int fail(self, int cause) except -1:
        """The exchange cannot go on over this connection."""
        cdef Exchange x = self.exchange
        cdef int mode = self.mode
        if cause == UPSTREAM_RESET and mode == READING_BODY:
            cause = RESPONSE_CUT
        elif cause == UPSTREAM_RESET and self.rested and not self.answered:
            cause = UPSTREAM_STALE
        self.exchange = None
        self.mode = CLOSED
        self.due = 0
        self.abort_transport()
        return self.delivery.failed(x, cause)

    cdef int reject(self, int cause) except -1:
        """The response cannot be read in one way only."""
        self.home.report(self, f"bad response from {self.home.name} ({reason_of(cause)}): {said_of(cause)}")
        return self.fail(cause)

    # -- deadlines

    cdef int rearm(self) except -1:
        cdef Exchange x = self.exchange
        if x is None:
            return 0
        if self.write_paused or self.held:
            self.engine.wheel.arm(self, ASK_EVERY)
        elif self.mode == READING_BODY or self.mode == TUNNEL:
            self.engine.wheel.arm(self, x.route.idle_timeout)
        elif x.request_complete:
            self.engine.wheel.arm(self, x.route.read_timeout)
        return 0

    cdef int expired(self) except -1:
        cdef Exchange x = self.exchange
        if not self.connected:
            return 0
        if self.mode == IDLE or self.mode == RESERVED:
            return self.close()
        if self.mode == CLOSED:
            return self.abort_if_stalled()
        if x is None:
            return 0
        if self.write_paused or self.held:
            if self.write_paused and self.stalled(x.route.write_timeout):
                return self.fail(WRITE_TIMEOUT)
            if self.held and self.mode == TUNNEL and self.peer_gone():
                x.finish(OK)
                return 0
            self.engine.wheel.arm(self, ASK_EVERY)
        elif self.mode == READING_HEAD:
            self.fail(READ_TIMEOUT)
        elif self.mode == READING_BODY:
            self.fail(IDLE_TIMEOUT)
        elif self.mode == TUNNEL:
            x.finish(IDLE_TIMEOUT)
        return 0


cdef bint same_protocol(Head request, Head response) noexcept:
    """Whether a 101 switches to the protocol that was asked for."""
    cdef Field* asked = &request.fields[request.upgrade]
    cdef Field* given = &response.fields[response.upgrade]
    return asked.value_length == given.value_length \
        and same_text(request.p + asked.value, response.p + given.value, asked.value_length)


cdef void keep_for_status(Head head) noexcept:
    """Fields that otherwise end here, and that a response with this status has to have: 426 says what to upgrade to
    (RFC 9110 section 15.5.22), 407 how to authenticate (section 15.5.8).
    """
    cdef int name = UPGRADE if head.status == 426 else PROXY_AUTHENTICATE if head.status == 407 else OTHER
    cdef int i
    if name != OTHER:
        for i in range(head.count):
            if head.fields[i].id == name:
                head.fields[i].flags = 0


# -- schemes that authenticate the connection and not the request (RFC 4559; NTLM)

cdef bint is_connection_scheme(const unsigned char* text, Py_ssize_t length) noexcept:
    """Whether credentials or a challenge begin with such a scheme."""
    cdef Py_ssize_t end = 0
    while end < length and text[end] != b" " and text[end] != b"\t" and text[end] != b",":
        end += 1
    return same(text, end, "ntlm", 4) or same(text, end, "negotiate", 9)


cdef bint authenticates_connection(Head request) noexcept:
    """Whether a request carries credentials that stand for all that follow on its connection."""
    cdef Field* field
    cdef int i
    for i in range(request.count):
        field = &request.fields[i]
        if field.id == AUTHORIZATION and not field.flags & DROPPED \
                and is_connection_scheme(request.p + field.value, field.value_length):
            return True
    return False


cdef bint asks_for_connection(Head response) noexcept:
    """Whether a 401 or 407 offers such a scheme, anywhere in its challenges."""
    cdef Field* field
    cdef const unsigned char* p
    cdef Py_ssize_t at
    cdef int i
    for i in range(response.count):
        field = &response.fields[i]
        p = response.p + field.name
        if not same(p, field.name_length, "www-authenticate", 16) \
                and not same(p, field.name_length, "proxy-authenticate", 18):
            continue
        p = response.p + field.value
        for at in range(field.value_length):
            # What stands within a quoted parameter may be taken for one: then a connection is closed too soon.
            if (at == 0 or p[at - 1] == b" " or p[at - 1] == b"\t" or p[at - 1] == b",") \
                    and is_connection_scheme(p + at, field.value_length - at):
                return True
    return False
