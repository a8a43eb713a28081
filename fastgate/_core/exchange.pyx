"""One request and its answer, from the first byte to the settling of accounts. It does not know the wire.

Theory of operation
-------------------
An `Exchange` stands between two endpoints. The `ClientSide` tells it: a request head is complete (`open`), here is a piece of its body
(`request_body`), the client is gone. The `UpstreamSide` tells it: connected, here is the response head, a piece, the end, or it failed.
It tells them: send this, stop reading, let go. HTTP/1.1 lives in `client` and `upstream`; several exchanges could share a connection.

The way of a request is a sequence of phases, each begun by the one before::

    open → resolve (target, path, route) → policies (`advance`) → [whole body] → forward → connected → response_arrived
         → policies (`advance`) → deliver → pieces → finish

Nothing here waits: each phase ends by calling the next one or by returning to the loop. Only a policy that returns an awaitable makes a
task, and it comes back through the same `advance`.

Invariants
* `finish` runs exactly once for each exchange and is the only place that counts, logs and lets go. `refuse` and `respond` lead there.
* An `Attempt` is one try with one target. Dropping it never ends the exchange; finishing the exchange always drops it.
* Body pieces are kept until the upstream answers, at most `KEPT_BODY` bytes, so that a try can be repeated; beyond that the body is
  lost for repetition. While nobody can take the body the client is held (`HOLD_WAIT`).
* After `finish` nobody may touch the exchange: it may already serve another request.
"""

from asyncio import CancelledError

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memchr, memcmp, memcpy

from fastgate._core.causes cimport (
    BAD_EXPECTATION,
    BAD_REQUEST,
    BODY_TOO_LARGE,
    CLIENT_GONE,
    CONNECT_TIMEOUT,
    GATEWAY_ANSWERED,
    IDEMPOTENT,
    MISDIRECTED,
    NEVER,
    NO_METHOD,
    NO_ROUTE,
    NO_TARGET,
    OK,
    POLICY_ANSWERED,
    POLICY_FAILED,
    POOL_TIMEOUT,
    RESPONSE_CUT,
    RESPONSE_TOO_LARGE,
    STOPPED,
    TOTAL_TIMEOUT,
    UPSTREAM_STALE,
    detail_of,
    outcomes,
    reason_of,
)
from fastgate._core.buffer cimport reserve
from fastgate._core.engine cimport Engine, live
from fastgate._core.head cimport (
    ACCEPT,
    DROPPED,
    EXPECT,
    FORWARDED,
    RULED,
    X_FORWARDED_FOR,
    X_FORWARDED_PORT,
    Field,
    Head,
    is_host,
    is_token,
    same,
)
from fastgate._core.histogram cimport histogram_record
from fastgate._core.route cimport CLIENT_IP, PARAMETER, REQUEST_HOST, REQUEST_ID, REQUEST_PATH, Edits, Template
from fastgate._core.router cimport Query, normalize_path
from fastgate._core.sockets cimport is_closing, is_quiet, reset_on_close
from fastgate._core.wheel cimport clock_us

from fastgate._core.problem import problem

cdef enum:
    KEPT_BODY = 65536          # bytes of a request body that are kept for another try
    PEEK = 16384               # bytes that a policy with body = "peek" gets to see
    SPARE = 256                # exchanges kept for later
    TRIES = 2                  # on connect failures and resets
    MAX_INTERIM = 8

cdef object _Request = None
cdef object _UpstreamResponse = None
cdef object _ExchangeError = None


cdef class Endpoint(Timed):
    """One end of an exchange with a transport: what both sides have in common.

    It alone pauses and resumes reading: reading goes on while no reason is set in ``held``.
    """

    cdef int attach(self, object transport) except -1:
        self.transport = transport
        self.connected = True
        self.fd = -1
        return 0

    cdef int hold(self, int reason) except -1:
        if self.held == 0 and self.connected:
            self.transport.pause_reading()
        self.held |= reason
        return 0

    cdef int release(self, int reason) except -1:
        if not self.held & reason:
            return 0
        self.held &= ~reason
        if self.held == 0 and self.connected:
            self.transport.resume_reading()
        return 0

    cdef int write(self, bytes data) except -1:
        if self.connected:
            self.transport.write(data)
        return 0

    cdef bint stalled(self, uint64_t limit) except -1:
        """Whether the peer has taken no byte for ``limit`` milliseconds; to be asked about once a second while writing is paused."""
        cdef Py_ssize_t unsent = self.transport.get_write_buffer_size()
        cdef uint64_t now = self.engine.wheel.now
        if unsent != self.unsent or self.progress_at == 0:
            self.unsent = unsent
            self.progress_at = now
            return False
        return limit > 0 and now - self.progress_at >= limit

    cdef int descriptor(self) except -2:
        if self.fd < 0:
            self.fd = self.transport.get_extra_info("socket").fileno()
        return self.fd

    cdef bint peer_gone(self) except -1:
        """Whether the peer has closed or reset: a transport that does not read reports neither."""
        return is_closing(self.descriptor())

    cdef bint quiet(self) except -1:
        """Whether the connection is open and nothing unread lies in it."""
        return is_quiet(self.descriptor())

    cdef int reset(self) except -1:
        """Ends the connection so that the peer cannot take what it got for complete."""
        if self.connected:
            reset_on_close(self.transport)
            self.transport.abort()
        return 0

    def pause_writing(self):
        self.write_paused = True
        self.progress_at = 0
        self.engine.wheel.arm(self, 1000)
        self.sink_changed(HOLD_SINK)

    def resume_writing(self):
        self.write_paused = False
        self.sink_changed(0)

    def sink_changed(self, int hold):
        """Passes back-pressure on to whoever feeds this side."""


