"""Events: what changed in the state of targets, in order, for whoever wants to tell somebody.

Theory of operation. A ring of EVENTS records of one cache line in shared memory, behind a line with the head: the
number of events so far. A writer takes the next number with one addition and fills the record at number % EVENTS:

    sequence = (number << 1) | 1    by compare-and-swap: the record is being written
    the fields, and a check sum over them
    sequence = number << 1          by compare-and-swap: published

Readers have a cursor each and change nothing. They copy a record between two looks at its sequence and drop the copy
if that moved. A reader that was lapped goes on with the oldest record that is still there and counts what it missed.

Safety. A writer never waits. One that was overtaken by a whole lap finds a higher sequence and drops its event; one
that was stopped while it wrote cannot publish any more (its swap fails), and if it spoilt what the next one wrote the
check sum tells. A writer that died after it took a number leaves a hole; readers wait a second for it, once for all
holes of that moment, then skip it.

Cost: one addition, two swaps, six stores. Events are rare, every one is a change that an operator would want to see.
"""

from collections import namedtuple

from libc.stdint cimport uint64_t

from fastgate._core.memory.region cimport EVENTS_LAYOUT, Region
from fastgate._core.memory.target_row cimport (
    atomic_add_relaxed,
    atomic_load_acquire,
    atomic_load_relaxed,
    atomic_store_release,
    atomic_swap_if_equal,
)

cdef extern from "memory/atomics.h" nogil:
    uint64_t monotonic_ms()

cdef enum:
    PATIENCE = 1000             # milliseconds for which a hole is waited for

KINDS = ("", "health", "ejected", "returned", "breaker", "drained", "enabled", "panic")
STATES = (
    "unknown", "up", "down", "ejected", "drained", "closed", "open", "half-open", "recovering", "off", "on", "all",
)

StateEvent = namedtuple("StateEvent", "sequence time kind row old new value", module=__name__)
StateEvent.__doc__ = "One change of the state of a target or an upstream."


cdef inline uint64_t claim_of(uint64_t number) noexcept:
    return (number << 1) | 1


cdef inline uint64_t check_of(uint64_t number, uint64_t time, uint64_t what, uint64_t row, uint64_t value) noexcept:
    cdef uint64_t total = number
    total = (total ^ time) * <uint64_t>0x9E3779B97F4A7C15
    total = (total ^ what ^ (total >> 29)) * <uint64_t>0x9E3779B97F4A7C15
    total = (total ^ row ^ (total >> 29)) * <uint64_t>0x9E3779B97F4A7C15
    return (total ^ value ^ (total >> 29)) * <uint64_t>0x9E3779B97F4A7C15


cdef size_t events_size() noexcept:
    """Bytes of the region."""
    return (EVENTS + 1) * sizeof(Record)


cdef class EventRing:
    """The events of a region, with a cursor of this object's own. ``after`` is the sequence number to begin after."""

    def __cinit__(self, Region region not None, uint64_t after=0):
        cdef unsigned char* base = region.open("events", EVENTS_LAYOUT, events_size())
        self.region = region
        self.head = <uint64_t*>base
        self.records = <Record*>(base + sizeof(Record))
        self.cursor = after

    cdef void put(self, int kind, uint64_t row, int old, int new, uint64_t value, uint64_t now) noexcept:
        cdef uint64_t number = atomic_add_relaxed(self.head, 1) + 1
        cdef Record* record = &self.records[number % EVENTS]
        cdef uint64_t found = atomic_load_acquire(&record.sequence)
        cdef uint64_t claim = claim_of(number)
        cdef uint64_t what = <uint64_t>kind | (<uint64_t>old << 8) | (<uint64_t>new << 16)
        while found < claim:
            if atomic_swap_if_equal(&record.sequence, &found, claim):
                break
        else:
            return
        # Release stores, so that no reader sees a field that is newer than the claim.
        atomic_store_release(&record.time, now)
        atomic_store_release(&record.what, what)
        atomic_store_release(&record.row, row)
        atomic_store_release(&record.value, value)
        atomic_store_release(&record.check, check_of(number, now, what, row, value))
        atomic_swap_if_equal(&record.sequence, &claim, number << 1)

    def append(self, str kind, uint64_t row, str old, str new, uint64_t value=0, now=None) -> None:
        """Appends an event. Raises ValueError for a kind or a state that does not exist."""
        if not kind:
            raise ValueError("an event has a kind")
        self.put(
            KINDS.index(kind), row, STATES.index(old), STATES.index(new), value, monotonic_ms() if now is None else now
        )

    def read(self, now=None) -> list:
        """The events after the cursor, in order.

        An event that some process has begun and not finished holds up those behind it for at most one second.
        """
        cdef uint64_t time = monotonic_ms() if now is None else now
        cdef uint64_t last = atomic_load_acquire(self.head)
        cdef uint64_t number, sequence, when, what, row, value, check
        cdef Record* record
        found = []
        if last > EVENTS and self.cursor < last - EVENTS:
            self.missed += last - EVENTS - self.cursor
            self.cursor = last - EVENTS
        while self.cursor < last:
            number = self.cursor + 1
            record = &self.records[number % EVENTS]
            sequence = atomic_load_acquire(&record.sequence)
            if sequence == number << 1:
                when = atomic_load_acquire(&record.time)
                what = atomic_load_acquire(&record.what)
                row = atomic_load_acquire(&record.row)
                value = atomic_load_acquire(&record.value)
                check = atomic_load_acquire(&record.check)
                sequence = atomic_load_relaxed(&record.sequence)
                if sequence == number << 1 and check == check_of(number, when, what, row, value):
                    found.append(StateEvent(
                        number, when, KINDS[what & 255], row, STATES[(what >> 8) & 255], STATES[(what >> 16) & 255],
                        value
                    ))
                    self.cursor = number
                    continue
            elif sequence <= claim_of(number):
                # Not published yet, or never.
                if number > self.hole_before:
                    self.hole_before = last
                    self.hole_since = time
                if time < self.hole_since + PATIENCE:
                    break
            # Overwritten, spoilt or given up.
            self.cursor = number
            self.missed += 1
        return found

    @property
    def last(self) -> int:
        """The sequence number of the newest event, 0 when there was none."""
        return atomic_load_acquire(self.head)


assert sizeof(Record) == 64
