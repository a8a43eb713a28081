"""Connections to upstreams and the pools they rest in.

Theory of operation
-------------------
A `Pool` serves one named upstream. `acquire` picks a target and gives the exchange, in this order: a connection that rests in the pool
(the one used last first, so that the others can go), a new connection if the target may have one more, a place in the target's queue.
A connection that comes free goes to the queue before it goes to rest.

An `UpstreamConnection` has one exchange at a time. It writes the request head and what is there of the body in one piece, reads the
response head with `Head`, and passes the body on as it comes. When the response is complete it goes back to the pool *before* the exchange
ends, so that the client's next request finds it. It goes back only if the request was sent whole, the framing of the response was its own
end, and nothing came behind it.

Invariant: ``Target.open`` counts every connection from the decision to make it until `connection_lost`, or until making it failed.
"""

import asyncio
import socket
import ssl
from collections import deque

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint64_t

from fastgate._core.balancer cimport Balancer
from fastgate._core.buffer cimport Buffer, put, put_bytes, put_hex, put_number, reserve
from fastgate._core.causes cimport (
    BAD_RESPONSE,
    CONNECT_FAILED,
    IDLE_TIMEOUT,
    NAME_UNRESOLVED,
    NO_TARGET,
    OK,
    POOL_FULL,
    READ_TIMEOUT,
    RESPONSE_CUT,
    TLS_FAILED,
    UPSTREAM_RESET,
    UPSTREAM_STALE,
    WRITE_TIMEOUT,
)
from fastgate._core.engine cimport Engine, live
from fastgate._core.exchange cimport HOLD_WAIT, ClientSide, Endpoint, Exchange, Upstream, UpstreamSide
from fastgate._core.framing cimport BROKEN, COMPLETE, MORE, UNTIL_CLOSE, by_chunks, by_length, take, until_close
from fastgate._core.head cimport (
    DROPPED,
    FORWARDED,
    HOST,
    OTHER,
    RULED,
    VIA,
    X_FORWARDED_FOR,
    X_FORWARDED_HOST,
    X_FORWARDED_PORT,
    X_FORWARDED_PROTO,
    Field,
    Head,
    same,
)
from fastgate._core.route cimport HOST_CLIENT, HOST_LITERAL, Runtime
from fastgate._core.route import milliseconds

cdef enum:
    MAX_HEAD = 65536
    INLINE_BODY = 16384


cdef class Target:
    """One address of an upstream. ``number`` is its row in the shared target table."""

    def __cinit__(self, Engine engine, *, name, host="", port=0, path="", tls=None, server_name="", authority="", number=0):
        self.name = name
        self.host = host
        self.port = port
        self.path = path
        self.tls = tls
        self.server_name = server_name
        self.authority = (authority or name).encode("ascii")
        self.idle = []
        self.waiting = deque()
        self.in_flight = engine.segment.in_flight(number, engine.slot)


