"""Shows flights as the delivery uses them to tests. The gateway never loads it.

Theory of operation
-------------------
A ticket is a tuple of row and life here. `Follower` is a waiter whose news reach Python. `swap` and `add` are for a
board of 64-bit words on which processes note what they do.
"""

from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint64_t

from fastgate._core.memory.cache.flights cimport (
    FLIGHT_BUCKETS,
    FLIGHT_FOLLOW,
    FLIGHT_LEAD,
    FLIGHT_PLACES,
    FLIGHT_WAYS,
    Flights,
    FlightView,
    Ticket,
    Waiter,
)
from fastgate._core.memory.hashing cimport mix64

from fastgate._core.memory.cache.flights import STATES

cdef extern from "memory/atomics.h" nogil:
    uint64_t atomic_add_release(uint64_t* word, uint64_t amount)
    int atomic_swap_if_equal(uint64_t* word, uint64_t* expected, uint64_t desired)
    uint64_t monotonic_ms()

cdef extern from "<sched.h>" nogil:
    int sched_yield()

cdef enum:
    LEAST = 20
    PATIENCE_MS = 30000

WAYS = ("", "lead", "follow", "alone", "full")


cdef Ticket ticket_of(tuple ticket) except *:
    cdef Ticket made
    made.row, made.life = ticket
    if not 0 <= made.row < FLIGHT_BUCKETS * FLIGHT_WAYS:
        raise IndexError(f"row {made.row}")
    return made


def enter(Flights flights not None, uint64_t hash, uint64_t number=0, tuple retired=None, now=None):
    cdef Ticket ticket, other
    cdef int way
    ticket.row = 0
    ticket.life = 0
    if retired is not None:
        other = ticket_of(retired)
    way = flights.enter(
        hash, number, NULL if retired is None else &other, monotonic_ms() if now is None else now, &ticket
    )
    return WAYS[way], (ticket.row, ticket.life)


def look(Flights flights not None, tuple ticket not None):
    cdef Ticket known = ticket_of(ticket)
    cdef FlightView view
    cdef int index
    flights.look(&known, &view)
    place = tuple([view.place[index] for index in range(FLIGHT_PLACES)])
    return STATES[view.state], view.owner, view.number, view.filled, view.cause, place


def answered(Flights flights not None, tuple ticket not None, tuple place=(0, 0, 0, 0), uint64_t filled=0):
    cdef Ticket known = ticket_of(ticket)
    cdef uint64_t words[FLIGHT_PLACES]
    words[0], words[1], words[2], words[3] = place
    return flights.answered(&known, words, filled)


def fill(Flights flights not None, tuple ticket not None, uint64_t filled):
    cdef Ticket known = ticket_of(ticket)
    return flights.fill(&known, filled)


def complete(Flights flights not None, tuple ticket not None):
    cdef Ticket known = ticket_of(ticket)
    return flights.complete(&known)


def refuse(Flights flights not None, tuple ticket not None, uint64_t until_ms):
    cdef Ticket known = ticket_of(ticket)
    return flights.refuse(&known, until_ms)


def fail(Flights flights not None, tuple ticket not None, uint64_t cause):
    cdef Ticket known = ticket_of(ticket)
    return flights.fail(&known, cause)


def give_up(Flights flights not None, tuple ticket not None):
    cdef Ticket known = ticket_of(ticket)
    return flights.give_up(&known)


def take_over(Flights flights not None, tuple ticket not None, uint64_t number):
    cdef Ticket known = ticket_of(ticket)
    return flights.take_over(&known, number)


cdef void give_the_processor_away() noexcept nogil:
    sched_yield()
    sched_yield()


def dawdle(Flights flights not None):
    flights.between = give_the_processor_away


cdef class Follower(Waiter):
    """Waits for news of a flight, and knows what it said at last."""

    cdef readonly Flights flights

    def __init__(self, Flights flights not None, tuple ticket not None):
        self.flights = flights
        self.ticket = ticket_of(ticket)

    def look(self):
        cdef FlightView view
        self.flights.look(&self.ticket, &view)
        self.seen_state = view.state
        self.seen_filled = view.filled
        return STATES[view.state], view.filled

    def wait(self):
        return self.flights.wait(self)

    def leave(self):
        self.flights.leave(self)

    def has_news(self):
        return self.flights.has_news(self)

    def is_waiting(self):
        return self.waits

    cdef int told(self, int state, uint64_t filled) except -1:
        self.on_told(STATES[state], filled)
        return 0

    def on_told(self, state, filled):
        """What a test does with the news."""


def flood_flights(Flights flights not None, uint64_t seed, uint64_t until_ms, int keys, board):
    cdef Py_buffer view
    cdef uint64_t* leaders
    cdef uint64_t me = flights.slot + 1, turn = 0, drawn, found, led = 0, followed = 0, others = 0, twice = 0
    cdef Ticket ticket
    cdef int key, way
    PyObject_GetBuffer(board, &view, PyBUF_WRITABLE)
    if view.len < keys * 8:
        PyBuffer_Release(&view)
        raise ValueError("the board has a word for each key")
    leaders = <uint64_t*>view.buf
    # On a busy machine the time is over before anything has met.
    while monotonic_ms() < until_ms + (PATIENCE_MS if led < LEAST or followed < LEAST else 0):
        turn += 1
        drawn = mix64(seed ^ mix64(turn))
        key = drawn % keys
        drawn = mix64(drawn)
        # All in one bucket.
        way = flights.enter(<uint64_t>9 << 55 | key * 7919, turn, NULL, monotonic_ms(), &ticket)
        if way == FLIGHT_FOLLOW:
            followed += 1
            flights.row_of(ticket.row).joined = 1
            continue
        if way != FLIGHT_LEAD:
            others += 1
            continue
        led += 1
        found = 0
        twice += not atomic_swap_if_equal(&leaders[key], &found, me)
        if drawn & 3 == 0:
            sched_yield()
        found = me
        twice += not atomic_swap_if_equal(&leaders[key], &found, 0)
        drawn >>= 2
        if drawn % 8 == 0:
            flights.give_up(&ticket)
        elif drawn % 8 == 1:
            flights.refuse(&ticket, monotonic_ms() + drawn % 3)
        elif drawn % 8 == 2:
            flights.fail(&ticket, 1)
        else:
            flights.complete(&ticket)
    PyBuffer_Release(&view)
    return led, followed, others, twice


def waiting(Flights flights not None):
    return sum(map(len, flights.waiting.values()))


def swap(board, Py_ssize_t index, uint64_t expected, uint64_t new):
    cdef Py_buffer view
    cdef bint swapped
    PyObject_GetBuffer(board, &view, PyBUF_WRITABLE)
    swapped = 0 <= index < view.len // 8 and atomic_swap_if_equal(<uint64_t*>view.buf + index, &expected, new)
    PyBuffer_Release(&view)
    return swapped


def add(board, Py_ssize_t index, uint64_t amount):
    cdef Py_buffer view
    cdef uint64_t before = 0
    PyObject_GetBuffer(board, &view, PyBUF_WRITABLE)
    if 0 <= index < view.len // 8:
        before = atomic_add_release(<uint64_t*>view.buf + index, amount)
    PyBuffer_Release(&view)
    return before
