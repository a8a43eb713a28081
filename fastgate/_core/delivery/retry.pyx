"""When a request is tried again: the rule of a route, compiled.

Theory of operation
-------------------
A `Judgement` is a set of failures: kinds of failed tries (connect, reset, timeout) and statuses. Health, breakers and
retries each have one, so that the same words mean the same everywhere. A `RetryRule` is a judgement with numbers: how
often, and how long to pause before. Both are immutable and cost a table look-up.

The pause before try n + 1 is drawn evenly from 0 to ``min(max_backoff, backoff * 2^(n-1))`` ("full jitter": of the
ways to spread clients that failed together it needs the fewest calls); without jitter it is that bound itself.
"""

from libc.string cimport memset

from fastgate._core.exchange.causes cimport FAILED_CONNECT, FAILED_PROTOCOL, FAILED_RESET, FAILED_TIMEOUT, NO_FAILURE

from fastgate._core.exchange.timers import milliseconds

_WORDS = {"connect": FAILED_CONNECT, "reset": FAILED_RESET, "timeout": FAILED_TIMEOUT}


cdef class Judgement:
    """What counts as a failure: "connect", "reset", "timeout", "4xx", "5xx" or a single status such as "503".

    With ``protocol`` an answer that is not HTTP/1.1 counts as a reset; it is never tried again, but held against its
    target.
    """

    def __init__(self, on=(), *, protocol=False):
        cdef int first, status
        memset(self.statuses, 0, sizeof(self.statuses))
        for word in on:
            if word in _WORDS:
                self.failures |= _WORDS[word]
                continue
            first = int(f"{word[:1]}00" if word.endswith("xx") else word)
            if not 100 <= first <= 599:
                raise ValueError(f"{word!r} is not a status and not a kind of failure")
            for status in range(first, first + 100 if word.endswith("xx") else first + 1):
                self.statuses[status] = 1
        if protocol and self.failures & FAILED_RESET:
            self.failures |= FAILED_PROTOCOL

    cdef bint condemns(self, int failure, int status) noexcept:
        if failure != NO_FAILURE:
            return self.failures & failure != 0
        return 0 <= status < 600 and self.statuses[status] != 0


cdef class RetryRule:
    """How often and when a request is tried again. Times are seconds; ``attempts`` counts the first try."""

    def __init__(
        self, *, attempts=2, on=("connect", "reset"), backoff=0.025, max_backoff=1.0, jitter=True, budget=0.2,
        try_timeout=0.0, non_idempotent=False, hedge_delay=0.0
    ):
        self.attempts = attempts
        self.on = Judgement(on)
        self.backoff = milliseconds(backoff)
        self.max_backoff = milliseconds(max_backoff)
        self.jitter = jitter
        self.budget = budget
        self.try_timeout = milliseconds(try_timeout)
        self.non_idempotent = non_idempotent
        self.hedge_delay = milliseconds(hedge_delay)

    cdef uint64_t pause(self, int tries, uint64_t random) noexcept:
        """Milliseconds before the next try, after so many."""
        cdef uint64_t bound = self.backoff
        cdef int _step
        for _step in range(1, tries):
            bound *= 2
            if bound >= self.max_backoff:
                break
        if bound > self.max_backoff:
            bound = self.max_backoff
        return random % (bound + 1) if self.jitter else bound
