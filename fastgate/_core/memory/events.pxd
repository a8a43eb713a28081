cimport cython
from libc.stdint cimport uint64_t

from fastgate._core.memory.region cimport Region

cdef enum:
    EVENTS = 1024               # places in the ring

# What happened.
cdef enum:
    EVENT_HEALTH = 1            # an active probe changed its mind: unknown, up, down
    EVENT_EJECTED = 2           # value = for how many milliseconds
    EVENT_RETURNED = 3          # value = how often it was ejected of late
    EVENT_BREAKER = 4           # value = the number of this change in the life of the breaker
    EVENT_DRAINED = 5
    EVENT_ENABLED = 6
    EVENT_PANIC = 7             # value = how many primary targets are healthy

# The states between which it changed, as they are called in `StateEvent`.
cdef enum:
    STATE_UNKNOWN = 0
    STATE_UP = 1
    STATE_DOWN = 2
    STATE_EJECTED = 3
    STATE_DRAINED = 4
    STATE_CLOSED = 5            # STATE_CLOSED + BREAKER_*
    STATE_OPEN = 6
    STATE_HALF_OPEN = 7
    STATE_RECOVERING = 8
    STATE_OFF = 9
    STATE_ON = 10
    STATE_ALL = 11


# One cache line. ``check`` is a sum over the rest, so that a record that two writers spoilt is recognised.
cdef struct Record:
    uint64_t sequence           # see events.pyx
    uint64_t time
    uint64_t what               # kind, old, new: 8 bits each
    uint64_t row
    uint64_t value
    uint64_t check
    uint64_t reserved[2]


@cython.final
cdef class EventRing:
    cdef Region region
    cdef uint64_t* head
    cdef Record* records
    cdef readonly uint64_t cursor
    cdef readonly uint64_t missed
    cdef uint64_t hole_before           # an event that is not there yet and lies before this position ...
    cdef uint64_t hole_since            # ... is waited for since then

    cdef void put(self, int kind, uint64_t row, int old, int new, uint64_t value, uint64_t now) noexcept


cdef size_t events_size() noexcept
