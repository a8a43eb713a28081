from libc.stdint cimport int64_t, uint32_t, uint64_t

from fastgate._core.exchange.exchange cimport Debt, Exchange, Facts, Gate, Stamp
from fastgate._core.exchange.request_key cimport RequestKey
from fastgate._core.exchange.worker cimport Engine, Part
from fastgate._core.memory.store cimport Asker, RateCounter, ShareCounter, Verdict


cdef class RateLimit:
    cdef readonly RateCounter counter
    cdef readonly RequestKey key
    cdef bint dry_run
    cdef bint legacy_headers
    cdef bytes name                    # as the fields say it: a quoted string
    cdef bytes policy                  # its item of RateLimit-Policy
    cdef bytes quota                   # decimal digits, for X-RateLimit-Limit


cdef class ConcurrencyLimit:
    cdef readonly ShareCounter shares
    cdef readonly RequestKey key
    cdef uint32_t queue_timeout        # milliseconds


# What is left of one rate limit, for the fields of the answer.
cdef struct Quota:
    uint64_t key
    uint64_t at                        # nanoseconds: when it was asked
    bint taken                         # it counts this request
    int64_t remaining
    int64_t reset                      # milliseconds


cdef class Quotas(Facts):
    """What the rate limits of a route have said of one exchange."""
    cdef tuple limits                  # of RateLimit
    cdef Quota items[8]
    cdef int count                     # of the limits that were asked
    cdef RateQuestion question         # that the exchange waits for; None = none

    cdef int give_back(self) except -1


cdef class RateLimitGate(Gate):
    """One rate limit of a route."""
    cdef tuple limits                  # of RateLimit: all of the route
    cdef int number                    # of this one
    cdef RateLimit limit

    cdef int ask(self, Exchange x, Quotas quotas) except -1
    cdef int decide(self, Exchange x, Quotas quotas, int reply, const Verdict* verdict) except -1
    cdef int unanswered(self, Exchange x, object error) except -1


cdef class Question(Asker):
    """A gate's question that its store has not answered."""
    cdef Exchange x                    # None: it no longer waits
    cdef object timer                  # of the loop; None: it is not waited for here
    cdef bint given_up                 # it took too long

    cdef Exchange told(self)
    cdef int leave(self) except -1


cdef class RateQuestion(Question):
    cdef RateLimitGate gate
    cdef Quotas quotas
    cdef uint64_t key
    cdef uint64_t at


cdef class QuotaStamp(Stamp):
    """RateLimit-Policy and RateLimit, and the older fields where they are asked for."""


cdef class Queues(Part):
    cdef Engine engine
    cdef dict waiting                  # admissions by key, those that have waited longest first

    cdef int enter(self, Admission admission) except -1
    cdef int leave(self, Admission admission) except -1
    cdef int drop(self, object key) except -1
    cdef int let_in(self, object queue, Admission admission) except -1
    cpdef int serve(self, uint64_t key) except -1


cdef class ConcurrencyGate(Gate):
    """The concurrency limit of a route."""
    cdef ConcurrencyLimit limit

    cdef int ask(self, Exchange x, uint64_t key, bint behind) except -1
    cdef int decide(self, Exchange x, Admission admission, int reply) except -1
    cdef int unanswered(self, Exchange x, object error) except -1


cdef class Admission(Debt):
    """The place of one exchange under a concurrency limit, or in its queue."""
    cdef ConcurrencyLimit limit
    cdef void* share                   # what the store knows its place by; NULL: it has none
    cdef uint64_t key
    cdef Exchange exchange             # while it stands in the queue
    cdef Question question             # that the store has not answered; None = none

    cdef int leave_queue(self) except -1


cdef class ShareQuestion(Question):
    cdef ConcurrencyGate gate
    cdef Admission admission


cdef class Promotion(Question):
    cdef ConcurrencyLimit limit
    cdef Queues queues
    cdef Admission admission           # None: it no longer waits
    cdef void* share
