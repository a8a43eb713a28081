from libc.stdint cimport int64_t, uint32_t, uint64_t

from fastgate._core.exchange.exchange cimport Debt, Exchange, Gate, Stamp
from fastgate._core.exchange.request_key cimport RequestKey
from fastgate._core.exchange.worker cimport Engine, Part
from fastgate._core.limits.concurrency cimport Concurrency
from fastgate._core.limits.rate cimport Limit


cdef class RateLimit:
    cdef readonly Limit limit
    cdef readonly RequestKey key
    cdef bytes identity                # what the count belongs to, beside the key
    cdef bint dry_run
    cdef bint legacy_headers
    cdef bytes name                    # as the fields say it: a quoted string
    cdef bytes policy                  # its item of RateLimit-Policy
    cdef bytes quota                   # decimal digits, for X-RateLimit-Limit


cdef class ConcurrencyLimit:
    cdef readonly Concurrency shares
    cdef readonly RequestKey key
    cdef bytes identity
    cdef uint32_t queue_timeout        # milliseconds


# What is left of one rate limit, for the fields of the answer.
cdef struct Quota:
    uint64_t key
    bint taken                         # it counts this request
    int64_t remaining
    int64_t reset                      # milliseconds


cdef class Quotas(Debt):
    """What the rate limits of a route have said of one exchange."""
    cdef tuple limits                  # of RateLimit
    cdef Quota items[8]
    cdef int count                     # of the limits that were asked

    cdef int give_back(self, uint64_t now) except -1


cdef class RateLimits(Gate):
    """The rate limits of a route from ``first`` to before ``end``: those that are asked at one place of the chain."""
    cdef tuple limits                  # of RateLimit: all of the route
    cdef int first
    cdef int end


cdef class QuotaStamp(Stamp):
    """RateLimit-Policy and RateLimit, and the older fields where they are asked for."""


cdef class Queues(Part):
    cdef Engine engine
    cdef dict waiting                  # admissions by key, those that have waited longest first

    cdef int enter(self, Admission admission) except -1
    cdef int leave(self, Admission admission) except -1
    cdef int drop(self, object key) except -1
    cpdef int serve(self, uint64_t key) except -1


cdef class ConcurrencyGate(Gate):
    """The concurrency limit of a route."""
    cdef ConcurrencyLimit limit


cdef class Admission(Debt):
    """The place of one exchange under a concurrency limit, or in its queue."""
    cdef ConcurrencyLimit limit
    cdef int64_t* share                # this worker's count that includes the exchange; NULL: it has left the queue
    cdef uint64_t key
    cdef Exchange exchange             # while it waits

    cdef int leave_queue(self) except -1
