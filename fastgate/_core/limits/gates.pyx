"""The limits at a route's door: rates, and how many requests may be under way at once.

Theory of operation
-------------------
**Rates.** A route has a tuple of `RateLimit`, and a gate for each; every one must admit the request. They are asked in
order, those that count by identity after authentication; each takes what it admits, and when one refuses, those before
it are given back what they took: a request that is refused by one counts in none. One that authentication refuses stays
counted, so that guessing passwords costs. What is left of each is kept in `Quotas`, which the exchange remembers, for
the fields of the answer (draft-ietf-httpapi-ratelimit-headers), which `QuotaStamp` puts. A limit on trial (``dry_run``)
counts what it would have refused and is not told to the client.

**Concurrency.** A request that is admitted has a share; an `Admission`, a debt of the exchange, has it until it is
settled. A request that may wait stands in the worker's queue for its key, and in that of the store. It is tried again
when a request of this worker with the same key ends, and, for what other workers let go, on each turn of the timer
wheel.

**Stores.** Who counts is a store (memory/store.pyx). One that cannot tell at once is asked, and the exchange waits for
a `Question` as for any gate, without a task. It hears of the answer once; an exchange that has left, or was refused
meanwhile, is not touched any more, and a share that it was given is left at once. The first of a queue asks alone; the
others wait for its answer. A store that does not answer within `PATIENCE`, or says that it cannot, lets nobody in: the
request is refused, as it is where credentials cannot be checked, and the log says why, at most once in ten seconds.
Limits on trial let it pass.

`Quotas` stays with an exchange that is used again, an `Admission` comes from a list of those that are settled:
nothing is made for a request.

Cost, in shared memory: a rate limit is one hash and one check; a concurrency limit one lock that is hardly ever taken.
"""

from collections import deque

from libc.stdint cimport int64_t, uint32_t, uint64_t

from fastgate._core.exchange.causes cimport (
    CONCURRENCY_FULL,
    FAILED_TIMEOUT,
    LIMITS_UNAVAILABLE,
    NO_FAILURE,
    QUEUE_TIMEOUT,
    RATE_LIMITED,
    outcomes,
)
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
    advance,
    new_place,
    policy_failed,
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
from fastgate._core.memory.buffer cimport Buffer, put, put_bytes, put_number
from fastgate._core.memory.store cimport (
    ADMITTED,
    ASK,
    REFUSED,
    WAITING,
    Asker,
    RateCounter,
    ShareCounter,
    Verdict,
)

from fastgate._core.exchange.timers import milliseconds

cdef extern from "memory/atomics.h" nogil:
    uint64_t monotonic_ns()


cdef enum:
    MAX_LIMITS = 8             # rate limits of one route
    PATIENCE = 1000            # milliseconds for which the answer of a store is waited for

cdef int QUOTAS = new_place()
cdef int ADMISSION = new_place()   # only while it waits
cdef int QUEUES = new_part()


cdef class RateLimit:
    """A rate limit of one route."""

    def __init__(
        self, RateCounter counter, RequestKey key, *, name, quota, window, burst=0, dry_run=False, legacy_headers=False
    ):
        self.counter = counter
        self.key = key
        self.dry_run = dry_run
        self.legacy_headers = legacy_headers
        self.name = b'"%b"' % name.encode("ascii")
        self.policy = b"%b;q=%d;w=%d" % (self.name, quota, window) + (b";burst=%d" % burst if burst else b"")
        self.quota = b"%d" % quota


cdef class ConcurrencyLimit:
    """How many requests of a route may be under way at once. ``queue_timeout`` is seconds."""

    def __init__(self, ShareCounter shares, RequestKey key, *, queue_timeout=1.0):
        self.shares = shares
        self.key = key
        self.queue_timeout = milliseconds(queue_timeout)


# -- rates

cdef Quotas quotas_of(Exchange x):
    """What the limits of its route have said so far; made when it is first asked for."""
    cdef Quotas quotas
    if x.places[QUOTAS] != NULL:
        return <Quotas>x.places[QUOTAS]
    quotas = Quotas.__new__(Quotas)
    x.remember(quotas, QUOTAS)
    return quotas


