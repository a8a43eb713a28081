"""What is asked of a store for each request: may this key have so much more?

Theory of operation. A store gives counters (`fastgate.state.store`), each for one limit. A counter is asked with a key
(64 bits of a keyed hash over whatever tells requests apart; the counter has the secret) and an amount. A store that has
its numbers at hand answers in the call itself, without an object made or a function of Python called. One that has to
ask elsewhere replies ASK and has done nothing; whoever wants to wait then calls `ask` with an `Asker`, which is told
once.

* An asker is told from the event loop, never within `ask`, and exactly once: by `rated` or `shared`, or by `failed`
  where the store could not find out. So whoever waits bounds its time himself, and who no longer wants the answer is
  told all the same: what was admitted meanwhile he has to give back.
* What has no answer (`correct`, `leave`, `leave_queue`, `sample`) is never waited for. It takes effect after what was
  asked before it.
* An amount is taken as a whole or not at all.

Memory that workers share is a store that always answers at once: `limits/rate.pyx`, `limits/concurrency.pyx`,
`delivery/budget.pyx`.
"""

from libc.stdint cimport int64_t, uint64_t


cdef class Asker:
    """Whoever waits for the answer of a store."""

    cdef int rated(self, int reply, const Verdict* verdict) except -1:
        raise NotImplementedError

    cdef int shared(self, int reply, void* place) except -1:
        raise NotImplementedError

    cdef int failed(self, object error) except -1:
        """The store does not know: ``error`` is why. Nothing was taken, as far as can be told."""
        raise NotImplementedError


cdef class RateCounter:
    """How much of something keys may have in a span of time."""

    cdef int check(self, uint64_t key, int64_t amount, uint64_t now_ns, Verdict* verdict) noexcept:
        return ASK

    cdef int ask(self, uint64_t key, int64_t amount, uint64_t now_ns, Asker asker) except -1:
        raise NotImplementedError

    cdef void correct(self, uint64_t key, int64_t taken, int64_t actual, uint64_t taken_ns, uint64_t now_ns) noexcept:
        pass


cdef class ShareCounter:
    """How much of something keys may have under way at once."""

    cdef int enter(self, uint64_t key, int64_t amount, bint behind, void** place) noexcept:
        return ASK

    cdef int ask(self, uint64_t key, int64_t amount, bint behind, Asker asker) except -1:
        raise NotImplementedError

    cdef int promote(self, void* place, int64_t amount) noexcept:
        return ASK

    cdef int ask_promotion(self, void* place, int64_t amount, Asker asker) except -1:
        raise NotImplementedError

    cdef void leave(self, void* place, int64_t amount) noexcept:
        pass

    cdef void leave_queue(self, void* place) noexcept:
        pass

    cdef void sample(self, void* place, uint64_t now_us, uint64_t latency_us, bint dropped) noexcept:
        pass


cdef class Budget:
    """What may be spent until more flows in."""

    cdef bint spend(self, uint64_t now, int64_t amount) except -1:
        raise NotImplementedError

    cdef int restore(self, uint64_t now, int64_t amount) except -1:
        raise NotImplementedError
