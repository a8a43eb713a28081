"""Breaker: stop sending to what fails, try carefully later; one breaker for all workers.

Theory of operation. The state is one word of a row of shared memory: which of four states, the number of the state in
the life of the breaker (the round, one more with every change), and a time. The other words carry the round that they
belong to, or some bits of it, and count as zero in any other round; so a change of state is one store, and nothing
has to be reset with it.

    closed       failures in a row, and outcomes in a ring of BUCKETS words, each the sum of a tenth of the window.
                 The rules are looked at when a failure is recorded. -> open
    open         until a time. Nothing is admitted. -> half-open, when the time has come
    half-open    probes in flight and probes that succeeded, together at most `half_open`. One failure -> open;
                 `half_open` successes -> recovering, or closed where `recovery` is 0
    recovering   the share of requests that is admitted grows with time from none to all; the rules of closed apply,
                 from zero. -> open, or closed when the time has passed

admit() answers with the round in it, and record() ignores what belongs to an earlier one: requests that were sent
before the breaker opened say nothing about what comes after.

    breaker_probes   bits 0-7 round, 8-15 lease, 16-23 in flight, 24-31 succeeded, 32-63 time of the last admission
    buckets          bits 0-17 failures, 18-35 outcomes, 36-57 number of the bucket since boot, 58-63 round

A probe whose worker died, or never comes to an end, would hold its place for ever. So the places are a lease: when
nothing was admitted for as long as `open` (at least a second) because all are taken, all are free again. A probe of
an earlier lease still counts if it comes back in the same round, so that an upstream that is slow can be found well.

Who moves the state holds the lock of the upstream, looks at the word again, stores the new one, moves the generation
on and appends the event: each change is made by one process, and events have the order of the changes. Time alone
moves it when somebody asks (admit) or settle() is called. The buckets forget halves when they would overflow, which
keeps the share.

Cost: closed and good is three loads, and one compare-and-swap where a ratio is set; closed and bad is two swaps and
BUCKETS loads. A change takes the lock, once for each round.

Safety. Words other than the state are changed by compare-and-swap after a look whether the round still holds; what is
swapped in for a round that is over cannot overwrite the next one, because the swap expects what was read before the
look. A process that dies leaves counts as they are, a probe to its lease, and the lock to the next one. A process
that stands still with the lock delays a change, never a request by more than 50 ms.
"""

from libc.stdint cimport uint64_t

from fastgate._core.memory.events cimport EVENT_BREAKER, STATE_CLOSED, EventRing
from fastgate._core.memory.target_row cimport (
    BREAKER_CLOSED,
    BREAKER_HALF_OPEN,
    BREAKER_KIND,
    BREAKER_OPEN,
    BREAKER_RECOVERING,
    BUCKETS,
    ROUND_BITS,
    State,
    atomic_load_acquire,
    atomic_load_relaxed,
    atomic_store_relaxed,
    atomic_store_release,
    atomic_swap_if_equal,
    breaker_round,
    breaker_time,
    elapsed,
    lock_state,
    milliseconds,
    move_on,
    shared_lock_prepare,
    unlock_state,
)
from fastgate._core.memory.targets cimport TargetRows

from fastgate._core.memory.events import STATES

cdef enum:
    AGAIN = -1                  # admit_probe(): the state has moved
    COUNT_BITS = 18             # of a count in a bucket
    MOST = 262143               # that fits them
    NUMBERS = 4194303           # the bits of a bucket's number
    SECOND = 1000

cdef uint64_t STREAK_COUNT = (<uint64_t>1 << 44) - 1


cdef inline uint64_t probes_word(
    uint64_t number, uint64_t lease, uint64_t flying, uint64_t done, uint64_t now
) noexcept:
    return number & 255 | (lease & 255) << 8 | flying << 16 | done << 24 | now << 32


