"""Health: which targets of an upstream are used, and with what weight; one answer for all workers.

Theory of operation. Three things can take a target out: an active probe that finds it down and an operator who drains
it, both said by the control plane; failures in a row of what the workers sent to it (passive health), which eject it
for a time. A fourth, the breaker of a target, is read here and moved by `breaker.pyx`. All of it lies in the rows of
shared memory (see `target_row.pxd` for who writes what), so any worker's failures count for all.

    streak      time of the first failure, failures in a row. A failure is one compare-and-swap, a success one load,
                and a store when there is something to forget. A failure later than `window` after the first one
                begins a new streak. At `failures` the target is to be ejected, and again after as many more.
    ejection    a flag, how often, until when. Set and cleared under the lock of the upstream.

At most floor(max_ejected * targets) are ejected at once. There is no counter that could drift: with the lock held the
flags of all targets are counted. A target whose time has passed counts until its flag is cleared, by whoever notices
first (a worker that weighs, one that ejects, or the control plane in sweep()), under the lock, with one event. So the
bound holds for the flags at every moment, and the flags are what everybody goes by. A target that left the
configuration while ejected is not among the rows that are counted; should it come back it returns then.

The k-th ejection lasts k * `eject`, at most `max_eject`. A return keeps k; for each whole `eject` between the end of
one ejection and the next failure that ejects, one is forgotten.

The generation in the upstream's row moves on after every change of what may be used. A worker compares it with the
one it last weighed, and the clock with the next time at which something changes by itself (a return, a breaker that
may be tried, a step of slow start): one load and two comparisons a request; weigh() is needed only after a change.
It is O(targets).

weigh() in words. A target is healthy when it is not drained, down, ejected or behind an open breaker. Primaries that
are healthy get their base weight, those that came back less than `slow_start` ago a share of it that grows in STEPS
steps from a tenth to all. Backups get theirs if no primary is healthy; until then they are the reserve of a request
whose primaries have all been tried. Panic: if less than `panic_threshold` of the primaries that are not drained are
healthy, then those that are ejected are used too, because what is left would not
bear the load. Those that the probe says are down are used only when that is true of all of them: any answer is better
than none, and the probe may be wrong; with `panic_over_probes` they are used in every panic. Not so if no primary is
healthy and a backup is, nor where only breakers are open: these are never passed over.

Safety. Deciding words are written under the lock, one store a change, and read without it. A process that dies with
the lock held leaves each word old or new, and the next holder moves the generation on. A worker never waits for more
than 50 ms for the lock, which is held for the time of a look at each target; without it it does nothing and tries
again with the next failure, or the next weigh().
"""

from collections import namedtuple

from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc, free

from fastgate._core.memory.events cimport (
    EVENT_DRAINED,
    EVENT_EJECTED,
    EVENT_ENABLED,
    EVENT_HEALTH,
    EVENT_PANIC,
    EVENT_RETURNED,
    STATE_ALL,
    STATE_CLOSED,
    STATE_DOWN,
    STATE_DRAINED,
    STATE_EJECTED,
    STATE_OFF,
    STATE_ON,
    STATE_UNKNOWN,
    STATE_UP,
    EventRing,
)
from fastgate._core.memory.target_row cimport (
    BREAKER_KIND,
    BREAKER_OPEN,
    DRAINED,
    EJECTED,
    MOST_TIMES,
    PROBE_BITS,
    PROBE_DOWN,
    PROBE_UNKNOWN,
    PROBE_UP,
    State,
    atomic_load_acquire,
    atomic_load_relaxed,
    atomic_store_relaxed,
    atomic_store_release,
    atomic_swap_if_equal,
    breaker_time,
    ejected_times,
    ejected_until,
    elapsed,
    lock_state,
    milliseconds,
    move_on,
    shared_lock_prepare,
    unlock_state,
)
from fastgate._core.memory.targets cimport STATE_SIZE, TargetRows

from fastgate._core.memory.events import STATES