cdef class Quotas(Facts):
    cdef void reset(self) noexcept:
        self.count = 0
        self.limits = None

    cdef int give_back(self) except -1:
        """A request that one limit refuses counts in none."""
        cdef Quota* quota
        cdef int i
        for i in range(self.count):
            quota = &self.items[i]
            if quota.taken:
                (<RateLimit>self.limits[i]).counter.correct(quota.key, 1, 0, quota.at, monotonic_ns())
        return 0


cdef class RateLimitGate(Gate):
    def __init__(self, limits, int number):
        self.limits = tuple(limits)
        if not 0 <= number < len(self.limits) <= MAX_LIMITS:
            raise ValueError(f"a route has at most {MAX_LIMITS} rate limits")
        self.number = number
        self.limit = self.limits[number]

    cdef int enter(self, Exchange x) except -1:
        cdef Quotas quotas = quotas_of(x)
        cdef RateLimit limit = self.limit
        cdef Quota* quota = &quotas.items[self.number]
        cdef Verdict verdict
        cdef int reply
        quotas.limits = self.limits
        quota.at = monotonic_ns()
        find_key(x, limit.key, limit.counter.secret, &quota.key)
        reply = limit.counter.check(quota.key, 1, quota.at, &verdict)
        if reply == ASK:
            return self.ask(x, quotas)
        return self.decide(x, quotas, reply, &verdict)

    cdef int decide(self, Exchange x, Quotas quotas, int reply, const Verdict* verdict) except -1:
        """In, or refused."""
        cdef Quota* quota = &quotas.items[self.number]
        quota.remaining = verdict.remaining
        quota.reset = verdict.reset_ms
        # A limit on trial that was exceeded has taken nothing.
        quota.taken = reply == ADMITTED
        quotas.count = self.number + 1
        if reply == ADMITTED:
            return PASSED
        if self.limit.dry_run:
            x.engine.slab.rate_exceeded += 1
            return PASSED
        quotas.give_back()
        x.refused_for = seconds(verdict.retry_ms)
        x.engine.slab.rate_limited += 1
        x.refuse(RATE_LIMITED)
        return ENDED

    cdef int ask(self, Exchange x, Quotas quotas) except -1:
        cdef RateQuestion question = RateQuestion.__new__(RateQuestion)
        cdef Quota* quota = &quotas.items[self.number]
        question.gate = self
        question.quotas = quotas
        question.key = quota.key
        question.at = quota.at
        quotas.question = question
        wait_for_answer(x, self, question)
        try:
            self.limit.counter.ask(quota.key, 1, quota.at, question)
        except Exception as error:
            question.told()
            return self.unanswered(x, error)
        return LATER

    cdef int unanswered(self, Exchange x, object error) except -1:
        """The store does not know. Of this limit nothing can be told in the answer."""
        say_unanswered(x, error)
        if self.limit.dry_run:
            quotas_of(x).items[self.number].taken = False
            return PASSED
        quotas_of(x).give_back()
        x.refuse(LIMITS_UNAVAILABLE)
        return ENDED

    cdef int leave(self, Exchange x) except -1:
        """The exchange is over, or refused, while the store is still asked: it counts, if the store says so."""
        cdef Quotas quotas = <Quotas>x.places[QUOTAS]
        quotas.question.leave()
        quotas.question = None
        return 0


# -- stores that answer later

cdef int wait_for_answer(Exchange x, Gate gate, Question question) except -1:
    question.x = x
    question.timer = x.engine.loop.call_later(PATIENCE / 1000, question.expire)
    x.later = gate
    x.phase = PHASE_LATER
    return x.wait(0)


cdef int say_unanswered(Exchange x, object error) except -1:
    return x.engine.say_full(
        "limits",
        f"limits cannot be checked, and requests under them are refused (503): {type(error).__name__}: {error}",
    )


cdef int go_on(Exchange x, int passage, uint64_t generation) except -1:
    """What follows the answer of a store, from the event loop."""
    try:
        if passage == PASSED:
            advance(x)
    except Exception as error:
        if x.generation != generation:
            raise
        policy_failed(x, error)
    return 0


