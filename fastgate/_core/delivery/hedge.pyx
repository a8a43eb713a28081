"""Hedges: a second target is asked when the first has not answered after a while, and the first answer counts.

Theory of operation
-------------------
A hedge is a copy of the exchange with one try (`SecondTry`), begun `hedge_delay` after the first one. It counts among
the tries, and its target is one of those that have been asked, whatever comes of it. When the hedge's answer comes
first, the original *adopts* its connection and response head and goes on as if it had asked that target itself. A
failure, or an answer that is to be tried again, on either side leaves it to the other; when both have failed, the last
failure is dealt with as any.

A copy ends in one way, `finish`, and its client, a `HedgeClient`, tells the original.
"""

from libc.stdint cimport uint64_t

from fastgate._core.delivery.retry cimport RetryRule
from fastgate._core.delivery.tries cimport (
    ASKING,
    KEEPING,
    LEFT_TO_HEDGE,
    Changes,
    Try,
    Upstream,
    Upstreams,
    remember,
    try_of,
)
from fastgate._core.exchange.causes cimport NO_FAILURE, OK, STOPPED
from fastgate._core.exchange.exchange cimport PHASE_DELIVERY, Exchange, NoClient, copy_of
from fastgate._core.exchange.head cimport Head


cdef class HedgeClient(NoClient):
    cdef Exchange original             # None: it has what it wants of the copy, or is over
    cdef Hedged hedged

    cdef int settled(self, Exchange x) except -1:
        cdef Exchange original = self.original
        self.exchange = None
        self.original = None
        return self.hedged.hedge_over(original, x) if original is not None else 0


cdef class Hedged(Upstreams):
    """Upstreams of which a second target is asked when the first has not answered after a while."""

    def __init__(self, Upstream upstream, RetryRule rule not None, *, connect_timeout=2.0, Changes changes=None):
        Upstreams.__init__(self, upstream, rule, connect_timeout=connect_timeout, changes=changes)
        self.second = SecondTry(upstream, rule, connect_timeout=connect_timeout, single=True)

    cdef int ask(self, Exchange x, Try t) except -1:
        if t.number == 0 and x.idempotent and x.request_complete and not x.upgrading and t.hedge is None:
            t.stop_pause()
            t.pause = x.engine.loop.call_later(self.rule.hedge_delay * 0.001, self.hedge_now, x, x.generation)
        return Upstreams.ask(self, x, t)

    def hedge_now(self, Exchange x, uint64_t generation):
        cdef Try t
        if x.generation == generation:
            t = try_of(x)
            t.pause = None
            if t.state == ASKING:
                self.begin_hedge(x, t)

    cdef int begin_hedge(self, Exchange x, Try t) except -1:
        """Asks a second target, if there is one and the retry budget has a token.

        Not for a client that a connection to an upstream knows: no other one would.
        """
        cdef HedgeClient client
        cdef Exchange copy
        cdef Try other
        if t.hedge is not None or t.target is None or x.body_lost or x.client.peer.reserved is not None:
            return 0
        if not self.upstream.has_untried(t) or not self.upstream.affords_retry(self.rule.budget):
            return 0
        client = HedgeClient.__new__(HedgeClient)
        client.original = x
        client.hedged = self
        # It has no time of its own: that of the original ends both.
        copy = copy_of(x, client)
        copy.phase = PHASE_DELIVERY
        copy.delivery = self.second
        other = try_of(copy)
        other.by = self.second
        other.number = t.number
        other.tried = [t.target]
        t.hedge = copy
        t.number += 1
        x.tries += 1
        x.engine.slab.hedges += 1
        return self.second.ask(copy, other)

    cdef int hedge_over(self, Exchange x, Exchange copy) except -1:
        """The copy has come to nothing: a failure that was left to it is dealt with now."""
        cdef Try t = try_of(x)
        if t.hedge is copy:
            t.hedge = None
            if t.state == ASKING and t.target is None:
                return self.next_step(x, t, t.last_cause)
        return 0

    cdef int adopt(self, Exchange x, Exchange copy, bytes piece, bint last) except -1:
        """The hedge has its answer first: its try becomes the original's."""
        cdef Try t = try_of(x)
        cdef Try other = try_of(copy)
        cdef Head response
        cdef bint again = self.rule.on.statuses[copy.status] != 0
        if t.state == KEEPING and not again:
            # The original's answer was to be tried again, and this one is better.
            t.state = ASKING
        if t.state != ASKING or (again and t.target is not None):
            self.upstream.judge(copy, other, NO_FAILURE)
            if other.target is not None:
                remember(t, other.target)
            return copy.finish(OK)
        t.stop_pause()
        self.drop(x, t)
        t.take_over(x, other, self)
        copy.source = None
        response = x.response
        x.response = copy.response
        copy.response = response
        x.target_name = copy.target_name
        x.tries = copy.tries
        x.connected_at = copy.connected_at
        t.hedge = None
        (<HedgeClient>copy.client).original = None
        copy.finish(OK)
        return self.answered(x, piece, last)

    cdef bint left_to_another(self, Exchange x, Try t, int cause) except -1:
        return t.hedge is not None

    cdef bint keeps(self, Exchange x, Try t) except -1:
        if t.hedge is not None and t.state == ASKING and x.request_complete:
            t.pause_for = LEFT_TO_HEDGE
            return True
        return Upstreams.keeps(self, x, t)

    cdef int give(self, Exchange x, Try t, bytes piece, bint last) except -1:
        t.stop_pause()
        self.end_hedge(t)
        return Upstreams.give(self, x, t, piece, last)

    cdef int leave(self, Exchange x) except -1:
        self.end_hedge(try_of(x))
        return Upstreams.leave(self, x)

    cdef int move(self, Exchange x, Exchange to) except -1:
        self.end_hedge(try_of(x))
        return Upstreams.move(self, x, to)

    cdef int end_hedge(self, Try t) except -1:
        cdef Exchange copy = t.hedge
        if copy is not None:
            t.hedge = None
            (<HedgeClient>copy.client).original = None
            copy.client_gone(STOPPED)
        return 0


cdef class SecondTry(Upstreams):
    """What the copy does that asks the second target."""

    cdef int answered(self, Exchange x, bytes piece, bint last) except -1:
        cdef HedgeClient client = <HedgeClient>x.client
        x.status = x.response.status
        if last:
            self.done(x, try_of(x))
        if client.original is None:
            return x.finish(OK)
        return client.hedged.adopt(client.original, x, piece, last)

    cdef int failed(self, Exchange x, int cause) except -1:
        cdef Exchange original
        cdef Try t
        if x.over:
            return 0
        original = (<HedgeClient>x.client).original
        t = try_of(x)
        if original is not None and t.target is not None:
            remember(try_of(original), t.target)
        return Upstreams.failed(self, x, cause)