cdef class ClientSide(Endpoint):
    cdef int send_response(self, Exchange x, bytes piece, bint last) except -1:
        """Head of ``x.response`` or ``x.answer``, and the first body bytes with it."""
        return 0

    cdef int send_body(self, Exchange x, bytes piece, bint last) except -1:
        return 0

    cdef int send_interim(self, Exchange x) except -1:
        """The 1xx response that lies in ``x.response``."""
        return 0

    cdef int send_continue(self, Exchange x) except -1:
        return 0

    cdef int cut(self, Exchange x) except -1:
        """Ends a response that has begun so that it cannot be taken for complete."""
        return 0

    cdef int open_tunnel(self, Exchange x) except -1:
        """The 101 of ``x.response``; from now on bytes."""
        return 0

    cdef int settled(self, Exchange x) except -1:
        """The exchange is over and must not be touched."""
        return 0

    def sink_changed(self, int hold):
        cdef Exchange x = self.exchange
        if x is not None and x.attempt.connection is not None:
            if hold:
                x.attempt.connection.hold(HOLD_SINK)
            else:
                x.attempt.connection.release(HOLD_SINK)


cdef class UpstreamSide(Endpoint):
    cdef int start(self, Exchange x) except -1:
        """Sends the request head and what is kept of the body."""
        return 0

    cdef int send_body(self, bytes piece, bint last) except -1:
        return 0

    cdef int send_raw(self, bytes data) except -1:
        return 0

    cdef int stop_sending(self) except -1:
        """The rest of the request will not come: the connection cannot be used again."""
        return 0

    cdef int abandon(self) except -1:
        """The exchange no longer wants the answer."""
        return 0

    def sink_changed(self, int hold):
        cdef Exchange x = self.exchange
        if x is not None and x.client is not None:
            if hold:
                x.client.hold(HOLD_SINK)
            else:
                x.client.release(HOLD_SINK)


cdef class Upstream:
    cdef int acquire(self, Exchange x) except -1:
        """Finds a connection for ``x.attempt``: `Exchange.connected` or `Exchange.attempt_failed` follows, now or later."""
        return 0

    cdef int leave(self, Exchange x) except -1:
        """The exchange no longer waits for a connection."""
        return 0


cdef class Observer:
    cdef int exchange_finished(self, Exchange x) except -1:
        return 0


cdef class Attempt:
    cdef void clear(self) noexcept:
        self.target = None
        self.connection = None
        self.connecting = None
        self.waiting = self.reused = False
        self.in_flight = NULL


cdef class Answer:
    def __cinit__(self):
        self.code = 200
        self.fields = []
        self.content = b""


cdef int lookup(void* context, const char* name, Py_ssize_t length, int index, const char** value, Py_ssize_t* value_length) noexcept:
    """The router's way to the fields of a head."""
    cdef Head head = <Head>context
    cdef int at = head.find(name, length, 0)
    while at >= 0 and index > 0:
        at = head.find(name, length, at + 1)
        index -= 1
    if at < 0:
        return 0
    value[0] = <const char*>head.p + head.fields[at].value
    value_length[0] = head.fields[at].value_length
    return 1


cdef Exchange take_exchange(Engine engine):
    """An exchange whose request has begun to arrive."""
    cdef Exchange x
    if engine.spare:
        x = engine.spare.pop()
    else:
        x = Exchange.__new__(Exchange, engine)
    x.runtime = engine.runtime
    x.over = False
    x.started = clock_us()
    live.exchanges += 1
    return x


