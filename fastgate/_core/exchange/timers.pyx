"""Timer wheel: the deadlines of every connection and exchange of a worker, kept by one repeating timer.

Theory of operation
-------------------
A request passes half a dozen deadlines (head, policies, connect, read, idle, keep-alive) and nearly all are met. So
setting one must cost a store, and only the few that pass may cost more. Each owner is a `Timed` entry with one
integer, ``due``. The wheel has 512 slots of one tick (`TICK` ms) each; an entry hangs in the slot of the tick at
which it will be looked at (``visit``).

* Arming later than ``visit`` only stores ``due``: when the wheel comes by it sees that the entry is not due and hangs
  it further on.
* Arming earlier than ``visit`` moves the entry: one unlink and one link.
* Disarming is ``due = 0``; the entry falls off when the wheel comes by.
* A deadline beyond the horizon (512 ticks) is looked at once per turn of the wheel.

An entry fires at most two ticks late. Deadlines are counted from the last turn: where the loop was busy for longer
than a tick, by one callback, what is armed at its end may fire early by that time, and everything fires late by it.
Links are borrowed pointers: the wheel keeps nothing alive, an entry takes itself out when it dies.
"""

from libc.stdint cimport uint64_t
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

cdef enum:
    TICK = 50
    SLOTS = 512

TICK_MS = TICK


def milliseconds(seconds):
    """Whole milliseconds; anything above zero is at least one, and anything above 49 days is that."""
    return min(max(1, round(seconds * 1000)), 0xFFFFFFFF) if seconds > 0 else 0


cdef uint64_t clock_us() noexcept nogil:
    """CLOCK_MONOTONIC in microseconds."""
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <uint64_t>now.tv_sec * 1000000 + <uint64_t>now.tv_nsec // 1000


cdef class Timed:
    """Something with one deadline. Subclasses say in `expired` what passing it means."""

    def __cinit__(self):
        self.before = NULL
        self.after = NULL

    def __dealloc__(self):
        self.unlink()

    cdef int expired(self) except -1:
        return 0

    cdef void unlink(self) noexcept:
        if self.visit == 0:
            return
        if self.before != NULL:
            (<Timed>self.before).after = self.after
        else:
            self.slot[0] = self.after
        if self.after != NULL:
            (<Timed>self.after).before = self.before
        self.before = self.after = NULL
        self.visit = 0


cdef class Wheel:
    """The deadlines of one worker. `turn` is called by the loop about every `TICK_MS` milliseconds."""

    def __cinit__(self, failed):
        """``failed(error)`` is told what an entry raised; the others go on."""
        cdef int i
        self.failed = failed
        for i in range(SLOTS):
            self.slots[i] = NULL
        self.now = clock_us() // 1000
        self.tick = self.now // TICK

    def __dealloc__(self):
        cdef Timed entry
        cdef int i
        for i in range(SLOTS):
            while self.slots[i] != NULL:
                entry = <Timed>self.slots[i]
                self.slots[i] = entry.after
                entry.before = entry.after = NULL
                entry.visit = 0

    cdef void arm(self, Timed entry, uint64_t delay) noexcept:
        """Sets the deadline ``delay`` milliseconds from now; 0 takes it away."""
        cdef uint64_t visit
        if delay == 0:
            entry.due = 0
            return
        # `now` may be a tick old: one more tick, so that no deadline passes early.
        entry.due = self.now + delay + TICK
        visit = entry.due // TICK
        if entry.visit != 0 and entry.visit <= visit:
            return
        entry.unlink()
        self.place(entry, visit)

    cdef void place(self, Timed entry, uint64_t visit) noexcept:
        cdef PyObject** slot
        if visit <= self.tick:
            visit = self.tick + 1
        elif visit > self.tick + SLOTS - 1:
            visit = self.tick + SLOTS - 1
        slot = &self.slots[visit % SLOTS]
        entry.slot = slot
        entry.visit = visit
        entry.before = NULL
        entry.after = slot[0]
        if slot[0] != NULL:
            (<Timed>slot[0]).before = <PyObject*>entry
        slot[0] = <PyObject*>entry

    cpdef int turn(self) except -1:
        """Fires what is due. Entries fire in no particular order within a tick."""
        return self.turn_to(clock_us() // 1000)

    cdef int turn_to(self, uint64_t now) except -1:
        """`turn` at a given time, in milliseconds; never back."""
        cdef uint64_t target
        cdef Timed entry
        cdef PyObject** slot
        self.now = now
        target = self.now // TICK
        if target > self.tick + SLOTS:
            # The loop stood still for a whole turn: every slot is looked at once.
            self.tick = target - SLOTS
        while self.tick < target:
            self.tick += 1
            slot = &self.slots[self.tick % SLOTS]
            while slot[0] != NULL:
                entry = <Timed>slot[0]
                entry.unlink()
                if entry.due == 0:
                    continue
                if entry.due > self.now:
                    self.place(entry, entry.due // TICK)
                    continue
                entry.due = 0
                try:
                    entry.expired()
                except Exception as error:
                    self.failed(error)
        return 0
