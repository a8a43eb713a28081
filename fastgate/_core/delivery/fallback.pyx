"""An answer in the place of an upstream that fails.

Theory of operation. A delivery around that of the route. It hears what the inner one has come to when all tries are
spent. Where that is a failure of a kind that the route names, the inner one is left, and another delivery answers. An
answer that has begun is not replaced: what a client, or a policy that looks at it, has of it cannot be taken back. So
nothing is kept of an exchange: its phase says it all.
"""

from fastgate._core.delivery.retry cimport Judgement
from fastgate._core.exchange.causes cimport (
    BREAKER_OPEN,
    FAILED_CONNECT,
    NO_FAILURE,
    NO_TARGET,
    POOL_FULL,
    POOL_TIMEOUT,
    outcomes,
)
from fastgate._core.exchange.exchange cimport PHASE_DELIVERY, Around, Delivery, Exchange


cdef class Fallback(Around):
    cdef readonly Delivery instead
    cdef Judgement on                  # what is replaced

    def __init__(self, Delivery inner not None, Delivery instead not None, *, on):
        self.inner = inner
        self.instead = instead
        self.on = Judgement(on, protocol=True)
        inner.enclose(self)

    cdef int answered(self, Exchange x, bytes piece, bint last) except -1:
        if self.on.condemns(NO_FAILURE, x.response.status):
            return self.replace(x)
        return self.tell_answered(x, piece, last)

    cdef int failed(self, Exchange x, int cause) except -1:
        cdef int failure = outcomes[cause].failure
        if cause == NO_TARGET or cause == BREAKER_OPEN or cause == POOL_FULL or cause == POOL_TIMEOUT:
            # To the client it is the same whether a connection failed or is not even tried.
            failure = FAILED_CONNECT
        if x.phase == PHASE_DELIVERY and failure != NO_FAILURE and self.on.condemns(failure, 0):
            return self.replace(x)
        return self.tell_failed(x, cause)

    cdef int replace(self, Exchange x) except -1:
        x.leave_delivery()
        x.response.release()
        x.delivery = self.instead
        return self.instead.begin(x)