cdef class Exchange(Timed):
    def __cinit__(self, Engine engine):
        self.engine = engine
        self.runtime = engine.runtime
        self.request = Head.__new__(Head, engine.runtime.max_headers)
        self.response = Head.__new__(Head)
        self.attempt = Attempt.__new__(Attempt)
        self.over = True
        self.reuse()

    cdef void reuse(self) noexcept:
        """Back to how it was before the first byte."""
        self.request.release()
        self.response.release()
        self.attempt.clear()
        self.client = None
        self.route = None
        self.entry = None
        self.phase = PHASE_HEAD
        self.cause = OK
        self.path_owner = self.forward_path = self.client_ip = None
        self.host_length = self.path_length = self.query_length = 0
        self.has_query = False
        self.id_length = 0
        self.is_head = self.is_get = self.idempotent = self.upgrading = self.expects_continue = self.request_complete = False
        self.sending_stopped = self.buffering = self.body_lost = False
        self.body = None
        self.body_kept = self.body_wanted = 0
        self.body_bytes = self.bytes_out = 0
        self.request_extra = self.response_extra = self.response_body = None
        self.body_waiter = None
        self.status = 0
        self.answer = None
        self.response_started = self.response_complete = self.status_changed = False
        self.response_kept = 0
        self.interims = self.tries = 0
        self.replayed = self.fresh = False
        self.target_name = None
        self.hooks = None
        self.step = 0
        self.task = self.request_view = self.response_view = self.error = None
        self.state = None
        self.started = self.head_at = self.forwarded_at = self.connected_at = self.response_at = self.ended = self.total_due = 0
        self.due = 0

    # -- driven by the client's connection

    cdef int open(self, bytes piece, bint complete) except -1:
        """The head is complete and accepted; ``piece`` is what came of the body with it."""
        cdef int cause
        self.head_at = clock_us()
        self.engine.slab.requests += 1
        self.request_complete = complete
        if piece is not None:
            self.keep(piece)
        cause = self.resolve()
        if cause != OK:
            return self.refuse(cause) if cause > 0 else 0
        return self.begin()

    cdef int resolve(self) except -1:
        """Target, host, client and route. OK, the cause to refuse with, or -2 when the request has been answered."""
        cdef Head head = self.request
        cdef const unsigned char* method = head.p
        cdef Py_ssize_t length = head.method.length
        cdef Query query
        cdef Py_ssize_t normal
        cdef int changed
        cdef int cause = self.split_target()
        self.is_get = length == 3 and memcmp(method, b"GET", 3) == 0
        self.is_head = length == 4 and memcmp(method, b"HEAD", 4) == 0
        self.idempotent = self.is_get or self.is_head or (length == 3 and memcmp(method, b"PUT", 3) == 0) \
            or (length == 6 and memcmp(method, b"DELETE", 6) == 0) or (length == 7 and memcmp(method, b"OPTIONS", 7) == 0) \
            or (length == 5 and memcmp(method, b"TRACE", 5) == 0)
        self.expects_continue = head.expect >= 0 and head.minor == 1 and not self.request_complete
        self.identify_client()
        if cause != OK:
            return cause
        reserve(&self.engine.buffer, self.path_length)
        changed = normalize_path(self.path, self.path_length, <unsigned char*>self.engine.buffer.data, self.runtime.merge_slashes, &normal)
        if changed < 0:
            return BAD_REQUEST
        if changed:
            self.path_owner = PyBytes_FromStringAndSize(self.engine.buffer.data, normal)
            self.path = <const unsigned char*>PyBytes_AS_STRING(self.path_owner)
            self.path_length = normal
        if head.expect >= 0 and head.minor == 1 and not same(head.p + head.fields[head.expect].value,
                                                             head.fields[head.expect].value_length, b"100-continue", 12):
            return BAD_EXPECTATION
        if self.runtime.check_server_name and self.misdirected():
            return MISDIRECTED
        if self.runtime.health_path is not None and self.path_length == PyBytes_GET_SIZE(self.runtime.health_path) \
                and memcmp(self.path, PyBytes_AS_STRING(self.runtime.health_path), self.path_length) == 0 and (self.is_get or self.is_head):
            return self.answer_health()
        self.put_query(&query)
        self.entry = self.runtime.router.find(&query, &self.found)
        if self.entry is None:
            return NO_METHOD if self.found.method_only else NO_ROUTE
        self.route = <Route>self.entry.value
        if length == 5 and memcmp(method, b"TRACE", 5) == 0 and not self.route.names_trace:
            return NO_METHOD
        return OK

    cdef void put_query(self, Query* query) noexcept:
        query.method = <const char*>self.request.p
        query.method_length = self.request.method.length
        query.host = <const char*>self.host
        query.host_length = self.host_length
        query.path = <const char*>self.path
        query.path_length = self.path_length
        query.query = <const char*>self.query
        query.query_length = self.query_length
        query.header = lookup
        query.header_context = <void*>self.request

    cdef int split_target(self) except -1:
        """Host, path and query from the request target (RFC 9112 section 3.2) and the Host field."""
        cdef Head head = self.request
        cdef const unsigned char* p = head.p + head.target.start
        cdef const unsigned char* end = p + head.target.length
        cdef const unsigned char* start
        if head.host >= 0:
            self.host = head.p + head.fields[head.host].value
            self.host_length = head.fields[head.host].value_length
            if not is_host(self.host, self.host_length):
                return BAD_REQUEST
        elif head.minor == 1:
            return BAD_REQUEST
        if p[0] == b"/":
            pass
        elif head.method.length == 7 and memcmp(head.p, b"CONNECT", 7) == 0:
            return NO_METHOD
        elif head.target.length == 1 and p[0] == b"*":
            if head.method.length == 7 and memcmp(head.p, b"OPTIONS", 7) == 0:
                return self.answer_options()
            return BAD_REQUEST
        else:
            if end - p > 7 and same(p, 7, b"http://", 7):
                p += 7
            elif end - p > 8 and same(p, 8, b"https://", 8):
                p += 8
            else:
                return BAD_REQUEST
            start = p
            while p < end and p[0] != b"/" and p[0] != b"?":
                p += 1
            # Userinfo fails here too: "@" is no byte of a host.
            if not is_host(start, p - start):
                return BAD_REQUEST
            self.host = start
            self.host_length = p - start
        start = p
        p = <const unsigned char*>memchr(start, b"?", end - start) if end > start else NULL
        if p == NULL:
            p = end
            self.has_query = False
        else:
            self.has_query = True
            self.query = p + 1
            self.query_length = end - p - 1
        self.path = start
        self.path_length = p - start
        if self.path_length == 0:
            self.path = <const unsigned char*>b"/"
            self.path_length = 1
        return OK

    cdef int identify_client(self) except -1:
        """Client address and request id: from the peer itself, or from what a trusted peer says."""
        cdef Head head = self.request
        cdef int i
        cdef list hops
        cdef str hop
        cdef bytes value
        self.client_ip = self.client.peer_address
        if self.client.trusted:
            if head.has_forwarded:
                hops = []
                for i in range(head.count):
                    if head.fields[i].id == X_FORWARDED_FOR and not head.fields[i].flags & DROPPED:
                        hops.extend(head.value_of(i).decode("latin-1").split(","))
                for hop in reversed(hops):
                    hop = address_of(hop)
                    if hop is None:
                        break
                    self.client_ip = hop.encode("ascii")
                    if not self.runtime.trusted(hop):
                        break
            if self.runtime.request_id is not None:
                i = head.find(PyBytes_AS_STRING(self.runtime.request_id_lower), PyBytes_GET_SIZE(self.runtime.request_id_lower), 0)
                if i >= 0 and 0 < head.fields[i].value_length <= sizeof(self.id) and visible(head.p + head.fields[i].value,
                                                                                            head.fields[i].value_length):
                    self.id_length = head.fields[i].value_length
                    memcpy(self.id, head.p + head.fields[i].value, self.id_length)
        if self.id_length == 0:
            self.engine.make_id(self.id)
            self.id_length = 32
        return 0

    cdef bint misdirected(self) except -1:
        """Whether the Host is not the name that the TLS connection was opened for (RFC 9110 section 7.4)."""
        cdef bytes name = self.client.server_name
        cdef const unsigned char* colon
        cdef Py_ssize_t length = self.host_length
        if name is None:
            return False
        if length and self.host[0] != b"[":
            colon = <const unsigned char*>memchr(self.host, b":", length)
            if colon != NULL:
                length = colon - self.host
        return not same(self.host, length, PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name))

    cdef int answer_options(self) except -1:
        """OPTIONS * (RFC 9110 section 9.3.7)."""
        cdef Answer answer = Answer.__new__(Answer)
        answer.code = 204
        answer.fields = [(b"Allow", self.runtime.methods)]
        self.respond(answer, GATEWAY_ANSWERED)
        return -2

    cdef int answer_health(self) except -1:
        cdef Answer answer = Answer.__new__(Answer)
        answer.code = 200 if self.engine.ready else 503
        answer.fields = [(b"Content-Type", b"text/plain"), (b"Cache-Control", b"no-store")]
        answer.content = b"ok\n" if self.engine.ready else b"draining\n"
        self.respond(answer, GATEWAY_ANSWERED)
        return -2

    cdef int begin(self) except -1:
        """The route is known: limits, then its policies."""
        cdef Head head = self.request
        cdef Route route = self.route
        cdef int i
        cdef bytes kind
        if route.total_timeout:
            self.total_due = self.engine.wheel.now + route.total_timeout
            self.engine.wheel.arm(self, route.total_timeout)
        if route.max_body and (head.content_length > route.max_body or self.body_bytes > route.max_body):
            return self.refuse(BODY_TOO_LARGE)
        self.buffering = route.buffer_request and not self.request_complete
        if head.upgrade >= 0 and head.upgrade_named and self.is_get and head.minor == 1 and head.content_length < 0 and not head.chunked:
            for kind in route.upgrades:
                if same(head.p + head.fields[head.upgrade].value, head.fields[head.upgrade].value_length, PyBytes_AS_STRING(kind),
                        PyBytes_GET_SIZE(kind)):
                    self.upgrading = True
        if route.on_request is None:
            return self.policies_passed()
        return self.run_hooks(route.on_request, PHASE_REQUEST)

    cdef int policies_passed(self) except -1:
        if self.buffering and not self.request_complete:
            self.phase = PHASE_BODY
            if self.expects_continue:
                self.client.send_continue(self)
            return 0
        return self.dispatch()

    cdef int dispatch(self) except -1:
        """Everything is ready for the upstream: the route's edits, then the first try."""
        self.forwarded_at = clock_us() if self.hooks is not None or self.phase == PHASE_BODY else self.head_at
        if self.route.request_edits is not None:
            self.request_extra = self.edit(self.route.request_edits, self.request, self.request_extra)
        if self.route.rewrite is not None:
            self.forward_path = self.route.rewrite(self.path[:self.path_length])
            if self.forward_path is None:
                return self.refuse(BAD_REQUEST)
        return self.forward()

    cdef int request_body(self, bytes piece, bint complete) except -1:
        """More of the body, perhaps its end."""
        self.request_complete = complete
        if piece is not None:
            if self.route is not None and self.route.max_body and self.body_bytes + PyBytes_GET_SIZE(piece) > self.route.max_body:
                self.body_bytes += PyBytes_GET_SIZE(piece)
                return self.refuse(BODY_TOO_LARGE)
            if self.sending_stopped:
                self.body_bytes += PyBytes_GET_SIZE(piece)
                return 0
            self.keep(piece)
        if self.sending_stopped:
            return 0
        if self.body_waiter is not None:
            self.wake_body()
        if self.phase == PHASE_BODY:
            return self.dispatch() if complete else 0
        if self.attempt.connection is not None:
            return self.attempt.connection.send_body(piece, complete)
        if self.body_kept > KEPT_BODY and not self.buffering and not (self.body_waiter is not None and self.body_wanted < 0):
            self.client.hold(HOLD_WAIT)
        return 0

    cdef int keep(self, bytes piece) except -1:
        """Counts a piece and keeps it for the next try, or until somebody can take it."""
        cdef Py_ssize_t length = PyBytes_GET_SIZE(piece)
        self.body_bytes += length
        if self.body_lost:
            return 0
        if self.attempt.connection is not None and self.body_kept + length > KEPT_BODY and not self.buffering:
            # It has been sent or is about to be; too much to keep for a second time.
            self.body_lost = True
            self.body = None
            self.body_kept = 0
            return 0
        if self.body is None:
            self.body = [piece]
        else:
            self.body.append(piece)
        self.body_kept += length
        return 0

    cdef int client_gone(self, int cause) except -1:
        """The client left, or stopped taking bytes: the upstream need not go on."""
        if self.over:
            return 0
        if cause == CLIENT_GONE:
            self.engine.slab.client_gone += 1
        if not self.response_started:
            self.status = outcomes[cause].status
        return self.finish(cause)

    cdef int client_bytes(self, bytes data) except -1:
        """Tunnel bytes from the client."""
        if self.attempt.connection is not None:
            self.attempt.connection.send_raw(data)
        return 0

    # -- tries

    cdef int forward(self) except -1:
        """One try: a connection to a target of the route's upstream."""
        cdef uint64_t limit
        self.phase = PHASE_UPSTREAM
        self.tries += 1
        if self.route.connect_timeout:
            limit = self.engine.wheel.now + self.route.connect_timeout
            if self.total_due == 0 or limit < self.total_due:
                self.engine.wheel.arm(self, self.route.connect_timeout)
        return (<Upstream>self.route.upstream).acquire(self)

    cdef int connected(self, UpstreamSide connection) except -1:
        """A connection is there: the request goes out."""
        self.attempt.connection = connection
        self.attempt.connecting = None
        self.attempt.waiting = False
        self.connected_at = clock_us() if not self.attempt.reused else self.forwarded_at
        if self.total_due:
            if self.engine.wheel.now >= self.total_due:
                self.due = self.total_due
            else:
                self.engine.wheel.arm(self, self.total_due - self.engine.wheel.now)
        else:
            self.due = 0
        if self.expects_continue:
            self.client.send_continue(self)
        connection.start(self)
        if not self.request_complete:
            if self.client.held & HOLD_WAIT:
                self.client.release(HOLD_WAIT)
            if self.body_kept > KEPT_BODY and not self.buffering:
                self.body_lost = True
                self.body = None
                self.body_kept = 0
        return 0

    cdef int attempt_failed(self, int cause) except -1:
        """The try came to nothing before the client saw anything of an answer, or the answer broke off."""
        cdef bint replayable = not self.body_lost and (self.request_complete or not self.expects_continue)
        if self.over:
            return 0
        self.engine.slab.upstream_failures += 1
        if self.response_started:
            return self.refuse(RESPONSE_CUT if outcomes[cause].retry else cause)
        self.drop_attempt()
        if self.phase == PHASE_UPSTREAM and replayable and outcomes[cause].retry != NEVER:
            if cause == UPSTREAM_STALE:
                if self.idempotent and not self.replayed:
                    # Not a try of its own: the connection had died before it was used.
                    self.replayed = True
                    self.fresh = True
                    self.tries -= 1
                    self.engine.slab.replays += 1
                    self.response.release()
                    return self.forward()
            elif self.tries < TRIES and (outcomes[cause].retry != IDEMPOTENT or self.idempotent):
                self.response.release()
                return self.forward()
        return self.refuse(cause)

    cdef int drop_attempt(self) except -1:
        """Lets go of target and connection, whatever state the try is in."""
        cdef Attempt attempt = self.attempt
        cdef UpstreamSide connection = attempt.connection
        if attempt.in_flight != NULL:
            attempt.in_flight[0] -= 1
        if attempt.waiting or attempt.connecting is not None:
            (<Upstream>self.route.upstream).leave(self)
        attempt.clear()
        if connection is not None:
            connection.abandon()
        return 0

    cdef int expired(self) except -1:
        """Connecting, waiting or the whole exchange took too long."""
        if self.over:
            return 0
        if self.total_due and self.engine.wheel.now + 1 >= self.total_due:
            return self.refuse(TOTAL_TIMEOUT)
        if self.attempt.waiting:
            return self.attempt_failed(POOL_TIMEOUT)
        if self.attempt.connecting is not None:
            return self.attempt_failed(CONNECT_TIMEOUT)
        return 0

    # -- driven by the upstream's connection

    cdef int response_interim(self) except -1:
        """A 1xx lies in ``response``."""
        self.interims += 1
        if self.interims <= MAX_INTERIM and self.request.minor == 1 and not self.response_started:
            self.client.send_interim(self)
        return 0

    cdef int response_arrived(self, bytes piece, bint last) except -1:
        """The final response head lies in ``response``; ``piece`` is what came of the body with it."""
        cdef Route route = self.route
        self.response_at = clock_us()
        self.status = self.response.status
        self.response_complete = last
        if not self.request_complete and self.status != 101:
            self.sending_stopped = True
            if self.attempt.connection is not None:
                self.attempt.connection.stop_sending()
            self.client.release(HOLD_SINK | HOLD_WAIT)
        self.body = None
        self.body_lost = True
        if self.status == 101:
            self.phase = PHASE_TUNNEL
            self.response_started = True
            self.due = 0
            return self.client.open_tunnel(self)
        if route.buffer_response:
            self.phase = PHASE_RESPONSE
            self.keep_response(piece, last)
            if not last or self.over:
                return 0
            return self.run_hooks(route.on_response, PHASE_RESPONSE)
        if route.on_response is not None:
            self.keep_response(piece, last)
            return self.run_hooks(route.on_response, PHASE_RESPONSE)
        if route.response_edits is not None:
            self.response_extra = self.edit(route.response_edits, self.response, None)
        self.phase = PHASE_SENDING
        self.response_started = True
        self.client.send_response(self, piece, last)
        if last and not self.over:
            self.finish(OK)
        return 0

    cdef int response_piece(self, bytes piece, bint last) except -1:
        """More of the response body, perhaps its end."""
        if self.phase == PHASE_SENDING:
            self.client.send_body(self, piece, last)
            if last and not self.over:
                self.response_complete = True
                self.finish(OK)
            return 0
        self.keep_response(piece, last)
        if last and not self.over and self.route.buffer_response and self.hooks is not self.route.on_response:
            return self.run_hooks(self.route.on_response, PHASE_RESPONSE)
        return 0

    cdef int keep_response(self, bytes piece, bint last) except -1:
        """Keeps a piece while policies look at the head, or until they can look at the whole body."""
        if last:
            self.response_complete = True
        if piece is None:
            return 0
        if self.response_body is None:
            self.response_body = []
        self.response_body.append(piece)
        self.response_kept += PyBytes_GET_SIZE(piece)
        if self.route.buffer_response:
            if self.route.max_body and self.response_kept > self.route.max_body:
                self.refuse(RESPONSE_TOO_LARGE)
        elif self.response_kept > KEPT_BODY and self.attempt.connection is not None:
            self.attempt.connection.hold(HOLD_WAIT)
        return 0

    # -- policies

    cdef int run_hooks(self, tuple hooks, int phase) except -1:
        global _Request, _UpstreamResponse, _ExchangeError
        if _Request is None:
            from fastgate._core.messages import ExchangeError, Request, UpstreamResponse
            _Request = Request
            _UpstreamResponse = UpstreamResponse
            _ExchangeError = ExchangeError
        if self.request_view is None:
            self.request_view = _Request(self)
        self.hooks = hooks
        self.step = 0
        self.phase = phase
        if phase == PHASE_RESPONSE and self.answer is None:
            self.response_view = _UpstreamResponse(self)
        elif phase == PHASE_ERROR:
            self.error = _ExchangeError(reason_of(self.cause), outcomes[self.cause].status, detail_of(self.cause), self.error)
        return self.advance()

    cdef int advance(self) except -1:
        """The one runner of policies: on until a hook answers, waits or there are no more."""
        cdef object hook, result
        while self.step < len(self.hooks):
            hook = self.hooks[self.step]
            self.step += 1
            try:
                if self.phase == PHASE_REQUEST:
                    result = hook(self.request_view)
                elif self.phase == PHASE_RESPONSE:
                    result = hook(self.request_view, self.response_view)
                else:
                    result = hook(self.request_view, self.error)
            except Exception as error:
                return self.policy_failed(error)
            if self.over:
                return 0
            if result is None:
                continue
            if not isinstance(result, Answer) and hasattr(result, "__await__"):
                self.task = self.engine.spawn(self.wait_for(result))
                return 0
            if self.took(result):
                return 0
        return self.hooks_done()

    async def wait_for(self, awaitable):
        """The rest of `advance` for a hook that was not done at once."""
        cdef object result
        try:
            result = await awaitable
        except CancelledError:
            if self.over:
                raise
            self.task = None
            self.policy_failed(RuntimeError("the policy was cancelled"))
            return
        except Exception as error:
            self.task = None
            if not self.over:
                self.policy_failed(error)
            return
        self.task = None
        if self.over:
            return
        try:
            if result is None or not self.took(result):
                self.advance()
        except Exception as error:
            self.policy_failed(error)

    cdef int took(self, object result) except -1:
        """Deals with what a hook returned. 1: the hooks are done with; 0: on to the next."""
        if not isinstance(result, Answer):
            self.policy_failed(TypeError(f"a policy must return None, a Response or an awaitable, not {type(result).__name__}"))
            return 1
        if self.phase == PHASE_REQUEST:
            self.respond(<Answer>result, POLICY_ANSWERED)
            return 1
        if self.phase == PHASE_RESPONSE:
            if result is not self.response_view:
                self.answer = <Answer>result
                self.response_view = result
            return 0
        self.hooks = ()
        self.respond(<Answer>result, self.cause)
        return 1

    cdef int hooks_done(self) except -1:
        if self.phase == PHASE_REQUEST:
            return self.policies_passed()
        if self.phase == PHASE_RESPONSE:
            return self.deliver()
        return self.answer_problem(self.cause)

    cdef int policy_failed(self, object error) except -1:
        """A policy raised: logged here, once, and the client gets 500."""
        cdef str hook = getattr(self.hooks[self.step - 1], "__qualname__", "?") if self.step else "?"
        self.engine.slab.policy_errors += 1
        self.engine.log("error", f"policy {hook} on route {self.route.name!r} raised {type(error).__name__}: {error}", exception=error)
        self.error = error
        if self.phase == PHASE_ERROR:
            self.hooks = ()
            return self.answer_problem(POLICY_FAILED)
        return self.refuse(POLICY_FAILED)

    cdef int deliver(self) except -1:
        """The response side of the policies is through: what they left goes to the client."""
        cdef bytes piece
        cdef UpstreamSide connection = self.attempt.connection
        if self.answer is not None:
            return self.respond(self.answer, self.cause or POLICY_ANSWERED)
        if self.route.response_edits is not None:
            self.response_extra = self.edit(self.route.response_edits, self.response, self.response_extra)
        piece = b"".join(self.response_body) if self.response_body is not None else None
        self.response_body = None
        self.phase = PHASE_SENDING
        self.response_started = True
        self.client.send_response(self, piece, self.response_complete)
        if self.over:
            return 0
        if self.response_complete:
            return self.finish(OK)
        if connection is not None:
            connection.release(HOLD_WAIT)
        return 0

    # -- answers of our own

    cdef int refuse(self, int cause) except -1:
        """Ends the exchange for a cause from the table: an answer where one can still be given, a cut where not."""
        if self.over:
            return 0
        if self.response_started:
            self.client.cut(self)
            return self.finish(cause)
        self.cause = cause
        if self.task is not None:
            self.task.cancel()
            self.task = None
        self.drop_attempt()
        self.answer = None
        self.response_extra = None
        if self.route is not None and self.route.on_error is not None and self.phase != PHASE_ERROR:
            return self.run_hooks(self.route.on_error, PHASE_ERROR)
        return self.answer_problem(cause)

    cdef int answer_problem(self, int cause) except -1:
        """RFC 9457."""
        cdef Answer answer = Answer.__new__(Answer)
        cdef Head head = self.request
        cdef bint html = self.runtime.html_errors
        cdef int i
        self.cause = cause
        answer.code = outcomes[cause].status
        for i in range(head.count):
            if head.fields[i].id == ACCEPT:
                html = b"text/html" in head.value_of(i)
        kind, answer.content = problem(
            answer.code, detail_of(cause), self.path[:self.path_length].decode("ascii", "replace") if self.path_length else "",
            self.id[:self.id_length].decode("ascii") if self.id_length else "", html)
        answer.fields = [(b"Content-Type", kind), (b"Cache-Control", b"no-store")]
        if cause == NO_METHOD and self.path_length:
            answer.fields.append((b"Allow", self.allowed()))
        if outcomes[cause].retry_after:
            answer.fields.append((b"Retry-After", b"%d" % outcomes[cause].retry_after))
        return self.respond(answer, cause)

    cdef bytes allowed(self):
        """The methods that some route would take here."""
        cdef Query query
        self.put_query(&query)
        return ", ".join(sorted(self.runtime.router.allow(&query) - {"TRACE"})).encode()

    cdef int respond(self, Answer answer, int cause) except -1:
        """An answer that is complete."""
        cdef Edits edits
        self.drop_attempt()
        if self.route is not None and cause == POLICY_ANSWERED:
            if self.phase == PHASE_REQUEST and self.route.on_response is not None:
                self.answer = answer
                self.response_view = answer
                self.cause = cause
                return self.run_hooks(self.route.on_response, PHASE_RESPONSE)
            edits = self.route.response_edits
            if edits is not None:
                answer.fields = [field for field in answer.fields if not edits.removes(field[0], len(<bytes>field[0]))]
                answer.fields.extend(self.edit(edits, None, None))
        self.answer = answer
        self.status = answer.code
        self.phase = PHASE_SENDING
        self.response_started = True
        self.cause = cause
        self.client.send_response(self, answer.content, True)
        return self.finish(cause)

    # -- bodies for policies

    cdef int wake_body(self) except -1:
        """Gives the policy that waits for the body what it asked for, once that is there."""
        if not self.request_complete and (self.body_wanted < 0 or self.body_kept < self.body_wanted):
            return 0
        waiter = self.body_waiter
        self.body_waiter = None
        if not waiter.done():
            waiter.set_result(None)
        return 0

    async def read_body(self, bint whole):
        """The request body, or its first `PEEK` bytes. For `Request.body`."""
        cdef bytes body
        if not self.request_complete and (whole or self.body_kept < PEEK):
            if self.body_waiter is None:
                self.body_waiter = self.engine.loop.create_future()
                self.body_wanted = -1 if whole else PEEK
                if self.expects_continue:
                    self.client.send_continue(self)
            await self.body_waiter
        body = b"".join(self.body) if self.body is not None else b""
        self.body = [body] if body else None
        return body if whole else body[:PEEK]

    # -- edits

    cdef list edit(self, object edits, Head head, list extra):
        """Applies a route's edits: flags what goes, returns what is added, beside what was."""
        cdef Edits change = edits
        cdef Field* field
        cdef int i
        cdef object value
        if head is not None and change.removed:
            for i in range(head.count):
                field = &head.fields[i]
                if not field.flags & RULED and change.removes(head.p + field.name, field.name_length):
                    field.flags |= DROPPED
            if extra is not None:
                extra = [pair for pair in extra if not change.removes(pair[0], len(<bytes>pair[0]))]
        if extra is None:
            extra = []
        for pair in change.added:
            value = pair[1]
            if isinstance(value, Template):
                value = b"".join([part if isinstance(part, bytes) else self.variable(part[0], part[1]) for part in (<Template>value).parts])
            extra.append((pair[0], value))
        return extra

    cdef bytes variable(self, int variable, object argument):
        """The value of a variable in a field; bytes that cannot stand in one are left out."""
        cdef bytes value = b""
        cdef int i
        if variable == CLIENT_IP:
            value = self.client_ip or b""
        elif variable == REQUEST_ID:
            value = self.id[:self.id_length]
        elif variable == REQUEST_HOST:
            value = self.host[:self.host_length]
        elif variable == REQUEST_PATH:
            value = self.path[:self.path_length]
        elif variable == PARAMETER and self.entry is not None and argument in self.entry.params:
            i = self.entry.params.index(argument)
            value = self.path[self.found.capture[i].start:self.found.capture[i].start + self.found.capture[i].length]
        return value

    # -- the end

    cdef int finish(self, int cause) except -1:
        """Settles the exchange: exactly once, whatever happened."""
        cdef ClientSide client = self.client
        cdef Engine engine = self.engine
        cdef uint64_t micros
        if self.over:
            return 0
        self.over = True
        self.cause = cause
        self.ended = clock_us()
        self.due = 0
        live.exchanges -= 1
        if self.task is not None:
            self.task.cancel()
            self.task = None
        if self.body_waiter is not None:
            self.body_waiter.cancel()
            self.body_waiter = None
        self.drop_attempt()
        engine.slab.responses[self.status // 100 if 100 <= self.status < 600 else 0] += 1
        micros = self.ended - self.started
        histogram_record(engine.slab.latency, micros)
        if self.response_at:
            histogram_record(engine.slab.upstream_latency, self.response_at - self.connected_at)
        try:
            if engine.finished is not None:
                (<Observer>engine.finished).exchange_finished(self)
        finally:
            if self.request_view is not None:
                # Views may outlive the exchange: they are told, and this object is not used again.
                self.request_view.end()
                if self.response_view is not None:
                    self.response_view.end()
                self.request_view = self.response_view = self.error = None
                self.attempt.clear()
                self.body = self.response_body = None
                self.client = None
            else:
                self.reuse()
                if len(engine.spare) < SPARE:
                    engine.spare.append(self)
            client.settled(self)
        return 0


cdef bint visible(const unsigned char* p, Py_ssize_t length) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(length):
        if p[i] < 0x21 or p[i] > 0x7E:
            return False
    return True


cdef str address_of(str hop):
    """The address in an element of X-Forwarded-For, without port and brackets; None where there is none."""
    import ipaddress
    hop = hop.strip()
    if hop.startswith("["):
        hop = hop[1:].partition("]")[0]
    elif hop.count(":") == 1:
        hop = hop.partition(":")[0]
    try:
        return str(ipaddress.ip_address(hop))
    except ValueError:
        return None