# How long ago the 32 bits of a time were; 0 when they are ahead.
cdef inline uint64_t since_admission(uint64_t now, uint64_t probes) noexcept:
    cdef uint64_t passed = (now - (probes >> 32)) & <uint64_t>0xFFFFFFFF
    return passed if passed < <uint64_t>0x80000000 else 0


cdef class Breaker:
    """The breaker of an upstream, or of one of its targets, which all processes share that have the rows."""

    def __cinit__(
        self, TargetRows memory not None, str upstream not None, str target=None, *, EventRing events not None,
        failures=5, ratio=0.5, min_requests=20, window=10.0, open=30.0, half_open=1, recovery=0.0
    ):
        self.memory = memory
        self.events = events
        self.name = upstream if target is None else f"{upstream} {target}"
        self.row = memory.row(f"{upstream}\0{target or ''}")
        self.own = <State*>memory.state(self.row)
        self.upstream = <State*>memory.state(memory.row(f"{upstream}\0"))
        if shared_lock_prepare(self.upstream.lock) < 0:
            raise RuntimeError("the mutexes of this C library cannot be shared between processes")
        self.failures = failures
        self.ratio = ratio
        self.min_requests = max(min_requests, 1)
        self.width = max(milliseconds(window) // BUCKETS, <uint64_t>1)
        self.open = max(milliseconds(open), <uint64_t>1)
        self.half_open = min(max(half_open, 1), 255)
        self.recovery = milliseconds(recovery)

    cpdef int admit(self, uint64_t now, uint64_t random) noexcept:
        """Whether a request may go: REJECT, or ADMIT or ADMIT_PROBE with the round. To be kept for record()."""
        cdef uint64_t word = atomic_load_acquire(&self.own.breaker)
        cdef uint64_t kind, passed, before
        cdef int answer
        while word & BREAKER_KIND != BREAKER_CLOSED:
            kind = word & BREAKER_KIND
            before = word
            if kind == BREAKER_OPEN:
                if now < breaker_time(word):
                    return REJECT
                self.move(word, BREAKER_HALF_OPEN, now)
            elif kind == BREAKER_RECOVERING:
                passed = elapsed(now, breaker_time(word))
                if passed < self.recovery:
                    if <double>(random >> 11) * self.recovery >= <double>passed * <double>(<uint64_t>1 << 53):
                        return REJECT
                    break
                self.move(word, BREAKER_CLOSED, now)
            else:
                answer = self.admit_probe(word, now)
                if answer != AGAIN:
                    return answer
            word = atomic_load_acquire(&self.own.breaker)
            if word == before:
                return REJECT       # nobody can move it at this moment
        return ADMIT | <int>(breaker_round(word) << 2)

    cdef int admit_probe(self, uint64_t word, uint64_t now) noexcept:
        cdef uint64_t number = breaker_round(word)
        cdef uint64_t found, lease, flying, done
        found = atomic_load_acquire(&self.own.breaker_probes)
        while True:
            if atomic_load_acquire(&self.own.breaker) != word:
                return AGAIN
            lease = flying = done = 0
            if (found ^ number) & 255 == 0:
                lease = found >> 8 & 255
                flying = found >> 16 & 255
                done = found >> 24 & 255
            if done >= self.half_open:
                # As many as it needs, of late: the number was lowered by a reload, or who counted the last one died.
                self.move(word, BREAKER_RECOVERING if self.recovery else BREAKER_CLOSED, now)
                return AGAIN
            if flying + done >= self.half_open:
                if since_admission(now, found) < self.lease():
                    return REJECT
                lease += 1
                flying = 0
            if atomic_swap_if_equal(
                &self.own.breaker_probes, &found, probes_word(number, lease, flying + 1, done, now)
            ):
                return ADMIT_PROBE | <int>(number << 2 | (lease & 255) << 22)

    cpdef void record(self, int admitted, bint ok, uint64_t now) noexcept:
        """The outcome of a request that was admitted. Once for each."""
        cdef uint64_t word = atomic_load_acquire(&self.own.breaker)
        cdef uint64_t found
        if (<uint64_t>admitted >> 2 ^ breaker_round(word)) & ROUND_BITS:
            return          # of an earlier round
        if admitted & ADMIT_KIND == ADMIT_PROBE:
            self.record_probe(word, admitted, ok, now)
            return
        if admitted & ADMIT_KIND != ADMIT:
            return
        if self.ratio > 0:
            self.count(word, ok, now)
        if ok:
            found = atomic_load_relaxed(&self.own.breaker_streak)
            while found & STREAK_COUNT and found >> 44 == breaker_round(word):
                if atomic_swap_if_equal(&self.own.breaker_streak, &found, breaker_round(word) << 44):
                    break
        elif self.count_failure(word) or (self.ratio > 0 and self.too_many(word, now)):
            self.move(word, BREAKER_OPEN, now)

    cdef void record_probe(self, uint64_t word, int admitted, bint ok, uint64_t now) noexcept:
        cdef uint64_t number = breaker_round(word)
        cdef uint64_t lease = <uint64_t>admitted >> 22 & 255
        cdef uint64_t found, flying, done
        if not ok:
            self.move(word, BREAKER_OPEN, now)
            return
        found = atomic_load_acquire(&self.own.breaker_probes)
        while True:
            if atomic_load_acquire(&self.own.breaker) != word or (found ^ number) & 255:
                return
            flying = found >> 16 & 255
            if flying and found >> 8 & 255 == lease:
                flying -= 1
            done = min((found >> 24 & 255) + 1, self.half_open)
            if atomic_swap_if_equal(
                &self.own.breaker_probes, &found, probes_word(number, found >> 8, flying, done, found >> 32)
            ):
                break
        if done >= self.half_open:
            self.move(word, BREAKER_RECOVERING if self.recovery else BREAKER_CLOSED, now)

    cpdef void cancel(self, int admitted) noexcept:
        """An admitted request ended without an outcome: its client left. Instead of record()."""
        cdef uint64_t word = atomic_load_acquire(&self.own.breaker)
        cdef uint64_t number = breaker_round(word)
        cdef uint64_t found
        if admitted & ADMIT_KIND != ADMIT_PROBE or (<uint64_t>admitted >> 2 ^ number) & ROUND_BITS:
            return
        found = atomic_load_acquire(&self.own.breaker_probes)
        while atomic_load_acquire(&self.own.breaker) == word and (found ^ number) & 255 == 0:
            if (found >> 8 ^ <uint64_t>admitted >> 22) & 255 or not found >> 16 & 255:
                return      # of an earlier lease
            if atomic_swap_if_equal(&self.own.breaker_probes, &found, found - ((<uint64_t>1) << 16)):
                return

    cdef bint count_failure(self, uint64_t word) noexcept:
        """One failure more in a row. Whether there are too many of them."""
        cdef uint64_t number = breaker_round(word)
        cdef uint64_t found, count
        if self.failures == 0:
            return False
        found = atomic_load_acquire(&self.own.breaker_streak)
        while atomic_load_acquire(&self.own.breaker) == word:
            count = (found & STREAK_COUNT if found >> 44 == number else 0) + 1
            if atomic_swap_if_equal(&self.own.breaker_streak, &found, number << 44 | count):
                return count >= self.failures
        return False

    cdef void count(self, uint64_t word, bint ok, uint64_t now) noexcept:
        """Adds an outcome to the bucket of this time."""
        cdef uint64_t bucket = now // self.width
        cdef uint64_t* place = &self.own.buckets[bucket % BUCKETS]
        cdef uint64_t key = (breaker_round(word) & 63) << 22 | bucket & NUMBERS
        cdef uint64_t found = atomic_load_acquire(place)
        cdef uint64_t bad, total
        while atomic_load_acquire(&self.own.breaker) == word:
            bad = total = 0
            if found >> 36 == key:
                bad = found & MOST
                total = found >> COUNT_BITS & MOST
                if total == MOST:
                    bad >>= 1
                    total >>= 1
            elif found >> 58 == key >> 22 and ((found >> 36) - bucket & NUMBERS) == BUCKETS:
                return      # this clock is a whole window late
            if not ok:
                bad += 1
            if atomic_swap_if_equal(place, &found, key << 36 | (total + 1) << COUNT_BITS | bad):
                return

    cdef bint too_many(self, uint64_t word, uint64_t now) noexcept:
        """Whether the share of failures in the window is too high."""
        cdef uint64_t number = now // self.width
        cdef uint64_t found, bad = 0, total = 0
        cdef int index
        for index in range(BUCKETS):
            found = atomic_load_relaxed(&self.own.buckets[index])
            if found >> 58 == breaker_round(word) & 63 and (number - (found >> 36) & NUMBERS) < BUCKETS:
                bad += found & MOST
                total += found >> COUNT_BITS & MOST
        return total >= self.min_requests and bad >= self.ratio * total

    cdef void move(self, uint64_t word, int to, uint64_t now) noexcept:
        """From the state of this word to another one, unless somebody else was first."""
        cdef uint64_t number = (breaker_round(word) + 1) & ROUND_BITS
        cdef uint64_t time = now + self.open if to == BREAKER_OPEN else now
        if not lock_state(self.upstream):
            return
        if atomic_load_relaxed(&self.own.breaker) == word:
            atomic_store_release(&self.own.breaker, time << 22 | number << 2 | <uint64_t>to)
            if to == BREAKER_OPEN:
                atomic_store_relaxed(&self.own.openings, atomic_load_relaxed(&self.own.openings) + 1)
            move_on(self.upstream)
            self.events.put(
                EVENT_BREAKER, self.row, STATE_CLOSED + <int>(word & BREAKER_KIND), STATE_CLOSED + to, number, now
            )
        unlock_state(self.upstream)

    cdef uint64_t lease(self) noexcept:
        return max(self.open, <uint64_t>SECOND)

    cpdef void settle(self, uint64_t now) noexcept:
        """What time brings about: open to half-open, recovering to closed."""
        cdef uint64_t word = atomic_load_acquire(&self.own.breaker)
        if word & BREAKER_KIND == BREAKER_OPEN and now >= breaker_time(word):
            self.move(word, BREAKER_HALF_OPEN, now)
        elif word & BREAKER_KIND == BREAKER_RECOVERING and elapsed(now, breaker_time(word)) >= self.recovery:
            self.move(word, BREAKER_CLOSED, now)

    cpdef uint64_t retry_after_ms(self, uint64_t now) noexcept:
        """When to ask again, after admit() refused; 0 when it would not refuse."""
        cdef uint64_t word = atomic_load_acquire(&self.own.breaker)
        cdef uint64_t found
        if word & BREAKER_KIND == BREAKER_OPEN:
            return elapsed(breaker_time(word), now)
        if word & BREAKER_KIND == BREAKER_RECOVERING:
            return SECOND if elapsed(now, breaker_time(word)) < self.recovery else 0
        if word & BREAKER_KIND == BREAKER_HALF_OPEN:
            found = atomic_load_acquire(&self.own.breaker_probes)
            if (found ^ breaker_round(word)) & 255 == 0:
                if (found >> 16 & 255) + (found >> 24 & 255) >= self.half_open:
                    return SECOND
        return 0

    # For Python.

    @property
    def state(self) -> str:
        """ "closed", "open", "half-open" or "recovering"."""
        return STATES[STATE_CLOSED + (atomic_load_acquire(&self.own.breaker) & BREAKER_KIND)]

    @property
    def openings(self) -> int:
        """How often it has opened so far."""
        return atomic_load_relaxed(&self.own.openings)

    def __repr__(self) -> str:
        return f"<Breaker {self.name!r}>"
