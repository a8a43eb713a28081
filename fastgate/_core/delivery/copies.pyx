"""Copies of a request: a mirror to another upstream, whose answer nobody gets, and a hedge to a second target.

Theory of operation
-------------------
A copy is an exchange of its own whose client is `Nobody`: it has its own attempt and response, shares nothing that
changes with its original, and is neither counted as a request nor logged. So it can fail, stall or outlive its
original in every way without touching it.

A **mirror** begins after its original's request has gone out. Pieces of the body are passed to it as they come; a
mirror that takes them more slowly than the original does, or has no connection yet after `MIRROR_BODY` bytes, is given
up. It reads its answer to the end, so that the connection can be used again.

A **hedge** is begun when the first target has not answered after a while. Whichever answer comes first wins: when it
is the hedge's, the original *adopts* the copy's attempt and response head and goes on as if it had asked that target
itself. A failure, or an answer that is to be tried again, on either side leaves it to the other; when both have failed,
the last failure is dealt with as any.
"""

from libc.string cimport memcpy

from fastgate._core.exchange.causes cimport NO_FAILURE, OK, STOPPED
from fastgate._core.exchange.exchange cimport (
    PHASE_KEEPING,
    PHASE_UPSTREAM,
    Attempt,
    ClientSide,
    Exchange,
    Upstream,
    UpstreamSide,
    take_exchange,
)
from fastgate._core.exchange.head cimport Head
from fastgate._core.delivery.tries cimport begin_try, next_step

from fastgate._core.exchange.timers import milliseconds

cdef enum:
    MIRROR_BODY = 1048576      # bytes of a body that wait for a mirror's connection


cdef class Mirror:
    """Where copies of a route's requests go, and what share of them."""

    def __init__(self, Upstream upstream, *, sample=1.0, timeout=60.0):
        self.upstream = upstream
        self.sample = sample
        self.timeout = milliseconds(timeout)


# Not in the .pxd: `exchange`, which has the base class, imports this module, and with it all that stands there.
cdef class Nobody(ClientSide):
    cdef int settled(self, Exchange x) except -1:
        self.exchange = None
        return 0


cdef Exchange copy_of(Exchange x, Upstream upstream):
    """The same request once more, nothing sent yet."""
    cdef Exchange copy = take_exchange(x.engine)
    cdef Nobody client = Nobody.__new__(Nobody)
    client.engine = x.engine
    client.exchange = copy
    client.scheme = x.client.scheme
    client.local_port = x.client.local_port
    client.trusted = x.client.trusted
    client.trusted_by = x.client.trusted_by
    client.peer_address = x.client.peer_address
    copy.is_copy = True
    copy.client = client
    copy.runtime = x.runtime
    copy.route = x.route
    copy.upstream = upstream
    copy.request.copy(x.request)
    copy.entry = x.entry
    copy.found = x.found
    copy.host = x.host
    copy.host_length = x.host_length
    copy.path = x.path
    copy.path_length = x.path_length
    copy.path_owner = x.path_owner
    copy.forward_path = x.forward_path
    copy.query = x.query
    copy.query_owner = x.query_owner
    copy.query_length = x.query_length
    copy.has_query = x.has_query
    copy.client_ip = x.client_ip
    copy.hops = x.hops
    copy.identity = x.identity
    memcpy(copy.id, x.id, x.id_length)
    copy.id_length = x.id_length
    copy.is_head = x.is_head
    copy.is_get = x.is_get
    copy.idempotent = x.idempotent
    copy.request_complete = x.request_complete
    copy.buffering = x.buffering
    copy.body = list(x.body) if x.body is not None else None
    copy.body_kept = x.body_kept
    copy.body_lost = x.body_lost
    copy.body_bytes = x.body_bytes
    copy.request_extra = list(x.request_extra) if x.request_extra is not None else None
    copy.request_withheld = x.request_withheld
    copy.head_at = x.head_at
    copy.forwarded_at = x.forwarded_at
    x.engine.copies.add(copy)
    return copy


