"""Tries: what an exchange does when a target could not be reached, failed, or gave an answer that may not be the last.

Theory of operation
-------------------
`begin_try` asks the exchange's upstream for a connection to one target. A try ends in one of three ways: with an answer
that goes to the client, with a failure (`try_failed`), or with an answer whose status the route wants tried again.

Such an answer is kept (`keep_answer`): its head and up to `KEPT_ANSWER` bytes of its body, so that its connection goes
back to the pool and the client can still have it. When the tries are spent the client gets the last answer of the
upstream as it was, or, where there was none, the gateway's own for the last failure.

Another try needs all of: the route's rule covers the failure, tries are left, the request can be sent again (its body
is whole, or all that came of it is kept), nothing may have been done twice (the method is idempotent, or the request
cannot have arrived, or the rule says so), the pause fits before the deadline, and the upstream's retry budget has a
token. The budget is asked last, because asking takes the token. Where a hedge is under way it is the next try. A
connection that failed is followed at once by another target, if there is one, at no cost to the budget; everything
else by a pause with jitter, and never before the time that Retry-After gives.

Invariant: between two tries the exchange has no attempt, and ``pause`` is the only thing that holds it.
"""

from time import time

from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint64_t

from fastgate._core.exchange.causes cimport (
    FAILED_CONNECT,
    FAILED_RESET,
    NO_FAILURE,
    OK,
    RESPONSE_CUT,
    RESPONSE_TOO_LARGE,
    UPSTREAM_STALE,
    outcomes,
)
from fastgate._core.delivery.copies cimport copy_failed
from fastgate._core.exchange.exchange cimport PHASE_KEEPING, PHASE_PAUSE, PHASE_UPSTREAM, Exchange
from fastgate._core.exchange.head cimport Head
from fastgate._core.delivery.retry cimport RetryRule

cdef enum:
    KEPT_ANSWER = 65536
    NO_TRY = -1
    LEFT_TO_HEDGE = -2         # a pause without end: another target is being asked already


cdef int begin_try(Exchange x) except -1:
    """One try: a connection to a target of the exchange's upstream."""
    cdef RetryRule rule = x.route.retry
    cdef uint64_t limit = x.route.connect_timeout
    x.phase = PHASE_UPSTREAM
    x.tries += 1
    if rule is not None:
        if rule.try_timeout:
            x.try_due = x.engine.wheel.now + rule.try_timeout
            if limit == 0 or rule.try_timeout < limit:
                limit = rule.try_timeout
        if rule.hedge_delay and x.tries == 1 and x.idempotent and x.request_complete and not x.upgrading \
                and not x.is_copy and x.hedge is None:
            x.stop_waiting()
            x.pause = x.engine.loop.call_later(rule.hedge_delay * 0.001, x.hedge_now, x.generation)
    if limit:
        x.wait(limit)
    return x.upstream.acquire(x)


cdef int try_failed(Exchange x, int cause) except -1:
    """The try came to nothing, or its answer broke off."""
    cdef int failure = outcomes[cause].failure
    x.engine.slab.upstream_failures += 1
    if x.attempt.target is not None and cause != UPSTREAM_STALE:
        if failure != NO_FAILURE:
            x.upstream.judge(x, failure)
        remember(x)
    if x.is_copy:
        return copy_failed(x, cause)
    if x.response_started:
        return x.refuse(RESPONSE_CUT if failure & (FAILED_CONNECT | FAILED_RESET) else cause)
    x.drop_attempt()
    if x.hedge is not None:
        # The other target may still answer.
        x.last_cause = cause
        x.wait(0)
        return 0
    return next_step(x, cause)


cdef int remember(Exchange x) except -1:
    """The target of this try is not to be asked again, while there are others."""
    if x.tried is None:
        x.tried = [x.attempt.target]
    else:
        x.tried.append(x.attempt.target)
    return 0


