"""What the workers share about a target, or about an upstream as a whole: the inside of one row of REGION_STATES.

A row begins as zeros, which means: never probed, not drained, not ejected, breaker closed, a fresh retry budget. It
belongs to a name ("UPSTREAM\\0TARGET", "UPSTREAM\\0" for the upstream itself), not to a configuration: after a reload
other numbers are applied to the state that is there.

Who writes what:

* ``streak``, ``buckets``, the other words of the breaker and those of the retry budget: any worker, by
  compare-and-swap.
* What decides whether a target is used (``control``, ``ejection``, ``up_since``, ``breaker``, ``panic``): only the
  holder of the lock in the upstream's row, with one store a change. Then, still under the lock, the generation moves
  on and the event is appended; so events have the order of the changes. Readers never take the lock.
* A holder that dies leaves each word either old or new. Who takes the lock next moves the generation on, in case that
  was missed.

The first cache line is what every try reads; the second and third are what a try writes where a breaker counts
shares; the fourth is needed when something fails.
"""

from libc.stdint cimport uint64_t


cdef extern from "memory/atomics.h" nogil:
    uint64_t atomic_load_relaxed(const uint64_t* word)
    uint64_t atomic_load_acquire(const uint64_t* word)
    void atomic_store_relaxed(uint64_t* word, uint64_t value)
    void atomic_store_release(uint64_t* word, uint64_t value)
    uint64_t atomic_add_relaxed(uint64_t* word, uint64_t amount)
    int atomic_swap_if_equal(uint64_t* word, uint64_t* expected, uint64_t desired)


cdef extern from "memory/sharedlock.h" nogil:
    int shared_lock_prepare(void* place)
    int shared_lock_take(void* place)
    void shared_lock_drop(void* place)


cdef enum:
    BUCKETS = 10                    # sub-windows of a breaker's window


cdef struct State:
    # Line 0
    uint64_t generation             # upstream's row only: moves on with every change of what targets are used
    uint64_t control                # bits 0-1 probe (PROBE_*), bit 2 drained
    uint64_t ejection               # bit 0 ejected, bits 1-15 times, from 16 until when (stays after the return)
    uint64_t up_since               # when it came back; 0 = never gone
    uint64_t streak                 # bits 0-15 failures in a row, from 16 the time of the first; 0 = none
    uint64_t breaker                # bits 0-1 BREAKER_*, 2-21 round, from 22 since when (BREAKER_OPEN: until when)
    uint64_t breaker_streak         # bits 0-43 failures in a row, from 44 the round they belong to
    uint64_t breaker_probes         # see breaker.pyx
    # Lines 1 and 2
    uint64_t buckets[BUCKETS]       # see breaker.pyx
    uint64_t probed_at              # last change of what the probe found
    uint64_t drained_at             # last change of drained
    uint64_t ejections              # so far
    uint64_t openings               # of the breaker, so far
    uint64_t panic                  # upstream's row only, as all that follows: what is used (health.pyx); 0 = off
    uint64_t earlier                # retry budget, see budget.pyx
    # Line 3
    uint64_t tokens                 # retry budget
    uint64_t recent                 # retry budget
    uint64_t lock[6]                # a mutex; 40 bytes on x86-64, 48 on ARM


cdef enum:
    PROBE_UNKNOWN = 0
    PROBE_UP = 1
    PROBE_DOWN = 2
    PROBE_BITS = 3
    DRAINED = 4

cdef enum:
    EJECTED = 1
    MOST_TIMES = 32767

cdef enum:
    BREAKER_CLOSED = 0
    BREAKER_OPEN = 1
    BREAKER_HALF_OPEN = 2
    BREAKER_RECOVERING = 3
    BREAKER_KIND = 3
    ROUND_BITS = 1048575


cdef inline uint64_t elapsed(uint64_t now, uint64_t then) noexcept nogil:
    """Milliseconds between two times; 0 when another process was a little ahead."""
    return now - then if now > then else 0


cdef inline uint64_t milliseconds(double seconds) noexcept nogil:
    """Whole milliseconds; anything above zero is at least one."""
    return max(<uint64_t>(seconds * 1000.0 + 0.5), <uint64_t>1) if seconds > 0.0 else 0


cdef inline uint64_t ejected_until(uint64_t ejection) noexcept nogil:
    return ejection >> 16


cdef inline uint64_t ejected_times(uint64_t ejection) noexcept nogil:
    return (ejection >> 1) & MOST_TIMES


cdef inline uint64_t breaker_round(uint64_t word) noexcept nogil:
    return (word >> 2) & ROUND_BITS


cdef inline uint64_t breaker_time(uint64_t word) noexcept nogil:
    return word >> 22


cdef inline void move_on(State* upstream) noexcept nogil:
    """The generation after this one; under the lock."""
    atomic_store_release(&upstream.generation, atomic_load_relaxed(&upstream.generation) + 1)


cdef inline bint lock_state(State* upstream) noexcept nogil:
    """Takes the lock of an upstream. False = a stopped process holds it: the change has to wait for another time."""
    cdef int taken = shared_lock_take(upstream.lock)
    if taken == 1:
        move_on(upstream)
    return taken >= 0


cdef inline void unlock_state(State* upstream) noexcept nogil:
    shared_lock_drop(upstream.lock)