cdef class Question(Asker):
    cdef Exchange told(self):
        """The exchange that waits, which goes on from here; None: it does not wait any more."""
        cdef Exchange x = self.x
        self.leave()
        if x is not None:
            x.later = None
            x.due = 0
            x.wait(0)
            x.phase = PHASE_REQUEST
        return x

    cdef int leave(self) except -1:
        """The answer does not matter any more."""
        self.x = None
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        return 0

    def expire(self):
        """The store has not answered in time."""
        if self.x is not None:
            self.given_up = True
            self.failed(TimeoutError(f"no answer within {PATIENCE} ms"))


cdef class RateQuestion(Question):
    cdef int rated(self, int reply, const Verdict* verdict) except -1:
        cdef Quotas quotas = self.quotas
        cdef Exchange x = self.told()
        if x is None:
            if self.given_up and reply == ADMITTED:
                # It was refused as nobody knew.
                self.gate.limit.counter.correct(self.key, 1, 0, self.at, monotonic_ns())
            return 0
        quotas.question = None
        return go_on(x, self.gate.decide(x, quotas, reply, verdict), x.generation)

    cdef int failed(self, object error) except -1:
        cdef Quotas quotas = self.quotas
        cdef Exchange x = self.told()
        if x is None:
            return 0
        quotas.question = None
        return go_on(x, self.gate.unanswered(x, error), x.generation)


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
        if x.places[QUOTAS] != NULL and (<Quotas>x.places[QUOTAS]).count:
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

    cdef int let_in(self, object queue, Admission admission) except -1:
        """The first of a queue runs from here."""
        cdef Exchange x = admission.exchange
        queue.popleft()
        admission.exchange = None
        x.later = None
        x.due = 0
        x.wait(0)
        x.phase = PHASE_REQUEST
        return advance(x)

    cpdef int serve(self, uint64_t key) except -1:
        """Lets in who has waited longest for this key, as many as there is room for."""
        cdef Admission admission
        cdef int reply
        queue = self.waiting.get(key)
        while queue:
            admission = <Admission>queue[0]
            if admission.question is not None:
                return 0
            reply = admission.limit.shares.promote(admission.share, 1)
            if reply == ASK:
                return ask_promotion(self, admission)
            if reply != ADMITTED:
                return 0
            self.let_in(queue, admission)
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
        cdef void* share = NULL
        cdef uint64_t key
        cdef int reply
        cdef bint behind
        find_key(x, limit.key, limit.shares.secret, &key)
        behind = queues is not None and key in queues.waiting
        reply = limit.shares.enter(key, 1, behind, &share)
        if reply == ADMITTED:
            owe_share(x, limit, key, share)
            return PASSED
        if reply == ASK:
            return self.ask(x, key, behind)
        return self.decide(x, owe_share(x, limit, key, share) if reply == WAITING else None, reply)

    cdef int decide(self, Exchange x, Admission admission, int reply) except -1:
        """What becomes of it: its admission knows its share."""
        cdef Queues queues
        if reply == ADMITTED:
            return PASSED
        if reply == WAITING:
            queues = <Queues>x.engine.parts[QUEUES]
            if queues is None:
                queues = x.engine.parts[QUEUES] = Queues.__new__(Queues, x.engine)
            admission.exchange = x
            queues.enter(admission)
            x.places[ADMISSION] = <void*>admission
            x.later = self
            x.phase = PHASE_LATER
            x.wait(self.limit.queue_timeout)
            return LATER
        x.engine.slab.concurrency_limited += 1
        x.refuse(CONCURRENCY_FULL)
        return ENDED

    cdef int ask(self, Exchange x, uint64_t key, bint behind) except -1:
        cdef Admission admission = owe_share(x, self.limit, key, NULL)
        cdef ShareQuestion question = ShareQuestion.__new__(ShareQuestion)
        question.gate = self
        question.admission = admission
        admission.question = question
        x.places[ADMISSION] = <void*>admission
        wait_for_answer(x, self, question)
        try:
            self.limit.shares.ask(key, 1, behind, question)
        except Exception as error:
            question.told()
            admission.question = None
            return self.unanswered(x, error)
        return LATER

    cdef int unanswered(self, Exchange x, object error) except -1:
        say_unanswered(x, error)
        x.refuse(LIMITS_UNAVAILABLE)
        return ENDED

    cdef int leave(self, Exchange x) except -1:
        """Its turn must not come any more: policies look at an error, or the client is gone."""
        cdef Admission admission = <Admission>x.places[ADMISSION]
        if admission.exchange is None:
            # It is not in the queue yet. The question gives back the share that it is told of.
            (<ShareQuestion>admission.question).leave()
            admission.question = None
            return 0
        (<Queues>x.engine.parts[QUEUES]).leave(admission)
        return admission.leave_queue()

    cdef int late(self, Exchange x) except -1:
        return QUEUE_TIMEOUT


