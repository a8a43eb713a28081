"""One request and its answer, from the first byte to the settling of accounts. It does not know the wire.

Theory of operation
-------------------
An `Exchange` stands between a client and who answers. The `ClientSide` tells it: a request head is complete (`open`),
here is a piece of its body (`body_arrived`), the client is gone. The `Delivery` of its route tells it: here is the
head of the answer, a piece, the end, or it failed. It tells them: send this, stop reading, leave. It knows neither the
wire nor where answers come from.

The way of a request is a sequence of phases, each begun by the one before::

    open → resolve (target, path, route) → policies (`advance`) → [whole body] → delivery
         → answered → policies (`advance`) → deliver → pieces → finish

Nothing here waits: each phase ends by calling the next one or by returning to the loop. Only a policy that returns an
awaitable makes a task, and it comes back through the same `advance`.

Invariants
* `finish` runs exactly once for each exchange and is the only place that counts, logs and lets go. `refuse` and
  `respond` lead there.
* Who answers is a `Delivery`: it is told to `begin` and to `leave`, and tells of its answer by `answered`, `piece` and
  `failed`. Leaving it never ends the exchange; finishing the exchange always leaves it. What changes bodies on their
  way is in `filters`.
* Body pieces are kept until there is an answer, at most `KEPT_BODY` bytes, so that a try can be repeated; beyond
  that the body is lost for repetition. While nobody can take the body the client is held (`HOLD_WAIT`).
* After `finish` nothing may touch the exchange: it may already serve another request. ``generation`` tells: it moves
  on when a use of the exchange ends, and with everything that is waited for (a policy's task, a delivery's timer). A
  timer or a task takes the number along and does nothing when it has changed; code that calls something that may end
  the exchange compares it afterwards.
"""

from asyncio import CancelledError, iscoroutine
from functools import partial

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy

from fastgate._core.exchange.causes cimport (
    ABOVE_ROOT,
    AMBIGUOUS_PATH,
    BAD_ESCAPE,
    BAD_EXPECTATION,
    BAD_HOST,
    BAD_TARGET,
    BAD_TARGET_CHARACTER,
    BAD_VALUE,
    BODY_TIMEOUT,
    BODY_TOO_LARGE,
    BODY_TOO_SLOW,
    CERTIFICATE_WITHDRAWN,
    CLIENT_GONE,
    CLIENT_STALLED,
    CLIENT_TOO_SLOW,
    ENCODED_BACKSLASH,
    ENCODED_NUL,
    GATEWAY_ANSWERED,
    HIDDEN_DOTS,
    MISDIRECTED,
    NO_HOST,
    NO_METHOD,
    NO_ROUTE,
    OK,
    POLICY_ANSWERED,
    POLICY_FAILED,
    RESPONSE_TOO_LARGE,
    ROUTE_ANSWERED,
    STOPPED,
    TOTAL_TIMEOUT,
    detail_of,
    outcomes,
    reason_of,
)
from fastgate._core.exchange.head cimport CONTENT_TYPE, DROPPED, Field, Head, is_host, is_token, same
from fastgate._core.exchange.hops cimport client_of, read_hops
from fastgate._core.exchange.route cimport Route, Runtime
from fastgate._core.exchange.sockets cimport (
    is_closing,
    is_plain,
    is_quiet,
    reset_on_close,
    send_now,
    send_one,
    unacknowledged,
)
from fastgate._core.exchange.timers cimport Timed, clock_us
from fastgate._core.exchange.worker cimport Engine, Part, live, new_part
from fastgate._core.memory.buffer cimport filled, room
from fastgate._core.memory.histogram cimport histogram_record
from fastgate._core.memory.plugin_times cimport PluginTimes
from fastgate._core.routing.ambiguity cimport is_stricter_otherwise
from fastgate._core.routing.hosts cimport HOST_ROOM, write_host
from fastgate._core.routing.networks cimport normal_address
from fastgate._core.routing.router cimport (
    ADDS_READINGS,
    CHANGED,
    HAS_BACKSLASH,
    PATH_ABOVE_ROOT,
    PATH_ESCAPE,
    PATH_HIDES_DOTS,
    PATH_NUL,
    Entry,
    Query,
    normalize_path,
)