cdef int copy_failed(Exchange copy, int cause) except -1:
    cdef Exchange x = copy.original
    copy.original = None
    copy.finish(cause)
    if x is not None and x.hedge is copy:
        x.hedge = None
        if x.phase == PHASE_UPSTREAM and x.attempt.target is None:
            return next_step(x, x.last_cause)
    return 0


# -- mirrors

cdef int begin_mirrored(Exchange x) except -1:
    """The first try, and then that of the copy, if this request is one of the sample."""
    cdef Mirror mirror = <Mirror>x.route.mirror
    cdef Exchange copy
    if mirror.sample < 1.0 and (x.engine.random() >> 11) * (1.0 / 9007199254740992.0) >= mirror.sample or x.upgrading:
        return begin_try(x)
    copy = copy_of(x, <Upstream>mirror.upstream)
    copy.total_due = x.engine.wheel.now + mirror.timeout
    if not x.request_complete:
        x.mirror = copy
    x.engine.slab.mirrored += 1
    begin_try(x)
    # The original may be over by now, and with it a copy that had only half a body.
    if not copy.over:
        begin_try(copy)
    return 0


cdef int feed_mirror(Exchange x, bytes piece, bint complete) except -1:
    """More of the body for the copy too."""
    cdef Exchange copy = x.mirror
    cdef UpstreamSide connection = copy.attempt.connection
    if complete:
        x.mirror = None
    if copy.over or copy.response_started:
        return 0
    copy.request_complete = complete
    if piece is not None:
        copy.keep(piece)
    if connection is not None:
        if connection.write_paused:
            return copy.client_gone(STOPPED)
        return connection.send_body(piece, complete)
    if copy.body_kept > MIRROR_BODY:
        return copy.client_gone(STOPPED)
    return 0


# -- hedges

cdef int begin_hedge(Exchange x) except -1:
    """Asks a second target, if there is one and the retry budget has a token.

    Not for a client that a connection to an upstream knows: no other one would.
    """
    cdef Exchange copy
    if x.hedge is not None or x.attempt.target is None or x.body_lost or x.client.reserved is not None:
        return 0
    if not x.upstream.has_untried(x) or not x.upstream.affords_retry(x.route.retry.budget):
        return 0
    copy = copy_of(x, x.upstream)
    copy.original = x
    copy.total_due = x.total_due
    copy.tries = x.tries
    copy.tried = [x.attempt.target]
    x.hedge = copy
    x.engine.slab.hedges += 1
    return begin_try(copy)


cdef int adopt(Exchange copy, bytes piece, bint last) except -1:
    """The hedge has its answer first: its attempt becomes the original's."""
    cdef Exchange x = copy.original
    cdef Attempt attempt
    cdef Head response
    copy.status = copy.response.status
    if x.hedge is not copy:
        return copy_failed(copy, OK)
    if x.phase == PHASE_KEEPING and not x.route.retry.on.statuses[copy.status]:
        # The original's answer was to be tried again, and this one is better.
        x.phase = PHASE_UPSTREAM
    if x.response_started or x.phase != PHASE_UPSTREAM \
            or (x.route.retry.on.statuses[copy.status] and x.attempt.target is not None):
        copy.upstream.judge(copy, NO_FAILURE)
        return copy_failed(copy, OK)
    x.drop_attempt()
    attempt = x.attempt
    x.attempt = copy.attempt
    copy.attempt = attempt
    response = x.response
    x.response = copy.response
    copy.response = response
    if x.attempt.connection is not None:
        x.attempt.connection.exchange = x
    x.target_name = copy.target_name
    x.tries = copy.tries
    x.connected_at = copy.connected_at
    x.hedge = None
    copy.original = None
    copy.finish(OK)
    return x.response_arrived(piece, last)
