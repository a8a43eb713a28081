"""Connections to upstreams and the pools they rest in.

Theory of operation
-------------------
A `Pool` serves one named upstream. `acquire` picks a target and gives the exchange, in this order: a connection that
rests in the pool (the one used last first, so that the others can go), a new connection if the target may have one
more, a place in the target's queue. A connection that comes free goes to the queue before it goes to rest.

An `UpstreamConnection` has one exchange at a time. It writes the request head and what is there of the body in one
piece, reads the response head with `Head`, and passes the body on as it comes. When the response is complete it goes
back to the pool *before* the exchange ends, so that the client's next request finds it. It goes back only if the
request was sent whole, the framing of the response was its own end, and nothing came behind it.

Invariant: ``Target.open`` counts every connection from the decision to make it until `connection_lost`, or until
making it failed.
"""

import asyncio
import socket
import ssl
from collections import deque

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from libc.stdint cimport uint64_t

from fastgate._core.balancer cimport Balancer
from fastgate._core.buffer cimport Buffer, put, put_bytes, put_hex, reserve
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
from fastgate._core.exchange cimport ASK_EVERY, Exchange, Upstream, UpstreamSide
from fastgate._core.forwarding cimport put_request
from fastgate._core.framing cimport BROKEN, COMPLETE, MORE, UNTIL_CLOSE, by_chunks, by_length, take, until_close
from fastgate._core.head cimport Field, Head, same_text
from fastgate._core.route import milliseconds

cdef enum:
    MAX_HEAD = 65536
    INLINE_BODY = 16384
    REPORT_EVERY = 10000       # milliseconds


cdef class Target:
    """One address of an upstream. ``number`` is its row in the shared target table."""

    def __cinit__(
        self, Engine engine, *, name, host="", port=0, path="", tls=None, server_name="", authority="", number=0
    ):
        self.name = name
        self.host = host
        self.port = port
        self.path = path
        self.tls = tls
        self.server_name = server_name
        self.authority = (authority or name).encode("ascii")
        self.waiting = deque()
        self.in_flight = engine.segment.in_flight(number, engine.slot)

    cdef int rest(self, UpstreamConnection connection) except -1:
        """Lays a connection on top of those that rest."""
        connection.mode = IDLE
        connection.above = NULL
        connection.below = self.resting
        if self.resting is not None:
            self.resting.above = <PyObject*>connection
        self.resting = connection
        self.idle += 1
        return 0

    cdef UpstreamConnection wake(self):
        """Takes the topmost one; there must be one."""
        cdef UpstreamConnection connection = self.resting
        self.remove(connection)
        return connection

    cdef int remove(self, UpstreamConnection connection) except -1:
        """Takes one out, wherever it lies."""
        connection.mode = STARTING
        if connection.above != NULL:
            (<UpstreamConnection>connection.above).below = connection.below
        else:
            self.resting = connection.below
        if connection.below is not None:
            connection.below.above = connection.above
        connection.above = NULL
        connection.below = None
        self.idle -= 1
        return 0


