"""The limits at a route's door: rates, and how many requests may be under way at once.

Theory of operation
-------------------
**Rates.** A route has a tuple of `RateLimit`; every one must admit the request. They are asked in order, those that
count by identity after authentication; each takes what it admits, and when one refuses, those before it are given back
what they took: a request that is refused by one counts in none. One that authentication refuses stays counted, so that
guessing passwords costs. What is left of each is kept in `Quotas`, which is owed to the exchange, for the fields of the
answer (draft-ietf-httpapi-ratelimit-headers), which `QuotaStamp` puts. A limit on trial (``dry_run``) counts what it
would have refused and is not told to the client.

**Concurrency.** A request that is admitted counts in one word of shared memory that only this worker writes; an
`Admission`, a debt of the exchange, points at it until it is settled, so that the counts of a worker that is killed can
be wiped. A request that may wait stands in the worker's queue for its key, and counts as waiting in the same word. It
is tried again when a request of this worker with the same key ends, and, for what other workers let go, on each turn of
the timer wheel.

Both kinds of debt come from lists of those that are settled: nothing is made for a request.

Cost: a rate limit is one hash and one check in shared memory; a concurrency limit one lock that is hardly ever taken.
"""

from collections import deque

from libc.stdint cimport int64_t, uint32_t, uint64_t

from fastgate._core.exchange.causes cimport (
    CONCURRENCY_FULL,
    FAILED_TIMEOUT,
    NO_FAILURE,
    QUEUE_TIMEOUT,
    RATE_LIMITED,
    outcomes,
)
from fastgate._core.exchange.chain cimport advance
from fastgate._core.exchange.exchange cimport (
    ENDED,
    LATER,
    PASSED,
    PHASE_LATER,
    PHASE_REQUEST,
    Exchange,
    Gate,
    Spares,
    Stamp,
    new_place,
)
from fastgate._core.exchange.request_key cimport RequestKey, find_key
from fastgate._core.exchange.route cimport (
    OWN_QUOTA,
    OWN_QUOTA_LIMIT,
    OWN_QUOTA_POLICY,
    OWN_QUOTA_REMAINING,
    OWN_QUOTA_RESET,
)
from fastgate._core.exchange.worker cimport Engine, new_part
from fastgate._core.limits.concurrency cimport Concurrency
from fastgate._core.limits.rate cimport Limit, Verdict
from fastgate._core.memory.buffer cimport Buffer, put, put_bytes, put_number

from fastgate._core.exchange.timers import milliseconds

cdef extern from "memory/atomics.h" nogil:
    uint64_t monotonic_ns()


cdef enum:
    MAX_LIMITS = 8             # rate limits of one route

cdef int QUOTAS = new_place()
cdef int ADMISSION = new_place()   # only while it waits
cdef int QUEUES = new_part()


cdef class RateLimit:
    """A rate limit of one route. ``identity`` names the count, so that it stays the same when the numbers change."""

    def __init__(
        self, Limit limit, RequestKey key, *, identity, name, quota, window, burst=0, dry_run=False,
        legacy_headers=False
    ):
        self.limit = limit
        self.key = key
        self.identity = identity.encode()
        self.dry_run = dry_run
        self.legacy_headers = legacy_headers
        self.name = b'"%b"' % name.encode("ascii")
        self.policy = b"%b;q=%d;w=%d" % (self.name, quota, window) + (b";burst=%d" % burst if burst else b"")
        self.quota = b"%d" % quota


cdef class ConcurrencyLimit:
    """How many requests of a route may be under way at once. ``queue_timeout`` is seconds."""

    def __init__(self, Concurrency shares, RequestKey key, *, identity, queue_timeout=1.0):
        self.shares = shares
        self.key = key
        self.identity = identity.encode()
        self.queue_timeout = milliseconds(queue_timeout)


# -- rates

cdef Spares spare_quotas = Spares.__new__(Spares)


cdef Quotas quotas_of(Exchange x, tuple limits):
    """What is left of the limits of its route: that of its gates so far, or one that nothing was asked of yet."""
    cdef Quotas quotas
    if x.places[QUOTAS] != NULL:
        return <Quotas>x.places[QUOTAS]
    quotas = <Quotas>spare_quotas.take()
    if quotas is None:
        quotas = Quotas.__new__(Quotas)
    quotas.limits = limits
    quotas.count = 0
    x.places[QUOTAS] = <void*>quotas
    x.owe(quotas)
    return quotas


cdef class Quotas(Debt):
    cdef int settle(self, Exchange x, int cause) except -1:
        x.places[QUOTAS] = NULL
        self.limits = None
        return spare_quotas.give(self)

    cdef int give_back(self, uint64_t now) except -1:
        """A request that one limit refuses counts in none."""
        cdef int i
        for i in range(self.count):
            if self.items[i].taken:
                (<RateLimit>self.limits[i]).limit.correct(self.items[i].key, 1, 0, now, now)
        return 0


