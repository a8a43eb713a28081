cimport cython
from libc.stdint cimport uint32_t, uint64_t

from fastgate._core.memory.region cimport Region


cdef enum:
    FLIGHT_BUCKETS = 512
    FLIGHT_WAYS = 7             # rows of a bucket
    FLIGHT_HINTS = 8            # words with a bit for each bucket
    FLIGHT_PLACES = 4           # words that say where the record is that fills
    FLIGHT_SLOTS = 4096         # at most

# The state of a row.
cdef enum:
    FLIGHT_FREE = 0
    FLIGHT_TAKEN = 1            # its owner writes what it is for
    FLIGHT_ASKING = 2           # the upstream is asked, there is no answer yet
    FLIGHT_FILLING = 3          # there is a record, to which `filled` bytes of the body have come
    FLIGHT_COMPLETE = 4
    FLIGHT_REFUSED = 5          # the answer may not be shared; nobody waits for it again for a while
    FLIGHT_FAILED = 6
    FLIGHT_GIVEN_UP = 7         # its leader is gone before there was an answer: the first that wants to leads
    FLIGHT_TAKING_OVER = 8      # its next leader writes that it leads now
    FLIGHT_OVER = 9             # what a look at a flight says whose row has another life by now, or is free

# What enter() says.
cdef enum:
    FLIGHT_LEAD = 1             # the caller asks the upstream, and owes the flight an end
    FLIGHT_FOLLOW = 2           # another one does
    FLIGHT_ALONE = 3            # waiting has shown to be of no use for this key: ask without a flight
    FLIGHT_FULL = 4             # there is no row: ask without a flight


# 128 bytes.
cdef struct FlightRow:
    uint64_t word               # life:40 | owner:16 | state:8
    uint64_t hash
    uint64_t number             # of purges, when the request was sent
    uint64_t mask               # bit slot % 64 of slots that wait
    uint64_t until              # refused: milliseconds of CLOCK_MONOTONIC; else since when it is in use
    uint64_t filled             # bytes
    uint64_t joined             # 1 = some other exchange has waited for it
    uint64_t cause              # of a failure, as its leader says it
    uint64_t place[FLIGHT_PLACES]
    uint64_t reserved[4]


# Eight times 128 bytes. The pair has 16 bits for each row, of the hash that it is listed under, and a version.
cdef struct FlightBucket:
    uint64_t pair[2]
    uint64_t reserved[14]
    FlightRow rows[FLIGHT_WAYS]


# Two cache lines.
cdef struct FlightSlot:
    uint64_t hints[FLIGHT_HINTS]       # buckets in which something happened that this slot waits for
    # Counters, written by the worker of the slot.
    uint64_t led
    uint64_t followed
    uint64_t alone
    uint64_t full
    uint64_t taken_over
    uint64_t told
    uint64_t woken
    uint64_t reserved


# Which flight: a row in one of its lives.
cdef struct Ticket:
    int row
    uint64_t life


# What lies in a row.
cdef struct FlightView:
    int state
    int owner
    uint64_t number
    uint64_t filled
    uint64_t cause
    uint64_t place[FLIGHT_PLACES]


# Who waits for news of a flight, once: a delivery derives from it.
cdef class Waiter:
    cdef Ticket ticket
    cdef int seen_state             # what it knows, by its last look
    cdef uint64_t seen_filled
    cdef bint waits
    cdef bint due                   # it is to be told, unless it leaves before

    # There is news; it waits no more. May call wait() again, and anything else.
    cdef int told(self, int state, uint64_t filled) except -1


@cython.final
cdef class Flights:
    cdef readonly Region region
    cdef readonly int slot          # -1: of no worker; leads and waits for nothing
    cdef FlightBucket* buckets
    cdef FlightSlot* slots
    cdef FlightSlot* own
    cdef int* wakers                # an eventfd for each slot
    cdef dict waiting               # rows -> who waits in this process, by identity, the first that came first
    cdef void (*between)() noexcept nogil       # for tests: called where others may do something

    # Looks for the flight of a hash, and leads one when there is none. `retired`: one that it may not follow, because
    # its number is not valid any more; NULL: none.
    cdef int enter(
        self, uint64_t hash, uint64_t number, const Ticket* retired, uint64_t now_ms, Ticket* ticket
    ) noexcept
    # What is known of a flight; state FLIGHT_OVER, and nothing else, when its row has another life.
    cdef void look(self, const Ticket* ticket, FlightView* view) noexcept
    # The leader's: 1 = done; 0 = it leads no more.
    cdef bint answered(self, const Ticket* ticket, const uint64_t* place, uint64_t filled) noexcept
    # Whether some other exchange has waited for it.
    cdef bint is_joined(self, const Ticket* ticket) noexcept
    cdef bint fill(self, const Ticket* ticket, uint64_t filled) noexcept
    cdef bint complete(self, const Ticket* ticket) noexcept
    cdef bint refuse(self, const Ticket* ticket, uint64_t until_ms) noexcept
    cdef bint fail(self, const Ticket* ticket, uint64_t cause) noexcept
    cdef bint give_up(self, const Ticket* ticket) noexcept
    # A follower's, of a flight that was given up: 1 = it leads now; 0 = another one does.
    cdef bint take_over(self, const Ticket* ticket, uint64_t number) noexcept
    # 1 = it waits, and will be told once; 0 = there is news already, which look() shows.
    cdef bint wait(self, Waiter waiter) except -1
    # It waits no more. Nothing happens when it did not.
    cdef void leave(self, Waiter waiter) noexcept

    cdef FlightRow* row_of(self, int number) noexcept
    cdef int choose(self, FlightBucket* bucket, int first, int listed, uint64_t now_ms, uint64_t* word) noexcept
    cdef bint list_row(
        self, FlightBucket* bucket, const uint64_t* pair, int way, int listed, uint64_t entry
    ) noexcept
    cdef bint change(self, const Ticket* ticket, int state, int other, int new) noexcept
    cdef void wake(self, int number) noexcept
    cdef void poke(self, int slot) noexcept
    cdef bint has_news(self, Waiter waiter) noexcept
    cdef void remove(self, Waiter waiter) noexcept
    cdef int tell(self, int number) except -1


cdef size_t flights_bytes(int slots) noexcept
