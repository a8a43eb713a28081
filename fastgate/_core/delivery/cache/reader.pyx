"""The body of a stored answer on its way to a client, also of one that is only just being stored.

Theory of operation
-------------------
What is read is pinned: the record, and each segment of a body that has several, until the client's side has taken it.
So nobody overwrites it, and the kernel gets it from where it lies.

A body that is being filled is read as far as it is there. Then the reader waits for news of the flight that fills it;
its own worker's flight tells it directly. It pins every part that has a segment, also what is not filled yet: what
comes after its last look may be whole, and thrown out again, before it hears of it.

A pin holds a segment, and clients may be slow on purpose. A reader that waits for its client looks each second whether
a store has found no segment since. It copies a short rest then, and gives its pins back. A long rest loses them after
`PATIENCE` such looks, between which the client has taken nothing, and which a worker that stood still did not miss: it
is found by its key when the client goes on, and if it is gone by then the answer is cut, as an upstream's cut would be.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint32_t, uint64_t

from fastgate._core.delivery.cache.worker_cache cimport WorkerCache
from fastgate._core.exchange.causes cimport RESPONSE_CUT
from fastgate._core.exchange.exchange cimport Exchange
from fastgate._core.memory.cache.cache_counts cimport ROUTE_BYTES_SAVED, ROUTE_READERS_CUT
from fastgate._core.memory.cache.cache_store cimport (
    Store,
    View,
    body_at,
    copy_body,
    look,
    part_segment,
    pin_segment,
    progress_of,
    starved_of_all,
    unpin_segment,
)
from fastgate._core.memory.cache.flights cimport (
    FLIGHT_ASKING,
    FLIGHT_FILLING,
    FlightView,
    Ticket,
)
from fastgate._core.memory.cache.layout cimport FILLED_ABANDONED, KIND_STREAM, parts_of

cdef enum:
    LOOK_EVERY = 1000                  # milliseconds between looks whether stores were refused
    PATIENCE = 5                       # looks at which they were
    SHORT = 65536                      # bytes that are copied then
    SHARE = 16                         # copies of all readers of a host: at most this part of the store


cdef class News(Waiter):
    cdef int told(self, int state, uint64_t filled) except -1:
        return self.reader.go()


cdef class Reader(Stored):
    cdef bint set_out(
        self, WorkerCache cache, uint64_t* counts, const View* view, uint32_t first, int64_t stop
    ) except -1:
        """Reads from byte ``first`` to before ``stop``; -1: to the end, wherever that is. False: it is gone."""
        cdef Store* s = cache.store
        self.cache = cache
        self.counts = counts
        self.view = view[0]
        self.position = first
        self.stop = stop
        if not pin_segment(s, view.segment, view.generation):
            return False
        self.front = True
        # The last bytes of a body may lie in the record, behind its parts.
        self.first_part = self.next_part = min(first // s.segment_size, view.parts)
        if self.pin_more():
            return True
        self.give_back()
        return False

    cdef int follow(self, const Ticket* ticket) except -1:
        """It is being filled by this flight."""
        self.follows = True
        self.news = News.__new__(News)
        self.news.reader = self
        self.news.ticket = ticket[0]
        return 0

    cdef int64_t there(self) noexcept:
        """How far it can be read now."""
        cdef bint final
        cdef uint32_t filled = progress_of(&self.view, &final)
        if filled == FILLED_ABANDONED:
            self.broken = True
            return self.position
        if final and self.stop < 0:
            # Its end was not known before.
            self.stop = filled
        return filled if self.stop < 0 or filled < self.stop else self.stop

    cdef bint pin_more(self) except -1:
        """Pins the parts that have got a segment since. False: one that is to be read is gone."""
        cdef Store* s = self.cache.store
        cdef int64_t there
        cdef uint32_t segment, wanted = self.view.parts
        cdef uint64_t generation
        if self.view.chain == NULL or self.loose:
            return True
        there = self.there()
        if self.stop >= 0:
            wanted = min(wanted, <uint32_t>parts_of(self.stop, s.segment_size))
        while self.next_part < wanted and self.view.chain[self.next_part] != 0:
            if not part_segment(s, &self.view, self.next_part, &segment, &generation) \
                    or not pin_segment(s, segment, generation):
                return <int64_t>self.next_part * s.segment_size >= there or self.change_over()
            self.next_part += 1
        while self.next_part > max(wanted, self.first_part):
            # Its end was not known when they were pinned.
            self.next_part -= 1
            unpin_segment(s, <uint32_t>(self.view.chain[self.next_part] & 0xffffff))
        return True

    cdef bint change_over(self) except -1:
        """Goes on in the record under which a body of unknown length was stored when it was whole. False: it is not
        there.
        """
        cdef Store* s = self.cache.store
        cdef View view
        if not self.front or self.stop < 0 or not self.view.record.kind & KIND_STREAM:
            return False
        if not look(s, self.view.hash, self.view.key, self.view.record.key_length, 0, &view) \
                or view.record.number != self.view.record.number or view.record.body_length != self.stop \
                or not pin_segment(s, view.segment, view.generation):
            return False
        self.give_back()
        self.view = view
        self.front = True
        self.first_part = self.next_part = min(self.position // s.segment_size, view.parts)
        return self.pin_more()

    cdef bint pin_front(self) noexcept:
        """Pins the record whose pins were given back, in its place or where it was moved to. False: it is gone."""
        cdef Store* s = self.cache.store
        cdef View view
        if pin_segment(s, self.view.segment, self.view.generation):
            return True
        if not look(s, self.view.hash, PyBytes_AS_STRING(self.key), PyBytes_GET_SIZE(self.key), 0, &view) \
                or view.record.number != self.view.record.number \
                or not pin_segment(s, view.segment, view.generation):
            return False
        self.view = view
        return True

    cdef int give_back(self) except -1:
        """All pins."""
        cdef Store* s = self.cache.store
        while self.first_part < self.next_part:
            unpin_segment(s, <uint32_t>(self.view.chain[self.first_part] & 0xffffff))
            self.first_part += 1
        if self.front:
            self.front = False
            unpin_segment(s, self.view.segment)
        return 0

    cdef int let_go(self) except -1:
        self.due = 0
        if self.follows:
            self.cache.flights.leave(self.news)
            self.news.reader = None
            self.follows = False
        if self.rest is not None:
            self.cache.copied -= PyBytes_GET_SIZE(self.rest)
            self.rest = None
        return self.give_back()

    cdef Py_ssize_t ready(self, const char** at) noexcept:
        cdef Store* s = self.cache.store
        cdef int64_t there
        cdef uint32_t length, segment
        cdef uint64_t generation
        cdef const char* found
        if self.rest is not None:
            at[0] = PyBytes_AS_STRING(self.rest) + PyBytes_GET_SIZE(self.rest) - (self.stop - self.position)
            return <Py_ssize_t>(self.stop - self.position)
        there = self.there()
        if self.broken or there <= self.position:
            return 0
        if not self.loose and not self.pin_more():
            self.broken = True
            return 0
        if self.loose and not self.pin_front():
            self.broken = True
            return 0
        found = body_at(s, &self.view, self.position, &length, &segment, &generation)
        if self.loose:
            if found == NULL or not pin_segment(s, segment, generation):
                unpin_segment(s, self.view.segment)
                self.broken = True
                return 0
            self.lent = True
            self.held_segment = segment
        if found == NULL:
            self.broken = True
            return 0
        at[0] = found
        return <Py_ssize_t>min(<int64_t>length, there - self.position)

    cdef int took(self, Py_ssize_t count) except -1:
        cdef Store* s = self.cache.store
        self.position += <uint32_t>count
        self.looks = 0
        self.counts[ROUTE_BYTES_SAVED] += count
        self.taken += count
        if self.lent:
            self.lent = False
            unpin_segment(s, self.held_segment)
            unpin_segment(s, self.view.segment)
        elif self.rest is None and self.view.chain != NULL:
            while self.first_part < self.next_part and self.position >= (self.first_part + 1) * s.segment_size:
                unpin_segment(s, <uint32_t>(self.view.chain[self.first_part] & 0xffffff))
                self.first_part += 1
        return 0

    cdef bint ended(self) noexcept:
        return self.stop >= 0 and self.position >= self.stop and not self.broken

    cdef int hold(self, int reason) except -1:
        self.held |= reason
        if not self.loose and self.rest is None:
            self.exchange.engine.wheel.arm(self, LOOK_EVERY)
        return 0

    cdef int idle(self) except -1:
        """Nothing can be sent now: the client takes no more, or there is no more yet."""
        cdef FlightView view
        if self.lent:
            self.took(0)
        if self.broken:
            return self.cut_off()
        if self.held or not self.follows or self.there() > self.position:
            return 0
        self.cache.flights.look(&self.news.ticket, &view)
        if view.state == FLIGHT_ASKING or view.state == FLIGHT_FILLING:
            self.news.seen_state = view.state
            self.news.seen_filled = view.filled
            if self.there() > self.position or not self.cache.flights.wait(self.news):
                return self.go()
            self.exchange.engine.wheel.arm(self, LOOK_EVERY)
            return 0
        # The flight is over, and so is what it fills.
        return self.go() if self.there() > self.position or self.ended() else self.cut_off()

    cdef int cut_off(self) except -1:
        """The rest does not come."""
        cdef Exchange x = self.exchange
        if self.loose:
            self.counts[ROUTE_READERS_CUT] += 1
        self.exchange = None
        x.source = None
        self.let_go()
        return self.by.tell_failed(x, RESPONSE_CUT)

    cdef int expired(self) except -1:
        """The client has taken nothing for a while."""
        cdef Store* s = self.cache.store
        cdef uint64_t starved
        if self.exchange is None:
            return 0
        if self.held == 0:
            # In case that news were missed.
            return self.go()
        if self.loose or self.rest is not None:
            return 0
        starved = starved_of_all(s)
        if self.looks == 0:
            self.looks = 1
        elif starved != self.starved:
            self.looks += 1
            if self.copy_rest():
                return self.give_back()
            if self.looks > PATIENCE:
                self.key = self.view.key[:self.view.record.key_length]
                self.loose = True
                return self.give_back()
        self.starved = starved
        self.exchange.engine.wheel.arm(self, LOOK_EVERY)
        return 0

    cdef bint copy_rest(self) except -1:
        """What is left, if that is short and there is room for copies."""
        cdef Store* s = self.cache.store
        cdef int64_t left = self.stop - self.position
        cdef bytes rest
        if self.stop < 0 or left > SHORT or self.there() < self.stop \
                or self.cache.copied + left > <int64_t>(self.cache.memory.file.max_bytes // SHARE // s.slots):
            return False
        rest = PyBytes_FromStringAndSize(NULL, left)
        if not copy_body(s, &self.view, self.position, PyBytes_AS_STRING(rest), <uint32_t>left):
            return False
        self.rest = rest
        self.cache.copied += left
        return True