cdef class RateLimits(Gate):
    def __init__(self, limits, int first, int end):
        self.limits = tuple(limits)
        if not 0 <= first < end <= len(self.limits) <= MAX_LIMITS:
            raise ValueError(f"a route has at most {MAX_LIMITS} rate limits")
        self.first = first
        self.end = end

    cdef int enter(self, Exchange x) except -1:
        cdef Quotas quotas = quotas_of(x, self.limits)
        cdef uint64_t now = monotonic_ns()
        cdef Verdict verdict
        cdef RateLimit limit
        cdef Quota* quota
        cdef int i
        for i in range(self.first, self.end):
            limit = <RateLimit>self.limits[i]
            quota = &quotas.items[i]
            find_key(x, limit.key, limit.identity, &quota.key)
            limit.limit.check(quota.key, 1, now, &verdict)
            quota.remaining = verdict.remaining
            quota.reset = verdict.reset_ms
            # A limit on trial that was exceeded has taken nothing.
            quota.taken = verdict.admitted
            quotas.count = i + 1
            if verdict.admitted:
                continue
            if limit.dry_run:
                x.engine.slab.rate_exceeded += 1
                continue
            quotas.give_back(now)
            x.refused_for = seconds(verdict.retry_ms)
            x.engine.slab.rate_limited += 1
            x.refuse(RATE_LIMITED)
            return ENDED
        return PASSED


cdef int64_t seconds(int64_t ms) noexcept:
    """Rounded up, at least one: who comes back then is admitted."""
    return (ms + 999) // 1000 if ms > 1000 else 1


cdef dict _NAMES = dict.fromkeys((
    b"ratelimit", b"ratelimit-policy", b"x-ratelimit-limit", b"x-ratelimit-remaining", b"x-ratelimit-reset",
))


cdef class QuotaStamp(Stamp):
    def __cinit__(self):
        self.own = OWN_QUOTA | OWN_QUOTA_LIMIT | OWN_QUOTA_POLICY | OWN_QUOTA_REMAINING | OWN_QUOTA_RESET

    cdef list stamp(self, Exchange x, list extra, uint32_t withheld, Buffer* buffer):
        if x.places[QUOTAS] != NULL:
            put_quotas(<Quotas>x.places[QUOTAS], withheld, buffer)
        return extra

    cdef int name(self, Exchange x, dict names) except -1:
        if x.places[QUOTAS] != NULL:
            names.update(_NAMES)
        return 0


