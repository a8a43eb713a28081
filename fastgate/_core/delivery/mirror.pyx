"""Mirrors: copies of a request for another upstream, whose answers nobody gets.

Theory of operation. A copy begins after its original's request has gone out. Pieces of the body are passed to it as
they come; one that takes them more slowly than the original does, or has no connection yet after `MIRROR_BODY` bytes,
is given up, and so is one that has only part of a body when the original ends. It reads its answer to the end, so that
the connection can be used again. When nothing is left to pass on, what the mirror is around takes its place.
"""

from fastgate._core.delivery.tries cimport Upstreams, try_of
from fastgate._core.exchange.causes cimport STOPPED
from fastgate._core.exchange.exchange cimport (
    PHASE_DELIVERY,
    Around,
    Debt,
    Delivery,
    Exchange,
    NoClient,
    UpstreamSide,
    copy_of,
    new_place,
)
from fastgate._core.memory.hashing cimport fraction_of

from fastgate._core.exchange.timers import milliseconds

cdef enum:
    MIRROR_BODY = 1048576      # bytes of a body that wait for a mirror's connection

cdef int FED = new_place()


cdef class Fed(Debt):
    cdef int feed(self, bytes piece, bint complete) except -1:
        """More of the body for the copy too."""
        cdef Exchange copy = self.copy
        cdef UpstreamSide connection
        if complete:
            self.copy = None
        if copy is None or copy.over or copy.response_started:
            return 0
        copy.request_complete = complete
        if piece is not None:
            copy.keep(piece)
        connection = try_of(copy).connection
        if connection is not None:
            return copy.client_gone(STOPPED) if connection.write_paused else connection.send_body(piece, complete)
        return copy.client_gone(STOPPED) if copy.body_kept > MIRROR_BODY else 0

    cdef int settle(self, Exchange x, int cause) except -1:
        cdef Exchange copy = self.copy
        x.places[FED] = NULL
        self.copy = None
        # It has no use for half a body.
        return copy.client_gone(STOPPED) if copy is not None else 0


cdef class Mirrored(Around):
    """A delivery, and an upstream that gets a copy of its requests, or of a share of them."""

    def __init__(self, Delivery inner not None, Upstreams copies not None, *, sample=1.0, timeout=60.0):
        self.inner = inner
        # Also one that would put another in its place: what comes of the body later comes here.
        inner.enclose(self)
        self.copies = copies
        self.sample = sample
        self.timeout = milliseconds(timeout)

    cdef int begin(self, Exchange x) except -1:
        cdef Exchange copy
        cdef Fed fed
        if (self.sample < 1.0 and fraction_of(x.engine.random()) >= self.sample) or x.upgrading:
            self.step_aside(x)
            return self.inner.begin(x)
        copy = copy_of(x, NoClient.__new__(NoClient))
        copy.total_due = x.engine.wheel.now + self.timeout
        x.engine.slab.mirrored += 1
        if x.request_complete:
            self.step_aside(x)
        else:
            fed = Fed.__new__(Fed)
            fed.copy = copy
            x.places[FED] = <void*>fed
            x.owe(fed)
        self.inner.begin(x)
        # The original may be over by now, and with it a copy that had only half a body.
        if not copy.over:
            copy.phase = PHASE_DELIVERY
            copy.delivery = self.copies
            self.copies.begin(copy)
        return 0

    cdef int more(self, Exchange x, bytes piece, bint complete) except -1:
        cdef Fed fed = <Fed>x.places[FED] if x.places[FED] != NULL else None
        if complete:
            self.step_aside(x)
        if fed is not None:
            if complete and fed.copy is not None:
                fed.copy.request.trailers = x.request.trailers
            fed.feed(piece, complete)
        return self.inner.more(x, piece, complete)

    cdef int step_aside(self, Exchange x) except -1:
        """Nothing is left to do for it, but what is around it."""
        if self.outer is None:
            x.delivery = self.inner
        return 0