cdef class Pool(Upstream):
    """The targets of one upstream with this worker's connections to them. Times are seconds; counts are of one target and this worker."""

    def __cinit__(self, Engine engine, str name, targets, Balancer balancer, *, max_connections=512, max_idle=64, queue=128,
                  queue_timeout=1.0, idle_timeout=4.0, max_requests=0):
        self.engine = engine
        self.name = name
        self.targets = tuple(targets)
        self.balancer = balancer
        self.max_connections = max_connections
        self.max_idle = max_idle
        self.queue = queue
        self.queue_timeout = milliseconds(queue_timeout)
        self.idle_timeout = milliseconds(idle_timeout)
        self.max_requests = max_requests

    @property
    def open(self):
        """Connections of this worker: idle, busy and being made."""
        return sum([(<Target>target).open for target in self.targets])

    def close(self):
        """Closes what rests; what is busy closes when it is done."""
        cdef Target target
        cdef UpstreamConnection connection
        self.closed = True
        for target in self.targets:
            for connection in list(target.idle):
                connection.close()
            target.idle.clear()

    cdef int acquire(self, Exchange x) except -1:
        cdef Target target
        cdef UpstreamConnection connection
        cdef int number = self.balancer.pick()
        if number < 0:
            return x.attempt_failed(NO_TARGET)
        target = <Target>self.targets[number]
        if x.tries > 1 and target.name == x.target_name and len(self.targets) > 1:
            # Another target each time.
            target = <Target>self.targets[self.balancer.pick()]
        x.attempt.target = target
        x.target_name = target.name
        x.attempt.in_flight = target.in_flight
        target.in_flight[0] += 1
        while target.idle and not x.fresh:
            connection = <UpstreamConnection>target.idle.pop()
            if not x.idempotent and not connection.quiet():
                connection.close()
                continue
            x.attempt.reused = True
            self.engine.slab.upstream_reuses += 1
            return x.connected(connection)
        if target.open < self.max_connections:
            return self.connect(target, x)
        if len(target.waiting) >= self.queue:
            return x.attempt_failed(POOL_FULL)
        target.waiting.append(x)
        x.attempt.waiting = True
        self.engine.wheel.arm(x, self.queue_timeout)
        return 0

    cdef int leave(self, Exchange x) except -1:
        cdef Target target = <Target>x.attempt.target
        cdef Ticket ticket
        if x.attempt.waiting:
            x.attempt.waiting = False
            if x in target.waiting:
                target.waiting.remove(x)
        if x.attempt.connecting is not None:
            ticket = <Ticket>x.attempt.connecting
            x.attempt.connecting = None
            ticket.task.cancel()
        return 0

    cdef int connect(self, Target target, Exchange x) except -1:
        cdef Ticket ticket = Ticket.__new__(Ticket)
        target.open += 1
        ticket.target = target
        x.attempt.connecting = ticket
        ticket.task = self.engine.spawn(self.open_connection(target, ticket, x))
        return 0

    async def open_connection(self, Target target, Ticket ticket, Exchange x):
        cdef UpstreamConnection connection = UpstreamConnection.__new__(UpstreamConnection, self, target)
        cdef int cause = OK
        loop = self.engine.loop
        server_name = (target.server_name or target.host) if target.tls is not None else None
        self.engine.slab.upstream_connects += 1
        try:
            if target.path:
                await loop.create_unix_connection(lambda: connection, target.path, ssl=target.tls, server_hostname=server_name)
            else:
                await loop.create_connection(lambda: connection, target.host, target.port, ssl=target.tls, server_hostname=server_name)
        except asyncio.CancelledError:
            if not connection.made:
                target.open -= 1
            else:
                connection.close()
            self.serve(target)
            raise
        except socket.gaierror as error:
            cause = NAME_UNRESOLVED
            reason = error
        except ssl.SSLError as error:
            cause = TLS_FAILED
            reason = error
        except (OSError, asyncio.TimeoutError) as error:
            cause = CONNECT_FAILED
            reason = error
        if cause != OK:
            if not connection.made:
                target.open -= 1
            self.engine.log("warning", f"upstream {self.name!r}: cannot connect to {target.name}: {reason}")
        if x.attempt.connecting is not ticket:
            # Given up in the meantime.
            if cause == OK:
                self.put_back(connection)
            return
        x.attempt.connecting = None
        if cause == OK and not connection.connected:
            cause = CONNECT_FAILED
        if cause != OK:
            x.attempt_failed(cause)
            self.serve(target)
        else:
            x.connected(connection)

    cdef int serve(self, Target target) except -1:
        """Something of this target came free: the next in the queue."""
        cdef Exchange x
        cdef UpstreamConnection connection
        while target.waiting:
            if target.idle:
                connection = <UpstreamConnection>target.idle.pop()
                x = <Exchange>target.waiting.popleft()
                x.attempt.waiting = False
                x.attempt.reused = True
                self.engine.slab.upstream_reuses += 1
                x.connected(connection)
            elif target.open < self.max_connections:
                x = <Exchange>target.waiting.popleft()
                x.attempt.waiting = False
                self.connect(target, x)
            else:
                break
        return 0

    cdef int put_back(self, UpstreamConnection connection) except -1:
        """A connection has no exchange any more and can take another."""
        cdef Target target = connection.target
        cdef uint64_t keep = self.idle_timeout
        if connection.keep_seconds >= 0:
            # One second before the upstream closes it itself.
            keep = 1000 * (connection.keep_seconds - 1) if connection.keep_seconds > 1 else 0
        if not connection.connected or self.closed or self.engine.draining or keep == 0 \
                or (self.max_requests and connection.requests >= self.max_requests) \
                or (len(target.idle) >= self.max_idle and not target.waiting):
            return connection.close()
        connection.mode = IDLE
        target.idle.append(connection)
        self.engine.wheel.arm(connection, keep)
        if target.waiting:
            self.serve(target)
        return 0