cdef int put_quotas(Quotas quotas, uint32_t withheld, Buffer* buffer) except -1:
    """RateLimit-Policy and RateLimit, and the older fields for the limit that has least left."""
    cdef RateLimit limit
    cdef int i
    cdef int tightest = -1
    cdef bint begun = False
    cdef bint legacy = False
    for i in range(quotas.count):
        limit = <RateLimit>quotas.limits[i]
        if limit.dry_run:
            continue
        if tightest < 0 or quotas.items[i].remaining < quotas.items[tightest].remaining:
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
        put_remaining(quotas, buffer)
    if legacy:
        limit = <RateLimit>quotas.limits[tightest]
        if not withheld & OWN_QUOTA_LIMIT:
            put(buffer, b"X-RateLimit-Limit: ", 19)
            put_bytes(buffer, limit.quota)
            put(buffer, b"\r\n", 2)
        if not withheld & OWN_QUOTA_REMAINING:
            put(buffer, b"X-RateLimit-Remaining: ", 23)
            put_number(buffer, quotas.items[tightest].remaining)
            put(buffer, b"\r\n", 2)
        if not withheld & OWN_QUOTA_RESET:
            put(buffer, b"X-RateLimit-Reset: ", 19)
            put_number(buffer, (quotas.items[tightest].reset + 999) // 1000)
            put(buffer, b"\r\n", 2)
    return 0


cdef int put_remaining(Quotas quotas, Buffer* buffer) except -1:
    """RateLimit: what each limit has left."""
    cdef RateLimit limit
    cdef bint begun = False
    cdef int i
    put(buffer, b"RateLimit: ", 11)
    for i in range(quotas.count):
        limit = <RateLimit>quotas.limits[i]
        if limit.dry_run:
            continue
        if begun:
            put(buffer, b", ", 2)
        begun = True
        put_bytes(buffer, limit.name)
        put(buffer, b";r=", 3)
        put_number(buffer, quotas.items[i].remaining)
        put(buffer, b";t=", 3)
        put_number(buffer, (quotas.items[i].reset + 999) // 1000)
    put(buffer, b"\r\n", 2)
    return 0


# -- concurrency

cdef Spares spare_admissions = Spares.__new__(Spares)


cdef class Queues(Part):
    """Those of one worker that wait under concurrency limits."""

    def __cinit__(self, Engine engine):
        self.engine = engine
        self.waiting = {}

    cdef int turned(self) except -1:
        """For every key: other workers may have made room."""
        for key in list(self.waiting):
            self.serve(key)
        return 0

    cdef int enter(self, Admission admission) except -1:
        queue = self.waiting.get(admission.key)
        if queue is None:
            queue = self.waiting[admission.key] = deque()
            if len(self.waiting) == 1:
                self.engine.turning.append(self)
        queue.append(admission)
        return 0

    cdef int leave(self, Admission admission) except -1:
        queue = self.waiting.get(admission.key)
        if queue is not None and admission in queue:
            queue.remove(admission)
            if not queue:
                self.drop(admission.key)
        return 0

    cdef int drop(self, object key) except -1:
        del self.waiting[key]
        if not self.waiting:
            self.engine.turning.remove(self)
        return 0

    cpdef int serve(self, uint64_t key) except -1:
        """Lets in who has waited longest for this key, as many as there is room for."""
        cdef Admission admission
        cdef Exchange x
        queue = self.waiting.get(key)
        while queue:
            admission = <Admission>queue[0]
            if not admission.limit.shares.promote(admission.share):
                return 0
            queue.popleft()
            x = admission.exchange
            admission.exchange = None
            x.later = None
            x.due = 0
            x.wait(0)
            x.phase = PHASE_REQUEST
            advance(x)
        if queue is not None and self.waiting.get(key) is queue:
            # Not another one, which was begun when this one was empty.
            self.drop(key)
        return 0


cdef class ConcurrencyGate(Gate):
    def __init__(self, ConcurrencyLimit limit):
        self.limit = limit

    cdef int enter(self, Exchange x) except -1:
        """In, into the queue, or refused."""
        cdef ConcurrencyLimit limit = self.limit
        cdef Queues queues = <Queues>x.engine.parts[QUEUES]
        cdef Admission admission
        cdef int64_t* share = NULL
        cdef uint64_t key
        find_key(x, limit.key, limit.identity, &key)
        if (queues is None or key not in queues.waiting) and limit.shares.acquire(key, &share):
            owe_share(x, limit, key, share)
            return PASSED
        if limit.shares.enter_queue(key, &share):
            if queues is None:
                queues = x.engine.parts[QUEUES] = Queues.__new__(Queues, x.engine)
            admission = owe_share(x, limit, key, share)
            admission.exchange = x
            queues.enter(admission)
            x.places[ADMISSION] = <void*>admission
            x.later = self
            x.phase = PHASE_LATER
            x.wait(limit.queue_timeout)
            return LATER
        x.engine.slab.concurrency_limited += 1
        x.refuse(CONCURRENCY_FULL)
        return ENDED

    cdef int leave(self, Exchange x) except -1:
        """Its turn must not come any more: policies look at an error, or the client is gone."""
        cdef Admission admission = <Admission>x.places[ADMISSION]
        (<Queues>x.engine.parts[QUEUES]).leave(admission)
        return admission.leave_queue()

    cdef int late(self, Exchange x) except -1:
        return QUEUE_TIMEOUT


cdef Admission owe_share(Exchange x, ConcurrencyLimit limit, uint64_t key, int64_t* share):
    cdef Admission admission = <Admission>spare_admissions.take()
    if admission is None:
        admission = Admission.__new__(Admission)
    admission.limit = limit
    admission.key = key
    admission.share = share
    x.owe(admission)
    return admission


cdef class Admission(Debt):
    cdef int settle(self, Exchange x, int cause) except -1:
        """The exchange is over: its place is free."""
        cdef ConcurrencyLimit limit = self.limit
        cdef Queues queues = <Queues>x.engine.parts[QUEUES]
        if x.places[ADMISSION] == <void*>self:
            x.places[ADMISSION] = NULL
        if self.share != NULL:
            if x.response_at or outcomes[cause].failure != NO_FAILURE:
                limit.shares.sample(self.share, x.ended, (x.response_at or x.ended) - x.forwarded_at, overloaded(x))
            limit.shares.release(self.share)
            self.share = NULL
            if queues is not None and self.key in queues.waiting:
                # Not from here: who is let in may be over before this one is.
                x.engine.loop.call_soon(queues.serve, self.key)
        self.limit = None
        return spare_admissions.give(self)

    cdef int leave_queue(self) except -1:
        self.exchange = None
        self.limit.shares.leave_queue(self.share)
        self.share = NULL
        return 0


cdef bint overloaded(Exchange x) noexcept:
    """Whether an exchange ended as one does where there is too much to do."""
    return outcomes[x.cause].failure == FAILED_TIMEOUT or x.status == 503 or x.status == 429
