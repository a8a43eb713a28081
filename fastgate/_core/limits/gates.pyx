"""The limits at a route's door: rates, and how many requests may be under way at once.

Theory of operation
-------------------
**Rates.** A route has a tuple of `RateLimit`; every one must admit the request. They are asked in order, those that
count by identity after authentication; each takes what it admits, and when one refuses, those before it are given back
what they took: a request that is refused by one counts in none. One that authentication refuses stays counted, so that
guessing passwords costs. What is left of each is kept in ``quotas`` for the fields of the answer
(draft-ietf-httpapi-ratelimit-headers). A limit on trial (``dry_run``) counts what it would have refused and is not told
to the client.

**Concurrency.** A request that is admitted counts in one word of shared memory that only this worker writes; ``share``
points at it until `finish` takes it back, so that the counts of a worker that is killed can be wiped. A request that
may wait stands in the worker's queue for its key, and counts as waiting in the same word. It is tried again when a
request of this worker with the same key ends, and, for what other workers let go, on each turn of the timer wheel.

Cost: a rate limit is one hash and one check in shared memory; a concurrency limit one lock that is hardly ever taken.
"""

from collections import deque

from libc.stdint cimport int64_t, uint32_t, uint64_t

from fastgate._core.memory.buffer cimport Buffer, put, put_bytes, put_number
from fastgate._core.exchange.causes cimport CONCURRENCY_FULL, FAILED_TIMEOUT, NO_FAILURE, RATE_LIMITED, outcomes
from fastgate._core.exchange.worker cimport Engine
from fastgate._core.exchange.exchange cimport ENDED, PASSED, PHASE_QUEUE, PHASE_REQUEST, Exchange, Gate, Quota
from fastgate._core.exchange.chain cimport advance
from fastgate._core.limits.request_key cimport find_key
from fastgate._core.limits.rate cimport Verdict
from fastgate._core.exchange.route cimport (
    MAX_LIMITS,
    OWN_QUOTA,
    OWN_QUOTA_LIMIT,
    OWN_QUOTA_POLICY,
    OWN_QUOTA_REMAINING,
    OWN_QUOTA_RESET,
    ConcurrencyLimit,
    RateLimit,
)

cdef extern from "memory/atomics.h" nogil:
    uint64_t monotonic_ns()


# -- rates

# Not in the .pxd: `exchange`, which has the base class, imports this module, and with it all that stands there.
cdef class RateLimits(Gate):
    """The rate limits of a route from ``first`` to before ``end``: those that are asked at one place of the chain."""
    cdef int first
    cdef int end

    def __init__(self, int first, int end):
        if not 0 <= first < end <= MAX_LIMITS:
            raise ValueError(f"a route has at most {MAX_LIMITS} rate limits")
        self.first = first
        self.end = end

    cdef int enter(self, Exchange x) except -1:
        cdef tuple limits = x.route.limits
        cdef uint64_t now = monotonic_ns()
        cdef Verdict verdict
        cdef RateLimit limit
        cdef Quota* quota
        cdef int i
        for i in range(self.first, self.end):
            limit = <RateLimit>limits[i]
            quota = &x.quotas[i]
            find_key(x, limit.key, limit.identity, &quota.key)
            limit.limit.check(quota.key, now, &verdict)
            quota.remaining = verdict.remaining
            quota.reset = verdict.reset_ms
            # A limit on trial that was exceeded has taken nothing.
            quota.taken = verdict.admitted
            x.quota_count = i + 1
            if verdict.admitted:
                continue
            if limit.dry_run:
                x.engine.slab.rate_exceeded += 1
                continue
            give_back(x, now)
            x.refused_for = seconds(verdict.retry_ms)
            x.engine.slab.rate_limited += 1
            x.refuse(RATE_LIMITED)
            return ENDED
        return PASSED


cdef int give_back(Exchange x, uint64_t now) except -1:
    """A request that one limit refuses counts in none."""
    cdef int i
    for i in range(x.quota_count):
        if x.quotas[i].taken:
            (<RateLimit>x.route.limits[i]).limit.give_back(x.quotas[i].key, now)
    return 0


cdef int64_t seconds(int64_t milliseconds) noexcept:
    """Rounded up, at least one: who comes back then is admitted."""
    return (milliseconds + 999) // 1000 if milliseconds > 1000 else 1


