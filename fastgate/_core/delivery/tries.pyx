"""Tries: upstreams answer a request, and what follows when a target could not be reached, failed, or gave an answer
that may not be the last.

Theory of operation
-------------------
`Upstreams` is the delivery of a route that has an upstream. `ask` wants a connection to one target of it. A try ends in
one of three ways: with an answer (`answered`), which goes outwards; with a failure (`failed`), told by the upstream or
by the connection; or with an answer whose status the route wants tried again.

Such an answer is kept (`keep`): its head and up to `KEPT_ANSWER` bytes of its body, so that its connection goes back to
the pool and the client can still have it. When the tries are spent the client gets the last answer of the upstream as
it was, or, where there was none, the gateway's own for the last failure.

Another try needs all of: the rule covers the failure, tries are left, the request can be sent again (its body is whole,
or all that came of it is kept), nothing may have been done twice (the method is idempotent, or the request cannot have
arrived, or the rule says so), the pause fits before the deadline, and the upstream's retry budget has a token. The
budget is asked last, because asking takes the token. Where a hedge is under way it is the next try (see `hedge`). A
connection that failed is followed at once by another target, if there is one, at no cost to the budget; everything else
by a pause with jitter, and never before the time that Retry-After gives.

Invariant: between two tries there is neither target nor connection, and ``pause`` is the only thing that holds the
exchange.
"""

from time import time

from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint64_t

from fastgate._core.delivery.retry cimport RetryRule
from fastgate._core.exchange.causes cimport (
    CONNECT_TIMEOUT,
    FAILED_CONNECT,
    FAILED_RESET,
    FAILED_TIMEOUT,
    NO_FAILURE,
    NOT_PROCESSED,
    NO_TARGET,
    OK,
    POOL_TIMEOUT,
    RESPONSE_CUT,
    RESPONSE_TOO_LARGE,
    TOTAL_TIMEOUT,
    TRY_TIMEOUT,
    UPSTREAM_STALE,
    outcomes,
)
from fastgate._core.exchange.exchange cimport Delivery, Exchange, Facts, UpstreamSide, new_place
from fastgate._core.exchange.head cimport Head
from fastgate._core.exchange.timers cimport clock_us

from fastgate._core.exchange.timers import milliseconds

cdef enum:
    KEPT_ANSWER = 65536
    MAX_REFUSALS = 3           # times that a request is sent again which an upstream has not processed

cdef int TRY = new_place()


cdef class Upstream:
    cdef int acquire(self, Exchange x, Try t) except -1:
        """Finds a connection: `Upstreams.connected` or `Upstreams.failed` follows, now or later."""
        return 0

    cdef int leave(self, Exchange x, Try t) except -1:
        """The exchange no longer waits for a connection."""
        return 0

    cdef int judge(self, Exchange x, Try t, int failure) except -1:
        """How the try went: a `Failure`, or NO_FAILURE with the status of the answer in ``x.status``."""
        return 0

    cdef int leave_unjudged(self, Try t) except -1:
        """The try ends without a verdict: the client left."""
        return 0

    cdef bint has_untried(self, Try t) except -1:
        """Whether there is a target that was not asked yet."""
        return False

    cdef bint affords_retry(self, double ratio) except -1:
        """Takes one retry from the budget, which grows by ``ratio`` with each first try. False: it is spent."""
        return True


cdef class Changes:
    cdef int answered(self, Exchange x) except -1:
        """An upstream has answered: the head lies in ``x.response``, as it came."""
        return 0


cdef class Try(Facts):
    cdef void reset(self) noexcept:
        self.clear()
        self.state = ASKING
        self.number = 0
        self.replayed = self.fresh = False
        self.refusals = 0
        self.tried = self.kept_body = None
        self.kept_head = None
        self.last_cause = OK
        self.due = 0
        self.hedge = None

    cdef void clear(self) noexcept:
        """Nothing is asked."""
        self.target = None
        self.connection = None
        self.connecting = None
        self.waiting = self.judged = False
        self.admitted = self.target_admitted = 0
        self.in_flight = NULL

    cdef int stop_pause(self) except -1:
        if self.pause is not None:
            self.pause.cancel()
            self.pause = None
        return 0

    cdef int take_over(self, Exchange x, Try other, Upstreams by) except -1:
        """What another exchange has asked is ``x``'s from now on, and this its try."""
        self.by = by
        self.number = other.number
        self.target = other.target
        self.connection = other.connection
        self.judged = other.judged
        self.admitted = other.admitted
        self.target_admitted = other.target_admitted
        self.in_flight = other.in_flight
        other.clear()
        if self.connection is not None:
            self.connection.exchange = x
            self.connection.delivery = by
            x.source = self.connection
            x.body_flows = True
        return 0

    def go_on(self, Exchange x, uint64_t generation):
        if x.generation == generation:
            self.pause = None
            self.by.ask(x, self)


