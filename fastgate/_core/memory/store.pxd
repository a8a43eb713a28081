from libc.stdint cimport int64_t, uint64_t

cdef enum Reply:
    """What a store says to a question."""
    REFUSED = 0
    ADMITTED = 1
    WAITING = 2                     # shares only: it has a place in the queue
    ASK = 3                         # it cannot tell at once, and has done nothing: see `ask`


# What one check of a rate found.
cdef struct Verdict:
    bint admitted
    int64_t remaining               # what could still be admitted at this instant
    int64_t reset_ms                # until the bucket is full again, the window ends or the oldest admission leaves it
    int64_t retry_ms                # 0 when admitted; else until this amount would be


cdef class Asker:
    cdef int rated(self, int reply, const Verdict* verdict) except -1
    cdef int shared(self, int reply, void* place) except -1
    cdef int failed(self, object error) except -1


# Amounts are whole numbers from 1 to 2**31 - 1. Times are CLOCK_MONOTONIC in nanoseconds, below 2**58. A verdict is
# always written and must not be NULL. Only what ends in `except -1` may raise.
cdef class RateCounter:
    cdef unsigned char secret[16]   # which keys are hashed with: that of the store, mixed with the name of the count

    # Takes an amount, as a whole or not at all: ADMITTED, REFUSED, or ASK.
    cdef int check(self, uint64_t key, int64_t amount, uint64_t now_ns, Verdict* verdict) noexcept
    # After ASK: takes it, and says so later by `Asker.rated`.
    cdef int ask(self, uint64_t key, int64_t amount, uint64_t now_ns, Asker asker) except -1
    # Makes what was admitted at a time into another amount, which may be 0, or more than was admitted.
    cdef void correct(self, uint64_t key, int64_t taken, int64_t actual, uint64_t taken_ns, uint64_t now_ns) noexcept


# A place is what a store knows a share by: it is passed back to it and means nothing to anybody else.
cdef class ShareCounter:
    cdef unsigned char secret[16]

    # ADMITTED: an amount more is running, to be ended by leave(). WAITING: there is no room, and it has a place in the
    # queue, for promote() and leave_queue(). REFUSED: the queue is full too. ASK. With ``behind`` it goes into the
    # queue in any case: others wait already.
    cdef int enter(self, uint64_t key, int64_t amount, bint behind, void** place) noexcept
    # After ASK: enters, and says so later by `Asker.shared`.
    cdef int ask(self, uint64_t key, int64_t amount, bint behind, Asker asker) except -1
    # ADMITTED: what waited is running now. REFUSED: it goes on waiting. ASK.
    cdef int promote(self, void* place, int64_t amount) noexcept
    # After ASK: promotes, and says so later by `Asker.shared`. The place stays what it is until then.
    cdef int ask_promotion(self, void* place, int64_t amount, Asker asker) except -1
    cdef void leave(self, void* place, int64_t amount) noexcept
    cdef void leave_queue(self, void* place) noexcept
    # How long a running request took, before it leaves; dropped = it timed out or was refused for overload. Does
    # nothing where the limit is not adaptive.
    cdef void sample(self, void* place, uint64_t now_us, uint64_t latency_us, bint dropped) noexcept


# A budget that the way of a request cannot wait for: a store that is far away keeps some of it at hand. Times are
# milliseconds of CLOCK_MONOTONIC.
cdef class Budget:
    # Whether this amount could be taken, and was.
    cdef bint spend(self, uint64_t now, int64_t amount) except -1
    # What was taken was not needed.
    cdef int restore(self, uint64_t now, int64_t amount) except -1