cdef class Pool(Upstream):
    """The targets of one upstream with this worker's connections to them. Times are seconds; counts are of one target
    and this worker.
    """

    def __cinit__(
        self, Engine engine, str name, targets, Balancer balancer, *, max_connections=512, max_idle=64, queue=128,
        queue_timeout=1.0, idle_timeout=4.0, max_requests=0
    ):
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
            while target.idle:
                connection = target.wake()
                connection.close()

    cdef int acquire(self, Exchange x) except -1:
        cdef Target target
        cdef UpstreamConnection connection
        cdef int number = self.balancer.pick(0, 0, NULL)
        if number < 0:
            return x.attempt_failed(NO_TARGET)
        target = <Target>self.targets[number]
        if x.tries > 1 and target.name == x.target_name and len(self.targets) > 1:
            # Another target each time.
            target = <Target>self.targets[self.balancer.pick(0, 0, NULL)]
        x.attempt.target = target
        x.target_name = target.name
        x.attempt.in_flight = target.in_flight
        target.in_flight[0] += 1
        while target.idle and not x.fresh:
            connection = target.wake()
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
            if ticket.task is not None:
                ticket.task.cancel()
            if not ticket.begun:
                # A task that is cancelled before its first step runs no line of its own.
                target.open -= 1
                self.serve(target)
        return 0

    cdef int connect(self, Target target, Exchange x) except -1:
        cdef Ticket ticket = Ticket.__new__(Ticket)
        target.open += 1
        ticket.target = target
        x.attempt.connecting = ticket
        ticket.task = self.engine.spawn(self.open_connection(target, ticket, x))
        return 0

    async def open_connection(self, Target target, Ticket ticket, Exchange x):
        cdef UpstreamConnection connection
        cdef int cause = OK
        ticket.begun = True
        connection = UpstreamConnection.__new__(UpstreamConnection, self, target)
        loop = self.engine.loop
        tls = {}
        if target.tls is not None:
            tls = {"ssl": target.tls, "server_hostname": target.server_name or target.host}
        self.engine.slab.upstream_connects += 1
        try:
            if target.path:
                await loop.create_unix_connection(lambda: connection, target.path, **tls)
            else:
                await loop.create_connection(lambda: connection, target.host, target.port, **tls)
        except asyncio.CancelledError:
            # The loop has closed the transport by itself, and connection_lost does not follow.
            connection.forget()
            self.serve(target)
            raise
        except socket.gaierror as error:
            cause = NAME_UNRESOLVED
            reason = str(error)
        except ssl.SSLError as error:
            cause = TLS_FAILED
            reason = str(error)
        except (OSError, asyncio.TimeoutError) as error:
            cause = CONNECT_FAILED
            reason = str(error)
        finally:
            # The task holds this coroutine, and the ticket the task.
            ticket.task = None
        if cause != OK:
            connection.forget()
            self.report(target, f"cannot connect to {target.name}: {reason}")
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

    cdef int report(self, Target target, str what) except -1:
        """Logs what is wrong with a target, at most once in `REPORT_EVERY`."""
        if target.reported and self.engine.wheel.now - target.reported < REPORT_EVERY:
            target.unreported += 1
            return 0
        more = f" ({target.unreported} more since the last report)" if target.unreported else ""
        target.reported = self.engine.wheel.now
        target.unreported = 0
        self.engine.log("warning", f"upstream {self.name!r}: {what}{more}")
        return 0

    cdef int serve(self, Target target) except -1:
        """Something of this target came free: the next in the queue."""
        cdef Exchange x
        cdef UpstreamConnection connection
        while target.waiting:
            if target.idle:
                connection = target.wake()
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
                or (target.idle >= self.max_idle and not target.waiting):
            return connection.close()
        target.rest(connection)
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
            self.exchange.bytes_out += PyBytes_GET_SIZE(data)
            self.engine.slab.bytes_out += PyBytes_GET_SIZE(data)
            self.exchange.client.write(data)
        elif self.mode == IDLE or self.mode == STARTING:
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
        self.forget()
        if self.mode == IDLE:
            self.target.remove(self)
        if x is not None:
            if mode == TUNNEL:
                self.exchange = None
                x.finish(OK)
            else:
                self.fail(UPSTREAM_RESET)
        self.mode = CLOSED
        self.tail = None
        self.pool.serve(self.target)

    cdef int forget(self) except -1:
        """The connection is no more, or was never made."""
        self.connected = False
        self.transport = None
        self.unlink()
        if not self.forgotten:
            self.forgotten = True
            self.target.open -= 1
        return 0

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
        put_request(x, self.target.authority, buffer)
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
                return self.reject("its head is malformed or over 64 KB")
            if PyBytes_GET_SIZE(data) - size > 4096:
                head.data = PyBytes_FromStringAndSize(<const char*>p + offset, size)
                head.p = <const unsigned char*>PyBytes_AS_STRING(head.data)
            else:
                head.data = data
            if head.index(False, 1) != OK:
                return self.reject(
                    "a field or the framing of its head is malformed: two lengths, a coding but chunked, folded lines")
            bodiless = x.is_head or head.status == 204 or head.status == 304 or head.status < 200
            if not self.engine.accept_response(
                    head, head.data, head.p - <const unsigned char*>PyBytes_AS_STRING(head.data), bodiless):
                return self.reject("its head is malformed")
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
            if not x.upgrading or head.upgrade < 0 or not same_protocol(x.request, head):
                return self.reject("it switches to a protocol that was not asked for")
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
            return self.reject("its chunked body is malformed")
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
            return self.reject("its chunked body is malformed")
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
            self.release(self.held)
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

    cdef int reject(self, str why) except -1:
        """The response cannot be read in one way only."""
        self.pool.report(self.target, f"bad response from {self.target.name}: {why}")
        return self.fail(BAD_RESPONSE)

    cdef int close(self) except -1:
        if self.mode == IDLE:
            self.target.remove(self)
        self.mode = CLOSED
        return self.flush_and_close()

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
        if self.mode == IDLE:
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