cdef class UpstreamConnection(UpstreamSide):
    """The protocol of one connection to a target."""

    def __cinit__(self, Pool pool, Target target):
        self.engine = pool.engine
        self.pool = pool
        self.target = target
        self.mode = IDLE
        self.fd = -1
        self.keep_seconds = -1
        live.upstreams += 1

    def __dealloc__(self):
        live.upstreams -= 1

    # -- asyncio's side

    def connection_made(self, transport):
        self.attach(transport)
        self.made = True

    def data_received(self, bytes data):
        if self.mode == READING_BODY:
            self.rearm()
            self.read_body(data, 0)
        elif self.mode == READING_HEAD:
            self.answered = True
            self.read_head(data)
        elif self.mode == TUNNEL:
            self.rearm()
            self.exchange.bytes_out += PyBytes_GET_SIZE(data)
            self.engine.slab.bytes_out += PyBytes_GET_SIZE(data)
            self.exchange.client.write(data)
        elif self.mode == IDLE:
            # Nobody asked.
            self.close()

    def eof_received(self):
        cdef Exchange x = self.exchange
        if x is None:
            self.close()
        elif self.mode == READING_BODY and self.framing.kind == UNTIL_CLOSE:
            self.reusable = False
            self.finished()
            x.response_piece(None, True)
        elif self.mode == TUNNEL:
            self.mode = CLOSED
            x.finish(OK)
        else:
            self.fail(UPSTREAM_RESET)

    def connection_lost(self, error):
        cdef Exchange x = self.exchange
        cdef int mode = self.mode
        self.connected = False
        self.unlink()
        self.target.open -= 1
        if self.mode == IDLE and self in self.target.idle:
            self.target.idle.remove(self)
        if x is not None:
            if mode == TUNNEL:
                self.exchange = None
                x.finish(OK)
            else:
                self.fail(UPSTREAM_RESET)
        self.mode = CLOSED
        self.transport = None
        self.tail = None
        self.pool.serve(self.target)

    # -- the exchange's side

    cdef int start(self, Exchange x) except -1:
        cdef Buffer* buffer = &self.engine.buffer
        cdef bytes piece
        cdef Py_ssize_t size = x.body_kept
        cdef bint chunked = x.request.chunked and not x.buffering
        self.exchange = x
        self.mode = READING_HEAD
        self.requests += 1
        self.answered = False
        self.reusable = True
        self.tail = None
        buffer.length = 0
        self.put_request(x, buffer)
        if x.body is not None and size <= INLINE_BODY:
            reserve(buffer, size + 32)
            if chunked and size:
                put_hex(buffer, size)
                put(buffer, b"\r\n", 2)
            for piece in x.body:
                put_bytes(buffer, piece)
            if chunked and size:
                put(buffer, b"\r\n", 2)
        if chunked and x.request_complete and size <= INLINE_BODY:
            reserve(buffer, 8)
            put(buffer, b"0\r\n\r\n", 5)
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
        if not x.request.chunked or x.buffering:
            return self.write(piece) if size else 0
        buffer.length = 0
        reserve(buffer, 32 + (size if size <= INLINE_BODY else 0))
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
            put(buffer, b"0\r\n\r\n", 5)
        if buffer.length:
            self.write(PyBytes_FromStringAndSize(buffer.data, buffer.length))
        return 0

    cdef int send_raw(self, bytes data) except -1:
        self.rearm()
        return self.write(data)

    cdef int stop_sending(self) except -1:
        self.reusable = False
        return 0

    cdef int abandon(self) except -1:
        self.exchange = None
        if self.mode == TUNNEL:
            return self.close()
        self.mode = CLOSED
        self.due = 0
        if self.connected:
            self.transport.abort()
        return 0

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
                return self.fail(BAD_RESPONSE)
            if PyBytes_GET_SIZE(data) - size > 4096:
                head.data = PyBytes_FromStringAndSize(<const char*>p + offset, size)
                head.p = <const unsigned char*>PyBytes_AS_STRING(head.data)
            else:
                head.data = data
            if head.index(False, 1) != OK:
                return self.fail(BAD_RESPONSE)
            bodiless = x.is_head or head.status == 204 or head.status == 304 or head.status < 200
            if not self.engine.accept_response(
                    head, head.data, head.p - <const unsigned char*>PyBytes_AS_STRING(head.data), bodiless):
                return self.fail(BAD_RESPONSE)
            offset += size
            if head.status >= 200 or head.status == 101:
                break
            x.response_interim()
            if x.over:
                return 0
            head.release()
            if offset == PyBytes_GET_SIZE(data):
                return 0
        if head.status == 101:
            if not x.upgrading or head.upgrade < 0:
                return self.fail(BAD_RESPONSE)
            self.mode = TUNNEL
            self.reusable = False
            self.engine.wheel.arm(self, x.route.idle_timeout)
            x.response_arrived(None, False)
            if offset < PyBytes_GET_SIZE(data) and not x.over:
                self.exchange.client.write(data[offset:])
            return 0
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
        if progress == BROKEN:
            return self.fail(BAD_RESPONSE)
        if progress == COMPLETE:
            if offset != PyBytes_GET_SIZE(data):
                self.reusable = False
            self.finished()
            return x.response_arrived(piece, True)
        self.engine.wheel.arm(self, x.route.idle_timeout)
        return x.response_arrived(piece, False)

    cdef int read_body(self, bytes data, Py_ssize_t offset) except -1:
        cdef Exchange x = self.exchange
        cdef int progress = MORE
        cdef bytes piece = take(&self.framing, data, &offset, &progress)
        if progress == BROKEN:
            return self.fail(BAD_RESPONSE)
        if progress == COMPLETE:
            if offset != PyBytes_GET_SIZE(data):
                self.reusable = False
            self.finished()
            return x.response_piece(piece, True)
        if piece is not None:
            return x.response_piece(piece, False)
        return 0

    cdef int finished(self) except -1:
        """The response is complete: away from the exchange and back to the pool, or closed."""
        cdef Exchange x = self.exchange
        self.exchange = None
        x.attempt.connection = None
        self.due = 0
        if self.held:
            Endpoint.release(self, self.held)
        if self.reusable and not self.write_paused:
            return self.pool.put_back(self)
        return self.close()

    cdef int fail(self, int cause) except -1:
        """The exchange cannot go on over this connection."""
        cdef Exchange x = self.exchange
        cdef int mode = self.mode
        if cause == UPSTREAM_RESET and mode == READING_BODY:
            cause = RESPONSE_CUT
        elif cause == UPSTREAM_RESET and x.attempt.reused and not self.answered:
            cause = UPSTREAM_STALE
        self.exchange = None
        self.mode = CLOSED
        self.due = 0
        x.attempt.connection = None
        if self.connected:
            self.transport.abort()
        return x.attempt_failed(cause)

    cdef int close(self) except -1:
        self.mode = CLOSED
        self.due = 0
        if self.connected:
            self.transport.close()
        return 0

    # -- deadlines

    cdef int rearm(self) except -1:
        cdef Exchange x = self.exchange
        if x is None:
            return 0
        if self.write_paused or self.held:
            self.engine.wheel.arm(self, 1000)
        elif self.mode == READING_BODY or self.mode == TUNNEL:
            self.engine.wheel.arm(self, x.route.idle_timeout)
        elif x.request_complete:
            self.engine.wheel.arm(self, x.route.read_timeout)
        return 0

    cdef int release(self, int reason) except -1:
        Endpoint.release(self, reason)
        if self.held == 0 and self.exchange is not None:
            self.due = 0
            self.rearm()
        return 0

    cdef int hold(self, int reason) except -1:
        Endpoint.hold(self, reason)
        self.engine.wheel.arm(self, 1000)
        return 0

    def resume_writing(self):
        UpstreamSide.resume_writing(self)
        if self.exchange is not None:
            self.due = 0
            self.rearm()

    cdef int expired(self) except -1:
        cdef Exchange x = self.exchange
        if not self.connected:
            return 0
        if self.mode == IDLE:
            if self in self.target.idle:
                self.target.idle.remove(self)
            return self.close()
        if x is None:
            return 0
        if self.write_paused or self.held:
            if self.write_paused and self.stalled(x.route.write_timeout):
                return self.fail(WRITE_TIMEOUT)
            if self.held and self.mode == TUNNEL and self.peer_gone():
                x.finish(OK)
                return 0
            self.engine.wheel.arm(self, 1000)
        elif self.mode == READING_HEAD:
            self.fail(READ_TIMEOUT)
        elif self.mode == READING_BODY:
            self.fail(IDLE_TIMEOUT)
        elif self.mode == TUNNEL:
            x.finish(IDLE_TIMEOUT)
        return 0

    # -- the request head on the wire

    cdef int put_request(self, Exchange x, Buffer* buffer) except -1:
        cdef Head head = x.request
        cdef ClientSide client = x.client
        cdef Runtime runtime = x.runtime
        cdef Field* field
        cdef Py_ssize_t begin = -1
        cdef Py_ssize_t room = head.length + 512 + x.path_length + x.host_length * 2
        cdef bint keep_length = not x.buffering
        cdef bint trusted = client.trusted
        cdef bint chunked = head.chunked and not x.buffering
        cdef bytes name, value, port
        cdef int i
        cdef bint skip
        if x.forward_path is not None:
            room += PyBytes_GET_SIZE(x.forward_path)
        if x.request_extra is not None:
            for name, value in x.request_extra:
                room += PyBytes_GET_SIZE(name) + PyBytes_GET_SIZE(value) + 4
        if x.route.host is not None:
            room += PyBytes_GET_SIZE(x.route.host)
        room += PyBytes_GET_SIZE(self.target.authority) + 2 * PyBytes_GET_SIZE(client.peer_address)
        reserve(buffer, room)
        # request line
        put(buffer, head.p, head.method.length)
        put(buffer, b" ", 1)
        if x.forward_path is not None:
            put_bytes(buffer, x.forward_path)
        else:
            put(buffer, x.path, x.path_length)
        if x.has_query:
            put(buffer, b"?", 1)
            put(buffer, x.query, x.query_length)
        put(buffer, b" HTTP/1.1\r\nHost: ", 17)
        if x.route.host_mode == HOST_CLIENT and x.host_length:
            put(buffer, x.host, x.host_length)
        elif x.route.host_mode == HOST_LITERAL:
            put_bytes(buffer, x.route.host)
        else:
            put_bytes(buffer, self.target.authority)
        put(buffer, b"\r\n", 2)
        # the client's fields, neighbours in one go
        for i in range(head.count):
            field = &head.fields[i]
            skip = field.flags & DROPPED or (field.flags & RULED and (field.id == HOST or not keep_length))
            if not skip and X_FORWARDED_FOR <= field.id <= FORWARDED:
                skip = not trusted or field.id == X_FORWARDED_FOR
            elif not skip and runtime.request_id is not None and field.name_length == PyBytes_GET_SIZE(runtime.request_id_lower):
                skip = same(head.p + field.name, field.name_length, PyBytes_AS_STRING(runtime.request_id_lower), field.name_length)
            if skip:
                if begin >= 0:
                    put(buffer, head.p + begin, field.name - begin)
                    begin = -1
            elif begin < 0:
                begin = field.name
        if begin >= 0:
            put(buffer, head.p + begin, head.length - 2 - begin)
        # where the request comes from
        if not trusted or not head.has_forwarded:
            put(buffer, b"X-Forwarded-For: ", 17)
            put_bytes(buffer, client.peer_address)
            put(buffer, b"\r\n", 2)
        else:
            self.put_appended(x, buffer)
        if not trusted or not head.seen & (1 << X_FORWARDED_PROTO):
            put(buffer, b"X-Forwarded-Proto: ", 19)
            put_bytes(buffer, client.scheme)
            put(buffer, b"\r\n", 2)
        if x.host_length and (not trusted or not head.seen & (1 << X_FORWARDED_HOST)):
            put(buffer, b"X-Forwarded-Host: ", 18)
            put(buffer, x.host, x.host_length)
            put(buffer, b"\r\n", 2)
        if client.local_port and (not trusted or not head.seen & (1 << X_FORWARDED_PORT)):
            put(buffer, b"X-Forwarded-Port: ", 18)
            put_number(buffer, client.local_port)
            put(buffer, b"\r\n", 2)
        if runtime.forwarded:
            self.put_forwarded(x, buffer)
        if runtime.via:
            put(buffer, b"Via: 1.", 7)
            put_number(buffer, head.minor)
            put(buffer, b" fastgate\r\n", 11)
        if runtime.request_id is not None:
            reserve(buffer, 512)
            put_bytes(buffer, runtime.request_id)
            put(buffer, b": ", 2)
            put(buffer, x.id, x.id_length)
            put(buffer, b"\r\n", 2)
        if x.request_extra is not None:
            reserve(buffer, room)
            for name, value in x.request_extra:
                put_bytes(buffer, name)
                put(buffer, b": ", 2)
                put_bytes(buffer, value)
                put(buffer, b"\r\n", 2)
        # framing
        if chunked:
            put(buffer, b"Transfer-Encoding: chunked\r\n", 28)
        elif x.buffering:
            put(buffer, b"Content-Length: ", 16)
            put_number(buffer, x.body_kept)
            put(buffer, b"\r\n", 2)
        if x.upgrading:
            put(buffer, b"Connection: Upgrade\r\nUpgrade: ", 30)
            put(buffer, head.p + head.fields[head.upgrade].value, head.fields[head.upgrade].value_length)
            put(buffer, b"\r\n", 2)
        put(buffer, b"\r\n", 2)
        return 0

    cdef int put_appended(self, Exchange x, Buffer* buffer) except -1:
        """X-Forwarded-For as a trusted peer sent it, and that peer."""
        cdef Head head = x.request
        cdef int i
        put(buffer, b"X-Forwarded-For: ", 17)
        for i in range(head.count):
            if head.fields[i].id == X_FORWARDED_FOR:
                put(buffer, head.p + head.fields[i].value, head.fields[i].value_length)
                put(buffer, b", ", 2)
        put_bytes(buffer, x.client.peer_address)
        put(buffer, b"\r\n", 2)
        return 0

    cdef int put_forwarded(self, Exchange x, Buffer* buffer) except -1:
        """One element of RFC 7239."""
        cdef bytes address = x.client.peer_address
        cdef bytes node = b'"[' + address + b']"' if b":" in address and address != b"unix:" else \
            b"_unix" if address == b"unix:" else address
        cdef bytes host = x.host[:x.host_length]
        cdef bytes line = b"Forwarded: for=" + node + b";host=\"" + host + b"\";proto=" + x.client.scheme + b"\r\n"
        reserve(buffer, PyBytes_GET_SIZE(line) + 512)
        put_bytes(buffer, line)
        return 0