cdef Admission owe_share(Exchange x, ConcurrencyLimit limit, uint64_t key, void* share):
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
            limit.shares.leave(self.share, 1)
            self.share = NULL
            if queues is not None and self.key in queues.waiting:
                # Not from here: who is let in may be over before this one is.
                x.engine.loop.call_soon(queues.serve, self.key)
        self.limit = None
        return spare_admissions.give(self)

    cdef int leave_queue(self) except -1:
        self.exchange = None
        if self.question is not None:
            # The store may be about to let it in: the question leaves for it.
            (<Promotion>self.question).admission = None
            self.question = None
        else:
            self.limit.shares.leave_queue(self.share)
        self.share = NULL
        return 0


cdef class ShareQuestion(Question):
    cdef int shared(self, int reply, void* place) except -1:
        cdef ShareCounter shares = self.gate.limit.shares
        cdef Admission admission = self.admission
        cdef Exchange x = self.told()
        self.admission = None
        if x is None:
            if reply == ADMITTED:
                shares.leave(place, 1)
            elif reply == WAITING:
                shares.leave_queue(place)
            return 0
        admission.question = None
        admission.share = place if reply != REFUSED else NULL
        return go_on(x, self.gate.decide(x, admission, reply), x.generation)

    cdef int failed(self, object error) except -1:
        cdef Admission admission = self.admission
        cdef Exchange x = self.told()
        self.admission = None
        if x is None:
            return 0
        admission.question = None
        return go_on(x, self.gate.unanswered(x, error), x.generation)


cdef int ask_promotion(Queues queues, Admission admission) except -1:
    """For the first of a queue."""
    cdef Promotion question = Promotion.__new__(Promotion)
    question.limit = admission.limit
    question.queues = queues
    question.admission = admission
    question.share = admission.share
    admission.question = question
    try:
        admission.limit.shares.ask_promotion(admission.share, 1, question)
    except Exception as error:
        question.failed(error)
    return 0


cdef class Promotion(Question):
    cdef int shared(self, int reply, void* place) except -1:
        cdef Admission admission = self.admission
        cdef Queues queues = self.queues
        cdef uint64_t key, generation
        cdef Exchange x
        self.admission = None
        if admission is None:
            if reply == ADMITTED:
                self.limit.shares.leave(self.share, 1)
            else:
                self.limit.shares.leave_queue(self.share)
            return 0
        admission.question = None
        if reply != ADMITTED:
            return 0
        key = admission.key
        x = admission.exchange
        generation = x.generation
        try:
            queues.let_in(queues.waiting[key], admission)
        except Exception as error:
            if x.generation != generation:
                raise
            policy_failed(x, error)
        return queues.serve(key)

    cdef int failed(self, object error) except -1:
        """It goes on waiting, for as long as it may."""
        cdef Admission admission = self.admission
        self.admission = None
        if admission is None:
            self.limit.shares.leave_queue(self.share)
            return 0
        admission.question = None
        return say_unanswered(admission.exchange, error)


cdef bint overloaded(Exchange x) noexcept:
    """Whether an exchange ended as one does where there is too much to do."""
    return outcomes[x.cause].failure == FAILED_TIMEOUT or x.status == 503 or x.status == 429