from fastgate._core.exchange.refusal import Refusal

cdef enum:
    KEPT_BODY = 65536          # bytes of a request body that are kept for another try
    SPARE = 256                # exchanges, and debts of each kind, kept for later
    MAX_INTERIM = 8

include "exchange_outbox.pxi"
include "exchange_sides.pxi"
include "exchange_answers.pxi"
include "exchange_copies.pxi"
include "exchange_resolve.pxi"
include "exchange_chain.pxi"
include "exchange_filters.pxi"
include "exchange_trailers.pxi"


cdef class Exchange(Timed):
    def __cinit__(self, Engine engine):
        self.engine = engine
        self.runtime = engine.runtime
        self.request = Head.__new__(Head, engine.runtime.max_headers)
        self.response = Head.__new__(Head)
        self.over = True
        self.reuse()

    cdef void reuse(self) noexcept:
        """Back to how it was before the first byte."""
        cdef Facts facts = self.facts
        while facts is not None:
            facts.reset()
            facts = facts.others
        self.request.release()
        self.response.release()
        self.client = None
        self.route = None
        self.delivery = None
        self.source = None
        self.entry = None
        self.phase = PHASE_HEAD
        self.cause = self.given_by = OK
        self.path_owner = self.query_owner = self.forward_path = self.client_ip = self.hops = None
        self.host_length = self.path_length = self.query_length = 0
        self.has_query = False
        self.id_length = 0
        self.preflight = self.is_head = self.is_get = self.idempotent = self.upgrading = self.expects_continue = False
        self.request_complete = self.sending_stopped = self.buffering = self.filtering = self.body_lost = False
        self.body_flows = False
        self.body = None
        self.body_kept = self.body_wanted = 0
        self.body_bytes = self.bytes_out = 0
        self.request_extra = self.response_extra = self.response_body = self.carried = None
        self.request_withheld = self.response_withheld = 0
        self.body_waiter = None
        self.status = 0
        self.answer = None
        self.response_started = self.response_complete = self.status_changed = False
        self.response_kept = self.reframed = 0
        self.filters = None
        self.interims = self.tries = 0
        self.is_copy = False
        self.target_name = None
        self.identity = self.refusal_fields = self.refusal_detail = None
        self.refusal_of = 0
        self.refused_for = 0
        self.hooks = None
        self.step = self.finish_from = 0
        self.awaited = False
        self.task = self.request_view = self.response_view = self.error = None
        self.state = None
        self.started = self.head_at = self.forwarded_at = self.connected_at = self.response_at = self.ended = 0
        self.due = self.total_due = 0

    # -- driven by the client's connection

    cdef int open(self, bytes piece, bint complete) except -1:
        """The head is complete and accepted; ``piece`` is what came of the body with it."""
        cdef int cause
        self.head_at = clock_us()
        self.engine.slab.requests += 1
        self.request_complete = complete
        if piece is not None:
            self.keep(piece)
        cause = resolve(self)
        if cause != OK:
            return self.refuse(cause) if cause > 0 else 0
        if self.request.trailers is not None:
            cause = request_trailers(self)
            if cause != OK:
                return self.refuse(cause)
        return self.begin()

    cdef int open_broken(self, bytes piece, int fault) except -1:
        """The head is accepted, but what came of the body with it is malformed: nothing of it goes anywhere."""
        cdef int cause
        self.engine.slab.requests += 1
        cause = resolve(self)
        if cause != OK:
            return self.refuse(cause) if cause > 0 else 0
        return self.broke_off(piece, fault)

    cdef int broke_off(self, bytes piece, int fault) except -1:
        """The body is malformed after this piece; ``fault`` is the rule that was broken."""
        return self.refuse(BODY_TOO_LARGE if piece is not None and self.exceeds(piece) else fault)

    cdef bint exceeds(self, bytes piece) noexcept:
        """Whether the body is longer with this piece than the route accepts."""
        if self.route is None or self.route.max_body == 0:
            return False
        return self.body_bytes + PyBytes_GET_SIZE(piece) > self.route.max_body

    cdef int begin(self) except -1:
        """The route is known: its policies, limits among them."""
        cdef Head head = self.request
        cdef Route route = self.route
        cdef const unsigned char* asked
        cdef bytes kind
        if route.total_timeout:
            self.total_due = self.engine.wheel.now + route.total_timeout
            self.engine.wheel.arm(self, route.total_timeout)
        if route.max_body and (head.content_length > route.max_body or self.body_bytes > route.max_body):
            return self.refuse(BODY_TOO_LARGE)
        self.buffering = route.buffer_request and not self.request_complete
        if head.upgrade >= 0 and head.upgrade_named and self.is_get and head.minor == 1 \
                and head.content_length < 0 and not head.chunked:
            asked = head.p + head.fields[head.upgrade].value
            for kind in route.upgrades:
                if same(asked, head.fields[head.upgrade].value_length, PyBytes_AS_STRING(kind), PyBytes_GET_SIZE(kind)):
                    self.upgrading = True
        if route.on_request is None:
            return self.policies_passed()
        return run_hooks(self, route.on_request, PHASE_REQUEST)

    cdef int policies_passed(self) except -1:
        if self.buffering and not self.request_complete:
            self.phase = PHASE_BODY
            if self.expects_continue:
                self.client.send_continue(self)
            return 0
        return self.dispatch()

    cdef int dispatch(self) except -1:
        """Everything is ready for who answers."""
        cdef uint64_t generation
        self.forwarded_at = clock_us() if self.hooks is not None or self.phase != PHASE_HEAD else self.head_at
        if self.route.request_filters is not None and not begin_request(self):
            return 0
        self.phase = PHASE_DELIVERY
        self.delivery = <Delivery>self.route.delivery
        generation = self.generation
        try:
            return self.delivery.begin(self)
        except Exception as error:
            if self.generation != generation:
                raise
            return self.delivery_raised(error)

    cdef int delivery_raised(self, object error) except -1:
        """Who was to answer raised: logged here, once, and the client gets 500."""
        text = f"the delivery of route {self.route.name!r} raised {type(error).__name__}: {error}"
        self.engine.log("error", text, exception=error)
        return self.refuse(POLICY_FAILED)

    cdef int body_arrived(self, bytes piece, bint complete) except -1:
        """More of the body, perhaps its end."""
        cdef uint64_t generation
        self.request_complete = complete
        if piece is not None:
            if self.exceeds(piece):
                self.body_bytes += PyBytes_GET_SIZE(piece)
                return self.refuse(BODY_TOO_LARGE)
            if self.sending_stopped:
                self.body_bytes += PyBytes_GET_SIZE(piece)
                return 0
        if self.filtering and not self.sending_stopped:
            piece = filter_request(self, piece, complete)
            if piece is None or not (piece or complete):
                return 0
        if piece is not None:
            self.keep(piece)
        if self.sending_stopped:
            return 0
        if self.body_waiter is not None:
            wake_body(self)
        if self.phase == PHASE_BODY:
            return self.dispatch() if complete else 0
        if self.delivery is not None:
            generation = self.generation
            self.delivery.more(self, piece, complete)
            if self.body_flows or self.generation != generation:
                return 0
        return self.hold_client()

    cdef int hold_client(self) except -1:
        """Nothing of the body can go on yet: enough of it is kept."""
        if self.body_kept > KEPT_BODY and not self.buffering and (self.body_waiter is None or self.body_wanted >= 0):
            self.client.hold(HOLD_WAIT)
        return 0

    cdef int keep(self, bytes piece) except -1:
        """Counts a piece and keeps it for the next try, or until somebody can take it."""
        cdef Py_ssize_t length = PyBytes_GET_SIZE(piece)
        self.body_bytes += length
        if self.body_lost:
            return 0
        if self.body_flows and self.body_kept + length > KEPT_BODY and not self.buffering:
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
        self.body_bytes += PyBytes_GET_SIZE(data)
        if self.delivery is not None:
            self.delivery.tunnel_bytes(self, data)
        return 0

    cdef int upstream_bytes(self, bytes data) except -1:
        """Tunnel bytes from the upstream."""
        self.bytes_out += PyBytes_GET_SIZE(data)
        return self.client.send_raw(self, data)

    # -- who answers

    cdef int wait(self, uint64_t delay) except -1:
        """Sets the deadline: so many milliseconds from now (0 = none), never beyond that of the whole exchange."""
        cdef uint64_t now = self.engine.wheel.now
        if self.total_due and (delay == 0 or now + delay >= self.total_due):
            if now >= self.total_due:
                self.due = self.total_due
                return 0
            delay = self.total_due - now
        self.engine.wheel.arm(self, delay)
        return 0

    cdef int body_taken(self) except -1:
        """Somebody takes the body now, and has been given what is kept of it: the rest goes on as it comes."""
        self.body_flows = True
        if not self.request_complete:
            if self.client.held & HOLD_WAIT:
                self.client.release(HOLD_WAIT)
            if self.body_kept > KEPT_BODY and not self.buffering:
                self.body_lost = True
                self.body = None
                self.body_kept = 0
        return 0

    cdef bint goes_both_ways(self) noexcept:
        """Whether the request may go on when its answer has begun."""
        return self.source is not None and self.source.full_duplex and self.client.full_duplex

    cdef int leave_delivery(self) except -1:
        """Whoever was to answer is not wanted any more, in whatever state that is."""
        cdef Delivery delivery = self.delivery
        if self.task is not None:
            self.stop_waiting()
        self.source = None
        self.body_flows = False
        if delivery is not None:
            self.delivery = None
            delivery.leave(self)
        return 0

    cdef void remember(self, Facts facts, int place) noexcept:
        """Keeps what a feature knows of it from now on."""
        facts.others = self.facts
        self.facts = facts
        self.places[place] = <void*>facts

    def abort(self):
        """Ends a copy: the gateway stops."""
        self.client_gone(STOPPED)

    cdef int stop_waiting(self) except -1:
        """Ends the wait for a policy's task or a step; nothing that still comes of it counts."""
        cdef Gate step = self.later
        self.generation += 1
        if step is not None:
            self.later = None
            step.leave(self)
        if self.task is not None:
            self.task.cancel()
            self.task = None
        return 0

    cdef int stop_reading_body(self) except -1:
        """No policy gets the body any more."""
        if self.body_waiter is not None:
            self.body_waiter.cancel()
            self.body_waiter = None
        return 0

    cdef int expired(self) except -1:
        """A step, whoever answers, or the whole exchange took too long."""
        if self.over:
            return 0
        if self.total_due and self.engine.wheel.now + 1 >= self.total_due:
            return self.refuse(TOTAL_TIMEOUT)
        if self.later is not None:
            return self.refuse(self.later.late(self))
        return self.delivery.late(self) if self.delivery is not None else 0

    # -- driven by who answers

    cdef int interim(self) except -1:
        """A 1xx lies in ``response``."""
        self.interims += 1
        if self.interims <= MAX_INTERIM and not self.response_started:
            if self.route.edits is not None:
                (<AnswerEdits>self.route.edits).interim(self)
            self.client.send_interim(self)
        return 0

    cdef int answered(self, bytes piece, bint last) except -1:
        """The answer for the client: its head lies in ``response``; ``piece`` is what came of the body with it."""
        cdef Route route = self.route
        cdef uint64_t generation = self.generation
        self.status = self.response.status
        self.response_complete = last
        if self.carried is not None:
            self.response_extra = list(self.carried)
        if not self.request_complete and self.status != 101 and not self.goes_both_ways():
            self.sending_stopped = True
            self.client.release(HOLD_SINK | HOLD_WAIT)
        self.body = None
        self.body_lost = True
        if self.status == 101:
            if route.edits is not None and not (<AnswerEdits>route.edits).arrived(self):
                return self.refuse(BAD_VALUE)
            self.phase = PHASE_TUNNEL
            self.response_started = True
            self.due = 0
            return self.client.open_tunnel(self)
        if route.alters_response and not self.is_copy:
            if route.buffer_response:
                self.phase = PHASE_RESPONSE
                self.reframed = FRAMED_WHOLE
                self.keep_response(piece, last)
                if not last or self.generation != generation:
                    return 0
                return run_hooks(self, route.on_response, PHASE_RESPONSE)
            if route.on_response is not None:
                self.keep_response(piece, last)
                return run_hooks(self, route.on_response, PHASE_RESPONSE)
            if route.edits is not None and not (<AnswerEdits>route.edits).arrived(self):
                return self.refuse(BAD_VALUE)
            if route.response_filters is not None:
                return begin_response(self, piece, last, OK)
        self.phase = PHASE_SENDING
        self.response_started = True
        self.client.send_response(self, piece, last)
        if last and self.generation == generation:
            self.finish(OK)
        return 0

    cdef int piece(self, bytes piece, bint last) except -1:
        """More of the answer's body, perhaps its end."""
        cdef uint64_t generation = self.generation
        if self.phase == PHASE_SENDING:
            self.client.send_body(self, piece, last)
            if last and self.generation == generation:
                self.response_complete = True
                self.finish(OK)
            return 0
        if self.phase == PHASE_FILTERING:
            return filter_response(self, piece, last)
        self.keep_response(piece, last)
        if last and self.generation == generation and self.route.buffer_response and self.phase == PHASE_RESPONSE \
                and self.hooks is not self.route.on_response:
            return run_hooks(self, self.route.on_response, PHASE_RESPONSE)
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
        elif self.response_kept > KEPT_BODY and self.source is not None:
            self.source.hold(HOLD_WAIT)
        return 0

    cdef int failed(self, int cause) except -1:
        """There is no answer, or the rest of it does not come."""
        return self.refuse(cause)

    # -- policies: see chain

    cdef int hooks_done(self) except -1:
        if self.phase == PHASE_REQUEST:
            return self.policies_passed()
        if self.phase == PHASE_RESPONSE:
            return self.deliver()
        return self.answer_problem(self.cause)

    cdef int deliver(self) except -1:
        """The response side of the policies is through: what they left goes to the client."""
        cdef bytes piece
        cdef Source source
        cdef uint64_t generation = self.generation
        if self.answer is not None:
            return self.respond(self.answer, self.cause or POLICY_ANSWERED)
        if self.route.edits is not None and not (<AnswerEdits>self.route.edits).arrived(self):
            return self.refuse(BAD_VALUE)
        if self.status_changed and not self.response_complete and (self.status == 304 or self.status == 204):
            # Nobody gets the rest of the body.
            self.leave_delivery()
            self.response_complete = True
        piece = b"".join(self.response_body) if self.response_body is not None else None
        self.response_body = None
        if self.route.response_filters is not None:
            return begin_response(self, piece, self.response_complete, OK)
        self.phase = PHASE_SENDING
        self.response_started = True
        self.client.send_response(self, piece, self.response_complete)
        if self.generation != generation:
            return 0
        if self.response_complete:
            return self.finish(OK)
        source = self.source
        if source is not None:
            source.release(HOLD_WAIT)
        return 0

    # -- answers of our own

    cdef int refuse(self, int cause) except -1:
        """Ends the exchange for a cause from the table: an answer where one can still be given, a cut where not."""
        if self.over:
            return 0
        if self.response_started:
            self.client.cut(self)
            return self.finish(cause)
        if self.is_copy:
            return self.finish(cause)
        self.cause = cause
        self.stop_waiting()
        self.stop_reading_body()
        self.leave_delivery()
        self.answer = None
        self.response_extra = None
        self.response_withheld = 0
        if self.route is not None and self.route.on_error is not None and self.phase != PHASE_ERROR:
            return run_hooks(self, self.route.on_error, PHASE_ERROR)
        return self.answer_problem(cause)

    cdef int answer_problem(self, int cause) except -1:
        self.cause = cause
        return self.respond(problem_answer(self, cause), cause)

    cdef int respond(self, Answer answer, int cause) except -1:
        """An answer that is complete."""
        cdef bint changes = self.route is not None and self.route.alters_response
        cdef bint given = cause == POLICY_ANSWERED or cause == ROUTE_ANSWERED
        self.leave_delivery()
        if changes and given and (self.phase == PHASE_REQUEST or self.phase == PHASE_DELIVERY):
            # Who gave it may give it again: what is changed is a copy.
            answer = copy_of_answer(answer)
            if self.route.on_response is not None:
                self.answer = answer
                self.cause = cause
                return run_hooks(self, self.route.on_response, PHASE_RESPONSE)
        if changes or self.carried is not None:
            answer = final_answer(self, answer, given)
            if answer is None:
                return self.refuse(BAD_VALUE)
            if changes and given and self.route.response_filters is not None:
                return begin_answer(self, answer, cause)
        self.answer = answer
        self.reframed = FRAMED_AS_SENT
        self.status = answer.code
        self.phase = PHASE_SENDING
        self.response_started = True
        self.cause = cause
        self.client.send_response(self, answer.content, True)
        return self.finish(cause)

    def read_body(self, bint whole):
        """The request body, or its first 16 KB. For `Request.body`."""
        return body_of(self, whole)

    # -- the end

    cdef void owe(self, Debt debt) noexcept:
        """To be settled at the end, before what was owed already."""
        debt.owed_before = self.debts
        self.debts = debt

    cdef int settle_debts(self, int cause) except -1:
        """All of them, the last owed first, whatever one of them raises."""
        cdef Debt debt
        while self.debts is not None:
            debt = self.debts
            self.debts = debt.owed_before
            debt.owed_before = None
            try:
                debt.settle(self, cause)
            except Exception as error:
                self.engine.log("error", f"{type(debt).__name__} could not be settled: {error}", exception=error)
        return 0

    cdef int finish(self, int cause) except -1:
        """Settles the exchange: exactly once, whatever happened."""
        cdef ClientSide client = self.client
        cdef Engine engine = self.engine
        cdef bint waits = False
        cdef uint64_t micros
        if self.over:
            return 0
        self.over = True
        self.cause = cause = cause or self.given_by
        self.ended = clock_us()
        self.due = 0
        live.exchanges -= 1
        self.stop_waiting()
        self.stop_reading_body()
        self.leave_delivery()
        if self.debts is not None:
            self.settle_debts(cause)
        if self.is_copy:
            # Counted and logged nowhere.
            engine.copies.discard(self)
            self.reuse()
            return client.settled(self)
        engine.slab.responses[self.status // 100 if 100 <= self.status < 600 else 0] += 1
        micros = self.ended - self.started
        histogram_record(engine.slab.latency, micros)
        if self.response_at:
            histogram_record(engine.slab.upstream_latency, self.response_at - self.connected_at)
        try:
            if self.finish_from:
                waits = finish_hooks(self)
            if self.runtime.told is not None:
                tell_observers(self)
        finally:
            if self.request_view is not None or self.awaited:
                # Views and tasks may outlive the exchange: they are told, and this object is not used again.
                self.error = self.filters = None
                self.body = self.response_body = None
                if not waits:
                    end_views(self)
            else:
                self.reuse()
                if engine.spares < SPARE and not engine.stopped and self.runtime is engine.runtime:
                    self.next_spare = engine.spare
                    engine.spare = self
                    engine.spares += 1
            client.settled(self)
        return 0