cdef Try try_of(Exchange x):
    """What it knows of its tries; made when it is first asked for."""
    cdef Try t
    if x.places[TRY] != NULL:
        return <Try>x.places[TRY]
    t = Try.__new__(Try)
    x.remember(t, TRY)
    return t


cdef class Upstreams(Delivery):
    """The targets of an upstream answer, each asked as a `RetryRule` says."""

    def __init__(
        self, Upstream upstream, RetryRule rule=None, *, connect_timeout=2.0, single=False, Changes changes=None
    ):
        self.upstream = upstream
        self.rule = rule
        self.changes = changes
        self.connect_timeout = milliseconds(connect_timeout)
        self.single = single

    cdef int begin(self, Exchange x) except -1:
        cdef Try t = try_of(x)
        if t.by is not self or t.number:
            # Another of the deliveries of its route has been asked before.
            t.reset()
            t.by = self
        return self.ask(x, t)

    cdef int ask(self, Exchange x, Try t) except -1:
        """One try: a connection to a target."""
        cdef RetryRule rule = self.rule
        cdef uint64_t limit = self.connect_timeout
        t.state = ASKING
        t.number += 1
        x.tries += 1
        if rule is not None and rule.try_timeout:
            t.due = x.engine.wheel.now + rule.try_timeout
            if limit == 0 or rule.try_timeout < limit:
                limit = rule.try_timeout
        if limit:
            x.wait(limit)
        return self.upstream.acquire(x, t)

    cdef int connected(self, Exchange x, Try t, UpstreamSide connection) except -1:
        """A connection is there: the request goes out."""
        cdef uint64_t now
        t.connection = connection
        t.connecting = None
        t.waiting = False
        x.connected_at = clock_us() if not connection.rested else x.forwarded_at
        if t.due:
            now = x.engine.wheel.now
            x.wait(t.due - now if t.due > now else 1)
        else:
            x.wait(0)
        if x.expects_continue:
            x.client.send_continue(x)
        connection.delivery = self
        x.source = connection
        connection.start(x)
        return x.body_taken()

    # -- the exchange's side

    cdef int more(self, Exchange x, bytes piece, bint complete) except -1:
        cdef UpstreamSide connection = try_of(x).connection
        return connection.send_body(piece, complete) if connection is not None else 0

    cdef int tunnel_bytes(self, Exchange x, bytes data) except -1:
        cdef UpstreamSide connection = try_of(x).connection
        return connection.send_raw(data) if connection is not None else 0

    cdef int late(self, Exchange x) except -1:
        """Connecting, waiting, or a try took too long."""
        cdef Try t = try_of(x)
        if t.waiting:
            return self.failed(x, NO_TARGET if t.target is None else POOL_TIMEOUT)
        if t.connecting is not None:
            return self.failed(x, CONNECT_TIMEOUT)
        if t.due and t.state == ASKING and t.connection is not None:
            return self.failed(x, TRY_TIMEOUT)
        return 0

    cdef int leave(self, Exchange x) except -1:
        cdef Try t = try_of(x)
        if x.cause == TOTAL_TIMEOUT and t.state == ASKING and t.connection is not None and not x.is_copy:
            # The target had its time, all that there was.
            self.upstream.judge(x, t, FAILED_TIMEOUT)
        if t.pause is not None:
            t.stop_pause()
        return self.drop(x, t)

    cdef int drop(self, Exchange x, Try t) except -1:
        """Lets go of target and connection, whatever state the try is in."""
        cdef UpstreamSide connection = t.connection
        if t.in_flight != NULL:
            t.in_flight[0] -= 1
        if t.admitted | t.target_admitted and not t.judged:
            self.upstream.leave_unjudged(t)
        if t.waiting or t.connecting is not None:
            self.upstream.leave(x, t)
        t.clear()
        if connection is not None:
            x.source = None
            x.body_flows = False
            # It may have let go of the exchange already.
            if connection.exchange is x:
                connection.abandon()
        return 0

    cdef int move(self, Exchange x, Exchange to) except -1:
        cdef Try old = try_of(x)
        cdef Try new = try_of(to)
        cdef int state = old.state
        old.stop_pause()
        new.state = state
        new.replayed = old.replayed
        new.refusals = old.refusals
        new.last_cause = old.last_cause
        new.pause_for = old.pause_for
        new.kept_size = old.kept_size
        new.kept_head, old.kept_head = old.kept_head, None
        new.kept_body, old.kept_body = old.kept_body, None
        new.tried, old.tried = old.tried, None
        if old.connection is not None or state == TELLING:
            return new.take_over(to, old, self)
        # Nothing has been sent: who makes or has a connection for the one knows nothing of the other.
        new.by = self
        new.number = old.number
        if state == ASKING:
            new.number -= 1
            to.tries -= 1
        self.drop(x, old)
        return self.ask(to, new)

    cdef Head arriving(self, Exchange x):
        cdef Try t = try_of(x)
        return t.kept_head if t.state == KEEPING and t.kept_head is not None else x.response

    # -- the connection's side

    cdef int answered(self, Exchange x, bytes piece, bint last) except -1:
        cdef Try t = try_of(x)
        x.response_at = clock_us()
        x.status = x.response.status
        if last:
            self.done(x, t)
        if t.target is not None:
            self.upstream.judge(x, t, NO_FAILURE)
        if self.rule is not None and self.rule.on.statuses[x.status] and self.keeps(x, t):
            return self.keep(x, t, piece, last)
        return self.give(x, t, piece, last)

    cdef int piece(self, Exchange x, bytes piece, bint last) except -1:
        if last:
            self.done(x, try_of(x))
        if (<Try>x.places[TRY]).state == KEEPING:
            return self.keep_piece(x, try_of(x), piece, last)
        return self.tell_piece(x, piece, last)

    cdef int failed(self, Exchange x, int cause) except -1:
        """The try came to nothing, or its answer broke off."""
        cdef Try t
        cdef int failure = outcomes[cause].failure
        if x.over:
            return 0
        t = try_of(x)
        x.engine.slab.upstream_failures += 1
        if t.target is not None and cause != UPSTREAM_STALE:
            if failure != NO_FAILURE:
                self.upstream.judge(x, t, failure)
            remember(t, t.target)
        if t.state == TELLING:
            return self.tell_failed(x, RESPONSE_CUT if failure & (FAILED_CONNECT | FAILED_RESET) else cause)
        self.drop(x, t)
        if self.single:
            return self.tell_failed(x, cause)
        if self.left_to_another(x, t, cause):
            t.last_cause = cause
            return x.wait(0)
        return self.next_step(x, t, cause)

    cdef void done(self, Exchange x, Try t) noexcept:
        """All of the answer is there: the connection is no longer this exchange's."""
        t.connection = None
        x.source = None
        x.body_flows = False

    # -- what follows

    cdef int give(self, Exchange x, Try t, bytes piece, bint last) except -1:
        """The answer in ``x.response`` is the one that counts."""
        t.state = TELLING
        if not x.request_complete and t.connection is not None and x.response.status != 101 \
                and not x.goes_both_ways():
            t.connection.stop_sending()
        if t.due:
            t.due = 0
            x.wait(0)
        # In this order a GET costs the same whether there is something.
        if not x.is_get and self.changes is not None:
            self.changes.answered(x)
        return self.tell_answered(x, piece, last)

    cdef bint left_to_another(self, Exchange x, Try t, int cause) except -1:
        """Whether another target is being asked already, which may still answer."""
        return False

    cdef int next_step(self, Exchange x, Try t, int cause) except -1:
        """After a failure: again, or what is to be said to the client."""
        cdef int failure = outcomes[cause].failure
        cdef int64_t pause
        if t.state == KEEPING:
            # The body of an answer that was to be kept broke off; the next try is decided already.
            t.kept_head = None
            t.kept_body = None
            t.last_cause = cause
            return self.pause(x, t, t.pause_for)
        if t.state == ASKING:
            if t.kept_head is not None and cause == OK:
                # Its hedge has come to nothing as well.
                pause = self.plan(x, t, NO_FAILURE, True, retry_after(t.kept_head))
                if pause != NO_TRY:
                    return self.pause(x, t, pause)
            elif cause == UPSTREAM_STALE:
                if not t.replayed and replayable(x) and (x.idempotent or repeats_on_reset(self.rule)):
                    # Not a try of its own: the connection had died before it was used.
                    t.replayed = True
                    t.fresh = True
                    t.number -= 1
                    x.tries -= 1
                    x.engine.slab.replays += 1
                    x.response.release()
                    return self.ask(x, t)
            elif cause == NOT_PROCESSED:
                if t.refusals < MAX_REFUSALS and replayable(x):
                    # Whoever says so has done nothing with it: that costs no try, no budget, and holds for any method.
                    t.refusals += 1
                    t.number -= 1
                    x.tries -= 1
                    x.engine.slab.replays += 1
                    x.response.release()
                    return self.ask(x, t)
            elif failure != NO_FAILURE and self.rule is not None and self.rule.on.failures & failure:
                pause = self.plan(x, t, failure, outcomes[cause].arrived, 0)
                if pause != NO_TRY:
                    t.last_cause = cause
                    x.response.release()
                    return self.pause(x, t, pause)
        if t.kept_head is not None:
            x.response = t.kept_head
            t.kept_head = None
            x.status = x.response.status
            body = b"".join(t.kept_body)
            t.kept_body = None
            return self.give(x, t, body or None, True)
        if failure == NO_FAILURE and t.last_cause != OK:
            # Not even a target to try: what the client is told is why the one before failed.
            cause = t.last_cause
        return self.tell_failed(x, cause)

    cdef int64_t plan(self, Exchange x, Try t, int failure, bint arrived, int64_t not_before) except -2:
        """Milliseconds until the next try, NO_TRY when there is none. A retry is taken from the budget."""
        cdef RetryRule rule = self.rule
        cdef int64_t pause = 0
        cdef int64_t left
        if t.number >= rule.attempts or not replayable(x):
            return NO_TRY
        if arrived and not x.idempotent and not rule.non_idempotent:
            return NO_TRY
        if not failure & FAILED_CONNECT or not self.upstream.has_untried(t):
            pause = <int64_t>rule.pause(t.number, x.engine.random())
        if pause < not_before:
            pause = not_before
        # Without a deadline of its own an exchange waits no longer than it would for an answer.
        left = <int64_t>(x.total_due - x.engine.wheel.now) if x.total_due else x.route.read_timeout
        if left and pause >= left:
            return NO_TRY
        # A target that cannot be connected to had no work of it: going on to another one at once costs nothing.
        if (pause or not failure & FAILED_CONNECT) and not self.upstream.affords_retry(rule.budget):
            x.engine.slab.retries_denied += 1
            return NO_TRY
        x.engine.slab.retries += 1
        return pause

    cdef int pause(self, Exchange x, Try t, int64_t pause) except -1:
        t.stop_pause()
        t.due = 0
        if pause == LEFT_TO_HEDGE:
            t.state = ASKING
            x.wait(0)
            return self.next_step(x, t, t.last_cause) if t.hedge is None else 0
        if pause == 0:
            return self.ask(x, t)
        t.state = PAUSING
        x.wait(0)
        t.pause = x.engine.loop.call_later(pause * 0.001, t.go_on, x, x.generation)
        return 0

    # -- answers that may not be the last

    cdef bint keeps(self, Exchange x, Try t) except -1:
        """Whether the answer that has arrived, with a status that the rule wants tried again, is followed by a try."""
        if t.state != ASKING or self.single or not x.request_complete:
            return False
        t.pause_for = self.plan(x, t, NO_FAILURE, True, retry_after(x.response))
        return t.pause_for != NO_TRY

    cdef int keep(self, Exchange x, Try t, bytes piece, bint last) except -1:
        if t.target is not None:
            remember(t, t.target)
        t.kept_head = x.response
        x.response = Head.__new__(Head)
        t.kept_body = []
        t.kept_size = 0
        t.last_cause = OK
        t.state = KEEPING
        return self.keep_piece(x, t, piece, last)

    cdef int keep_piece(self, Exchange x, Try t, bytes piece, bint last) except -1:
        if piece is not None:
            t.kept_body.append(piece)
            t.kept_size += PyBytes_GET_SIZE(piece)
        if not last and t.kept_size <= KEPT_ANSWER:
            return 0
        if not last:
            t.kept_head = None
            t.kept_body = None
            t.last_cause = RESPONSE_TOO_LARGE
        self.drop(x, t)
        return self.pause(x, t, t.pause_for)


cdef int remember(Try t, object target) except -1:
    """This target is not to be asked again, while there are others."""
    if t.tried is None:
        t.tried = [target]
    else:
        t.tried.append(target)
    return 0


cdef bint replayable(Exchange x) noexcept:
    return not x.body_lost and (x.request_complete or not x.expects_continue)


cdef bint repeats_on_reset(RetryRule rule) noexcept:
    """Whether the route says that anything may be done twice when a connection ends without an answer."""
    return rule is not None and rule.non_idempotent and rule.on.failures & FAILED_RESET != 0


cdef int64_t retry_after(Head head) except -1:
    """Milliseconds that a response asks to wait (RFC 9110 section 10.2.3); 0 where it does not, or not clearly."""
    cdef int i = head.find(b"retry-after", 11, 0)
    cdef bytes value
    if i < 0:
        return 0
    value = head.value_of(i)
    if value.isdigit():
        return 1000 * min(int(value), 1000000) if len(value) < 20 else 1000000000
    from email.utils import parsedate_to_datetime      # on use: a tenth of a start

    try:
        return max(0, int(1000 * (parsedate_to_datetime(value.decode("latin-1")).timestamp() - time())))
    except (ValueError, OverflowError):
        return 0