cdef int next_step(Exchange x, int cause) except -1:
    """After a failure: again, or what is to be said to the client."""
    cdef int failure = outcomes[cause].failure
    cdef int64_t pause
    if x.phase == PHASE_KEEPING:
        # The body of an answer that was to be kept broke off; the next try is decided already.
        x.kept_head = None
        x.kept_body = None
        x.last_cause = cause
        return pause_for(x, x.pause_for)
    if x.phase == PHASE_UPSTREAM:
        if x.kept_head is not None and cause == OK:
            # Its hedge has come to nothing as well.
            pause = plan(x, NO_FAILURE, True, retry_after(x.kept_head))
            if pause != NO_TRY:
                return pause_for(x, pause)
        elif cause == UPSTREAM_STALE:
            if not x.replayed and replayable(x) and (x.idempotent or repeats_on_reset(x.route.retry)):
                # Not a try of its own: the connection had died before it was used.
                x.replayed = True
                x.fresh = True
                x.tries -= 1
                x.engine.slab.replays += 1
                x.response.release()
                return begin_try(x)
        elif failure != NO_FAILURE and x.route.retry is not None and x.route.retry.on.failures & failure:
            pause = plan(x, failure, outcomes[cause].arrived, 0)
            if pause != NO_TRY:
                x.last_cause = cause
                x.response.release()
                return pause_for(x, pause)
    if x.kept_head is not None:
        x.response = x.kept_head
        x.kept_head = None
        x.status = x.response.status
        body = b"".join(x.kept_body)
        x.kept_body = None
        return x.pass_on(body or None, True)
    if failure == NO_FAILURE and x.last_cause != OK:
        # Not even a target to try: what the client is told is why the one before failed.
        cause = x.last_cause
    return x.refuse(cause)


cdef bint replayable(Exchange x) noexcept:
    return not x.body_lost and (x.request_complete or not x.expects_continue)


cdef bint repeats_on_reset(RetryRule rule) noexcept:
    """Whether the route says that anything may be done twice when a connection ends without an answer."""
    return rule is not None and rule.non_idempotent and rule.on.failures & FAILED_RESET != 0


cdef int64_t plan(Exchange x, int failure, bint arrived, int64_t not_before) except -2:
    """Milliseconds until the next try, NO_TRY when there is none. A retry is taken from the budget."""
    cdef RetryRule rule = x.route.retry
    cdef int64_t pause = 0
    cdef int64_t left
    if x.tries >= rule.attempts or not replayable(x):
        return NO_TRY
    if arrived and not x.idempotent and not rule.non_idempotent:
        return NO_TRY
    if not failure & FAILED_CONNECT or not x.upstream.has_untried(x):
        pause = <int64_t>rule.pause(x.tries, x.engine.random())
    if pause < not_before:
        pause = not_before
    # Without a deadline of its own an exchange waits no longer than it would for an answer.
    left = <int64_t>(x.total_due - x.engine.wheel.now) if x.total_due else x.route.read_timeout
    if left and pause >= left:
        return NO_TRY
    # A target that cannot be connected to had no work of it: going on to another one at once costs nothing.
    if (pause or not failure & FAILED_CONNECT) and not x.upstream.affords_retry(rule.budget):
        x.engine.slab.retries_denied += 1
        return NO_TRY
    x.engine.slab.retries += 1
    return pause


cdef int pause_for(Exchange x, int64_t pause) except -1:
    x.stop_waiting()
    x.try_due = 0
    if pause == LEFT_TO_HEDGE:
        x.phase = PHASE_UPSTREAM
        x.wait(0)
        return next_step(x, x.last_cause) if x.hedge is None else 0
    if pause == 0:
        return begin_try(x)
    x.phase = PHASE_PAUSE
    x.wait(0)
    x.pause = x.engine.loop.call_later(pause * 0.001, x.next_try, x.generation)
    return 0


# -- answers that may not be the last

cdef bint keeps(Exchange x) except -1:
    """Whether the answer that has arrived, with a status that the route wants tried again, is followed by a try."""
    if x.phase != PHASE_UPSTREAM or x.is_copy or not x.request_complete:
        return False
    if x.hedge is not None:
        x.pause_for = LEFT_TO_HEDGE
        return True
    x.pause_for = plan(x, NO_FAILURE, True, retry_after(x.response))
    return x.pause_for != NO_TRY


cdef int keep_answer(Exchange x, bytes piece, bint last) except -1:
    if x.attempt.target is not None:
        remember(x)
    x.kept_head = x.response
    x.response = Head.__new__(Head)
    x.kept_body = []
    x.kept_size = 0
    x.last_cause = OK
    x.phase = PHASE_KEEPING
    return keep_piece(x, piece, last)


cdef int keep_piece(Exchange x, bytes piece, bint last) except -1:
    if piece is not None:
        x.kept_body.append(piece)
        x.kept_size += PyBytes_GET_SIZE(piece)
    if not last and x.kept_size <= KEPT_ANSWER:
        return 0
    if not last:
        x.kept_head = None
        x.kept_body = None
        x.last_cause = RESPONSE_TOO_LARGE
    x.drop_attempt()
    return pause_for(x, x.pause_for)


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