cdef extern from "memory/atomics.h" nogil:
    uint64_t monotonic_ms()

cdef enum:
    STEPS = 20                  # of slow start
    STREAK_COUNT = 65535        # the bits of a streak that count

# How a target stands.
cdef enum:
    HEALTHY
    PUT_OUT                     # ejected
    FOUND_DOWN                  # by the probe
    SHUT                        # its breaker is open
    TAKEN_OUT                   # drained

# What is used beside healthy targets, as the upstream's row says it.
cdef enum:
    CALM
    OVER_EJECTIONS
    OVER_PROBES                 # and over ejections

cdef int[3] PANIC_STATES
PANIC_STATES[:] = [STATE_OFF, STATE_ON, STATE_ALL]

cdef uint64_t FOREVER = <uint64_t>-1
NEVER = FOREVER

TargetStatus = namedtuple(
    "TargetStatus", "state since until up_since times ejections failures breaker", module=__name__
)
TargetStatus.__doc__ = "What is known of a target. Times are milliseconds of ``Segment.now()``; 0 = never."


cdef class UpstreamHealth:
    """The health of the targets of one upstream, which all processes share that have the rows. Times are seconds."""

    def __cinit__(
        self, TargetRows memory not None, str name not None, targets, *, EventRing events not None, backups=(),
        failures=0, window=10.0, eject=30.0, max_eject=300.0, max_ejected=0.5, slow_start=0.0,
        panic_threshold=0.5, panic_over_probes=False
    ):
        cdef int index
        self.memory = memory
        self.events = events
        self.name = name
        self.targets = tuple(targets)
        self.size = <int>len(self.targets)
        self.row = memory.row(f"{name}\0")
        self.upstream = <State*>memory.state(self.row)
        if shared_lock_prepare(self.upstream.lock) < 0:
            raise RuntimeError("the mutexes of this C library cannot be shared between processes")
        self.states = <State**>calloc(self.size + 1, sizeof(State*))
        self.rows = <int*>calloc(self.size + 1, sizeof(int))
        self.backups = <unsigned char*>calloc(self.size + 1, 1)
        if self.states == NULL or self.rows == NULL or self.backups == NULL:
            raise MemoryError
        backups = set(backups)
        if not backups.issubset(self.targets):
            raise ValueError(f"a backup of upstream {name!r} is not among its targets")
        for index in range(self.size):
            self.rows[index] = memory.row(f"{name}\0{self.targets[index]}")
            self.states[index] = <State*>memory.state(self.rows[index])
            self.backups[index] = self.targets[index] in backups
        self.failures = min(failures, STREAK_COUNT)
        self.window = milliseconds(window)
        self.eject = max(milliseconds(eject), <uint64_t>1)
        self.max_eject = max(milliseconds(max_eject), self.eject)
        # 0.29 * 100 is a little less than 29.
        self.allowed = <int>(max_ejected * self.size + 1e-9)
        self.slow_start = milliseconds(slow_start)
        self.panic_threshold = panic_threshold
        self.panic_over_probes = panic_over_probes
        self.seen = FOREVER

    def __dealloc__(self):
        free(self.states)
        free(self.rows)
        free(self.backups)

    # Weights.

    cdef bint changed(self, uint64_t now) noexcept:
        """Whether weigh() has to be asked again: always before its first call."""
        return atomic_load_acquire(&self.upstream.generation) != self.seen or now >= self.next_change

    cdef void weigh(self, uint64_t now, const double* base, double* weights, double* reserve) noexcept:
        """Writes the weight of each target at this moment, and into ``reserve`` the weights that healthy backups would
        have if they were used. ``reserve`` may be NULL.
        """
        cdef int index, healthy, wanted, standing, panic
        cdef State* state
        self.return_due(now)
        # The generation first: a change that comes in between makes changed() true again.
        self.seen = atomic_load_acquire(&self.upstream.generation)
        self.next_change = FOREVER
        panic = self.panics(now, &healthy)
        if <uint64_t>panic != atomic_load_relaxed(&self.upstream.panic):
            self.settle_panic(now)
        wanted = 0 if panic or healthy > 0 else 1
        for index in range(self.size):
            state = self.states[index]
            standing = self.standing(state, now)
            if reserve != NULL:
                reserve[index] = base[index] if standing == HEALTHY and self.backups[index] and not wanted else 0.0
            # Also of one that is taken out: when it comes back, that has been over since then.
            if atomic_load_relaxed(&state.ejection) & EJECTED:
                self.expect(max(ejected_until(atomic_load_relaxed(&state.ejection)), now + 1))
            if standing == TAKEN_OUT:
                weights[index] = 0.0
                continue
            # Asked for all of them, because it also notes when something will change.
            weights[index] = base[index] * self.ramp(state, now)
            if standing == SHUT:
                self.expect(breaker_time(atomic_load_relaxed(&state.breaker)))
            if self.backups[index] != wanted or standing == SHUT:
                weights[index] = 0.0
            elif standing == FOUND_DOWN and panic != OVER_PROBES:
                weights[index] = 0.0
            elif panic:
                weights[index] = base[index]
            elif standing != HEALTHY:
                weights[index] = 0.0

    cdef int standing(self, State* state, uint64_t now) noexcept:
        cdef uint64_t control = atomic_load_relaxed(&state.control)
        cdef uint64_t breaker = atomic_load_relaxed(&state.breaker)
        if control & DRAINED:
            return TAKEN_OUT
        if breaker & BREAKER_KIND == BREAKER_OPEN and now < breaker_time(breaker):
            return SHUT
        if control & PROBE_BITS == PROBE_DOWN:
            return FOUND_DOWN
        return PUT_OUT if atomic_load_relaxed(&state.ejection) & EJECTED else HEALTHY

    cdef int panics(self, uint64_t now, int* healthy) noexcept:
        """Whether so few primaries are healthy that others are to be used, and which; also says how many are."""
        cdef int index, standing, primaries = 0, up = 0, ejected = 0, down = 0, backups = 0
        healthy[0] = 0
        for index in range(self.size):
            standing = self.standing(self.states[index], now)
            if self.backups[index]:
                backups += standing == HEALTHY
            elif standing != TAKEN_OUT:
                primaries += 1
                healthy[0] += standing == HEALTHY
                up += atomic_load_relaxed(&self.states[index].control) & PROBE_BITS != PROBE_DOWN
                ejected += standing == PUT_OUT
                down += standing == FOUND_DOWN
        if (healthy[0] == 0 and backups > 0) or healthy[0] >= self.panic_threshold * primaries - 1e-9:
            return CALM
        if down > 0 and (self.panic_over_probes or up == 0):
            return OVER_PROBES
        return OVER_EJECTIONS if ejected > 0 else CALM

    cdef void settle_panic(self, uint64_t now) noexcept:
        """Brings the word in the upstream's row in line, with an event; a no-op when somebody else has done it."""
        cdef int healthy, panic
        cdef uint64_t before
        if not lock_state(self.upstream):
            return
        panic = self.panics(now, &healthy)
        before = atomic_load_relaxed(&self.upstream.panic)
        if <uint64_t>panic != before:
            atomic_store_release(&self.upstream.panic, <uint64_t>panic)
            self.events.put(EVENT_PANIC, self.row, PANIC_STATES[before], PANIC_STATES[panic], healthy, now)
        unlock_state(self.upstream)

    cdef double ramp(self, State* state, uint64_t now) noexcept:
        """The share of its weight that a target has in slow start."""
        cdef uint64_t since = atomic_load_relaxed(&state.up_since)
        cdef uint64_t passed = elapsed(now, since)
        cdef uint64_t step
        if since == 0 or passed >= self.slow_start:
            return 1.0
        step = passed * STEPS // self.slow_start
        self.expect(max(since + ((step + 1) * self.slow_start + STEPS - 1) // STEPS, now + 1))
        return max(0.1, <double>step / STEPS)

    cdef void expect(self, uint64_t time) noexcept:
        if time < self.next_change:
            self.next_change = time

    cdef uint64_t retry_after_ms(self, uint64_t now) noexcept:
        """When time alone may bring a target back, as of the last weigh(); 0 = not known."""
        return 0 if self.next_change == FOREVER else elapsed(self.next_change, now)

    # Passive health.

    cdef void succeeded(self, int index) noexcept:
        """A try of this target had a good outcome."""
        cdef State* state = self.states[index]
        if atomic_load_relaxed(&state.streak) != 0:
            atomic_store_relaxed(&state.streak, 0)

    cdef void failed(self, int index, uint64_t now) noexcept:
        """A try of this target had a bad outcome."""
        cdef State* state = self.states[index]
        cdef uint64_t found, count, first, ejection
        if self.failures == 0:
            return
        ejection = atomic_load_relaxed(&state.ejection)
        if ejection & EJECTED:
            if now < ejected_until(ejection):
                return          # begun before the ejection, or in panic
            self.give_back(index, now)
        found = atomic_load_relaxed(&state.streak)
        while True:
            first = found >> 16
            count = (found & STREAK_COUNT) + 1
            if count == 1 or elapsed(now, first) > self.window:
                first = now
                count = 1
            elif count > STREAK_COUNT:
                count = STREAK_COUNT
            if atomic_swap_if_equal(&state.streak, &found, first << 16 | count):
                break
        if count >= self.failures and count % self.failures == 0:
            self.try_eject(index, now)

    cdef bint try_eject(self, int index, uint64_t now) noexcept:
        """Ejects a target unless too many are ejected already."""
        cdef State* state = self.states[index]
        cdef uint64_t ejection, times, forgotten, length
        cdef int other, ejected = 0, before
        self.return_due(now)
        if not lock_state(self.upstream):
            return False
        ejection = atomic_load_relaxed(&state.ejection)
        for other in range(self.size):
            ejected += atomic_load_relaxed(&self.states[other].ejection) & EJECTED
        if ejection & EJECTED or ejected >= self.allowed:
            unlock_state(self.upstream)
            return False
        before = self.word_of(state)
        forgotten = elapsed(now, ejected_until(ejection)) // self.eject
        times = ejected_times(ejection)
        times = min((times - forgotten if times > forgotten else 0) + 1, <uint64_t>MOST_TIMES)
        length = min(times * self.eject, self.max_eject)
        atomic_store_relaxed(&state.streak, 0)
        atomic_store_release(&state.ejection, (now + length) << 16 | times << 1 | EJECTED)
        atomic_store_relaxed(&state.ejections, atomic_load_relaxed(&state.ejections) + 1)
        move_on(self.upstream)
        self.events.put(EVENT_EJECTED, self.rows[index], before, STATE_EJECTED, length, now)
        unlock_state(self.upstream)
        return True

    cdef void return_due(self, uint64_t now) noexcept:
        """Lets those return whose time has passed."""
        cdef int index
        cdef uint64_t ejection
        for index in range(self.size):
            ejection = atomic_load_relaxed(&self.states[index].ejection)
            if ejection & EJECTED and ejected_until(ejection) <= now:
                self.give_back(index, now)

    cdef void give_back(self, int index, uint64_t now) noexcept:
        cdef State* state = self.states[index]
        cdef uint64_t ejection
        if not lock_state(self.upstream):
            return
        ejection = atomic_load_relaxed(&state.ejection)
        if ejection & EJECTED and ejected_until(ejection) <= now:
            atomic_store_relaxed(&state.streak, 0)
            atomic_store_relaxed(&state.up_since, now)
            atomic_store_release(&state.ejection, ejection & ~<uint64_t>EJECTED)
            move_on(self.upstream)
            self.events.put(
                EVENT_RETURNED, self.rows[index], STATE_EJECTED, self.word_of(state), ejected_times(ejection), now
            )
        unlock_state(self.upstream)

    cdef int word_of(self, State* state) noexcept:
        """The state of a target in one word: STATE_*."""
        cdef uint64_t control = atomic_load_relaxed(&state.control)
        if control & DRAINED:
            return STATE_DRAINED
        if control & PROBE_BITS == PROBE_DOWN:
            return STATE_DOWN
        if atomic_load_relaxed(&state.ejection) & EJECTED:
            return STATE_EJECTED
        return STATE_UP if control & PROBE_BITS == PROBE_UP else STATE_UNKNOWN

    # For Python.

    cdef int lock(self) except -1:
        cdef int _turn
        for _turn in range(20):
            if lock_state(self.upstream):
                return 0
        raise TimeoutError(f"the state of upstream {self.name!r} is locked by a process that does not continue")

    def target(self, int index) -> TargetHealth:
        """The target at this position. Raises IndexError when there is none."""
        if not 0 <= index < self.size:
            raise IndexError(f"target {index} of {self.size}")
        cdef TargetHealth target = TargetHealth.__new__(TargetHealth)
        target.upstream = self
        target.name = self.targets[index]
        target.row = self.rows[index]
        target.state = self.states[index]
        target.index = index
        return target

    def is_changed(self, now=None) -> bool:
        """Whether ``weights()`` may answer something else than it last did."""
        return self.changed(monotonic_ms() if now is None else now)

    def weights(self, base=None, now=None) -> list:
        """The weight of each target at this moment: its ``base`` (1.0), reduced, or 0.0 when it is not to be used.

        Raises ValueError when ``base`` has another length than ``targets``.
        """
        cdef int index
        cdef double* words
        if base is not None and len(base) != self.size:
            raise ValueError(f"{len(base)} weights for {self.size} targets")
        words = <double*>calloc(2 * self.size + 1, sizeof(double))
        if words == NULL:
            raise MemoryError
        try:
            for index in range(self.size):
                words[index] = 1.0 if base is None else base[index]
            self.weigh(monotonic_ms() if now is None else now, words, words + self.size, NULL)
            return [words[self.size + index] for index in range(self.size)]
        finally:
            free(words)

    def sweep(self, now=None) -> None:
        """What time brings about: targets return, panic begins or ends. To be called ten times a second."""
        cdef uint64_t time = monotonic_ms() if now is None else now
        cdef int healthy
        self.return_due(time)
        if <uint64_t>self.panics(time, &healthy) != atomic_load_relaxed(&self.upstream.panic):
            self.settle_panic(time)

    def retry_after(self, now=None) -> float:
        """In how many seconds the passing of time alone may bring a target back; 0.0 when that is not known."""
        return self.retry_after_ms(monotonic_ms() if now is None else now) / 1000.0

    @property
    def generation(self) -> int:
        """Moves on with every change of what targets are used."""
        return atomic_load_acquire(&self.upstream.generation)

    @property
    def panic(self) -> bool:
        """Whether so few targets are healthy that others are used too."""
        return atomic_load_relaxed(&self.upstream.panic) != 0

    def __repr__(self) -> str:
        return f"<UpstreamHealth {self.name!r} of {self.size} targets>"


cdef class TargetHealth:
    """One target of an upstream; made by ``UpstreamHealth.target()``."""

    def __init__(self):
        raise TypeError("use UpstreamHealth.target()")

    cdef void failed(self, uint64_t now) noexcept:
        self.upstream.failed(self.index, now)

    cdef void succeeded(self) noexcept:
        self.upstream.succeeded(self.index)

    def set_probe(self, up, now=None) -> None:
        """What the active probe found; None = it is not probed any more. For the control plane alone.

        This method, drain() and enable() raise TimeoutError when a stopped process holds the lock of the upstream.
        """
        cdef uint64_t time = monotonic_ms() if now is None else now
        cdef uint64_t probe = PROBE_UNKNOWN if up is None else PROBE_UP if up else PROBE_DOWN
        cdef uint64_t control, before
        self.upstream.lock()
        control = atomic_load_relaxed(&self.state.control)
        before = control & PROBE_BITS
        if probe != before:
            if before == PROBE_DOWN:
                atomic_store_relaxed(&self.state.up_since, time)
            atomic_store_relaxed(&self.state.probed_at, time)
            atomic_store_release(&self.state.control, control & ~<uint64_t>PROBE_BITS | probe)
            move_on(self.upstream.upstream)
            self.upstream.events.put(
                EVENT_HEALTH, self.row, <int>(STATE_UNKNOWN + before), <int>(STATE_UNKNOWN + probe), 0, time
            )
        unlock_state(self.upstream.upstream)

    def drain(self, now=None) -> None:
        """No more new requests for this target. For the control plane alone."""
        cdef uint64_t time = monotonic_ms() if now is None else now
        cdef uint64_t control
        cdef int before
        self.upstream.lock()
        control = atomic_load_relaxed(&self.state.control)
        if not control & DRAINED:
            before = self.upstream.word_of(self.state)
            atomic_store_relaxed(&self.state.drained_at, time)
            atomic_store_release(&self.state.control, control | DRAINED)
            move_on(self.upstream.upstream)
            self.upstream.events.put(EVENT_DRAINED, self.row, before, STATE_DRAINED, 0, time)
        unlock_state(self.upstream.upstream)

    def enable(self, now=None) -> None:
        """Takes back ``drain()``. For the control plane alone."""
        cdef uint64_t time = monotonic_ms() if now is None else now
        cdef uint64_t control
        self.upstream.lock()
        control = atomic_load_relaxed(&self.state.control)
        if control & DRAINED:
            atomic_store_relaxed(&self.state.up_since, time)
            atomic_store_relaxed(&self.state.drained_at, time)
            atomic_store_release(&self.state.control, control & ~<uint64_t>DRAINED)
            move_on(self.upstream.upstream)
            self.upstream.events.put(
                EVENT_ENABLED, self.row, STATE_DRAINED, self.upstream.word_of(self.state), 0, time
            )
        unlock_state(self.upstream.upstream)

    def record(self, ok, now=None) -> None:
        """The outcome of a try."""
        if ok:
            self.succeeded()
        else:
            self.failed(monotonic_ms() if now is None else now)

    def status(self, now=None) -> TargetStatus:
        """What is known of the target."""
        cdef uint64_t time = monotonic_ms() if now is None else now
        cdef uint64_t ejection, streak, up_since
        cdef int word
        if self.state.ejection & EJECTED and ejected_until(self.state.ejection) <= time:
            self.upstream.give_back(self.index, time)
        ejection = atomic_load_relaxed(&self.state.ejection)
        streak = atomic_load_relaxed(&self.state.streak)
        up_since = atomic_load_relaxed(&self.state.up_since)
        word = self.upstream.word_of(self.state)
        since = up_since
        if word == STATE_DRAINED:
            since = atomic_load_relaxed(&self.state.drained_at)
        elif word == STATE_DOWN:
            since = atomic_load_relaxed(&self.state.probed_at)
        elif word == STATE_EJECTED:
            length = min(ejected_times(ejection) * self.upstream.eject, self.upstream.max_eject)
            since = elapsed(ejected_until(ejection), length)
        elif since == 0:
            since = atomic_load_relaxed(&self.state.probed_at)
        return TargetStatus(
            STATES[word], since, ejected_until(ejection), up_since, ejected_times(ejection),
            atomic_load_relaxed(&self.state.ejections), streak & STREAK_COUNT,
            STATES[STATE_CLOSED + (atomic_load_relaxed(&self.state.breaker) & BREAKER_KIND)]
        )

    def __repr__(self) -> str:
        return f"<TargetHealth {self.name!r} of {self.upstream.name!r}>"


assert sizeof(State) == STATE_SIZE, "a row and its structure differ"