cdef int put_quotas(Exchange x, uint32_t withheld, Buffer* buffer) except -1:
    """RateLimit-Policy and RateLimit, and the older fields for the limit that has least left."""
    cdef RateLimit limit
    cdef int i
    cdef int tightest = -1
    cdef bint begun = False
    cdef bint legacy = False
    for i in range(x.quota_count):
        limit = <RateLimit>x.route.limits[i]
        if limit.dry_run:
            continue
        if tightest < 0 or x.quotas[i].remaining < x.quotas[tightest].remaining:
            tightest = i
        legacy |= limit.legacy_headers
        if withheld & OWN_QUOTA_POLICY:
            continue
        if begun:
            put(buffer, b", ", 2)
        else:
            put(buffer, b"RateLimit-Policy: ", 18)
            begun = True
        put_bytes(buffer, limit.policy)
    if tightest < 0:
        return 0
    if begun:
        put(buffer, b"\r\n", 2)
    if not withheld & OWN_QUOTA:
        put_remaining(x, buffer)
    if legacy:
        limit = <RateLimit>x.route.limits[tightest]
        if not withheld & OWN_QUOTA_LIMIT:
            put(buffer, b"X-RateLimit-Limit: ", 19)
            put_bytes(buffer, limit.quota)
            put(buffer, b"\r\n", 2)
        if not withheld & OWN_QUOTA_REMAINING:
            put(buffer, b"X-RateLimit-Remaining: ", 23)
            put_number(buffer, x.quotas[tightest].remaining)
            put(buffer, b"\r\n", 2)
        if not withheld & OWN_QUOTA_RESET:
            put(buffer, b"X-RateLimit-Reset: ", 19)
            put_number(buffer, (x.quotas[tightest].reset + 999) // 1000)
            put(buffer, b"\r\n", 2)
    return 0


cdef int put_remaining(Exchange x, Buffer* buffer) except -1:
    """RateLimit: what each limit has left."""
    cdef RateLimit limit
    cdef bint begun = False
    cdef int i
    put(buffer, b"RateLimit: ", 11)
    for i in range(x.quota_count):
        limit = <RateLimit>x.route.limits[i]
        if limit.dry_run:
            continue
        if begun:
            put(buffer, b", ", 2)
        begun = True
        put_bytes(buffer, limit.name)
        put(buffer, b";r=", 3)
        put_number(buffer, x.quotas[i].remaining)
        put(buffer, b";t=", 3)
        put_number(buffer, (x.quotas[i].reset + 999) // 1000)
    put(buffer, b"\r\n", 2)
    return 0


# -- concurrency

cdef class ConcurrencyGate(Gate):
    """The concurrency limit of a route."""

    cdef int enter(self, Exchange x) except -1:
        """In, into the queue, or refused."""
        cdef ConcurrencyLimit limit = x.route.concurrency
        find_key(x, limit.key, limit.identity, &x.share_key)
        if x.share_key not in x.engine.queues and limit.shares.acquire(x.share_key, &x.share):
            return PASSED
        if limit.shares.enter_queue(x.share_key, &x.share):
            x.queued = True
            x.phase = PHASE_QUEUE
            x.engine.queues.setdefault(x.share_key, deque()).append(x)
            x.wait(limit.queue_timeout)
            return ENDED
        x.share = NULL
        x.engine.slab.concurrency_limited += 1
        x.refuse(CONCURRENCY_FULL)
        return ENDED


cdef int leave_share(Exchange x) except -1:
    """The exchange is over, or no longer waits: its place is free."""
    cdef ConcurrencyLimit limit = x.route.concurrency
    cdef int64_t* share = x.share
    cdef uint64_t key = x.share_key
    x.share = NULL
    if x.queued:
        x.queued = False
        limit.shares.leave_queue(share)
        queue = x.engine.queues.get(key)
        if queue is not None and x in queue:
            queue.remove(x)
            if not queue:
                del x.engine.queues[key]
        return 0
    if x.response_at or outcomes[x.cause].failure != NO_FAILURE:
        limit.shares.sample(share, x.ended, (x.response_at or x.ended) - x.forwarded_at, overloaded(x))
    limit.shares.release(share)
    if x.engine.queues and key in x.engine.queues:
        # Not from here: who is let in may be over before this one is.
        x.engine.loop.call_soon(x.engine.serve_queue, key)
    return 0


cdef bint overloaded(Exchange x) noexcept:
    """Whether an exchange ended as one does where there is too much to do."""
    return outcomes[x.cause].failure == FAILED_TIMEOUT or x.status == 503 or x.status == 429


cdef int serve_queue(Engine engine, uint64_t key) except -1:
    """Lets in who has waited longest for this key, as many as there is room for."""
    cdef Exchange x
    cdef ConcurrencyLimit limit
    queue = engine.queues.get(key)
    while queue:
        x = <Exchange>queue[0]
        limit = x.route.concurrency
        if not limit.shares.promote(x.share):
            return 0
        queue.popleft()
        x.queued = False
        x.due = 0
        x.wait(0)
        x.phase = PHASE_REQUEST
        advance(x)
    if queue is not None and engine.queues.get(key) is queue:
        # Not another one, which was begun when this one was empty.
        del engine.queues[key]
    return 0


cdef int serve_queues(Engine engine) except -1:
    """For every key: other workers may have made room."""
    for key in list(engine.queues):
        serve_queue(engine, key)
    return 0
