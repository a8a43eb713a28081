"""Flights: of all requests of the host for one key, one goes upstream, and the others wait for what it brings.

Theory of operation
-------------------
A flight is a row in memory that all processes share. It has only the hash of the key: a follower compares the whole key
with the record before it uses a byte. Its `word` is its life, its owner and its state, and changes by compare-and-swap;
whatever is read of a row counts only if the life is the same before and after. A row keeps its state when the flight is
over, until another one needs the place.

**One leads.** A hash has one bucket of seven rows, and a bucket has a pair of words, swapped as one: 16 bits of the
hash that each row is listed under, and a version. Who leads takes a row (its word becomes TAKEN, which nobody else
touches), writes into it, and then lists it by one swap of the pair, as it was when the hash was not listed in it, or
was listed for a flight that is over. So of two that try one finds the pair changed, gives its row back and finds the
other. A flight that may not be followed any more, because of a purge, loses its listing in the swap that lists the next
one: those who follow it already still do. The version grows with each swap, as a listing may go and come back while one
that wants to swap is not given the processor; only after exactly 65,536 of them would it take one pair for the other.
Two hashes of one bucket whose 16 bits are equal exclude each other: the
second goes without.

    FREE ─► TAKEN ─► ASKING ─► FILLING ─► COMPLETE
                       │ ▲        └─────► FAILED
                       │ └── take_over ◄─ GIVEN_UP
                       └───────────────► COMPLETE, REFUSED, FAILED, GIVEN_UP

**No wake-up is lost.** A follower sets the bit of its slot in the row's mask, and *then looks again*, before it sleeps.
A leader publishes, and then swaps the mask for zero (full fences between): one of the two sees the other. For each bit
the leader notes the bucket among the *hints* of the slot, and writes its eventfd. The mask is one word, so slots that
are 64 apart share a bit, and one of them may be woken for nothing: exact for up to 64 workers, and right for the 4,096
that there may be. A row that begins another life keeps the bits, for the same reason: nobody is harmed by a wake-up.

**In a worker** a `Waiter` waits for news of one flight, once; it is told when the row says something else than what it
has seen. `woken` looks at the rows that the hints name, `sweep` at all: the timer wheel calls it, in case.

**Death.** Nothing is undone while a process lives. Once it is gone the supervisor calls `release`: flights that had no
answer are given up (the first follower that wants to leads), others have failed. A leader may have died between the
swap of a mask and the wake-ups, in a row that is another's by now, so everybody is woken and looks at all.

Cost: enter, two swaps to lead, none to follow; wait, one; a wake-up, one swap and for each slot a swap and a system
call.
"""

from collections import namedtuple

from libc.errno cimport EINTR, errno
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from posix.unistd cimport read, write

from fastgate._core.memory.region cimport FLIGHTS_LAYOUT, Region

from fastgate._core.memory.region import SegmentError

cdef extern from "memory/atomics.h" nogil:
    uint64_t atomic_load_relaxed(const uint64_t* word)
    uint64_t atomic_load_acquire(const uint64_t* word)
    void atomic_store_relaxed(uint64_t* word, uint64_t value)
    void atomic_store_release(uint64_t* word, uint64_t value)
    int atomic_swap_if_equal(uint64_t* word, uint64_t* expected, uint64_t desired)
    int atomic_swap_pair_if_equal(
        uint64_t* pair, uint64_t first, uint64_t second, uint64_t new_first, uint64_t new_second
    )
    uint64_t atomic_set_bits(uint64_t* word, uint64_t bits)
    uint64_t atomic_exchange_full(uint64_t* word, uint64_t value)
    void atomic_fence_acquire()
    void atomic_fence_full()
    uint64_t monotonic_ms()

cdef extern from * nogil:
    int lowest_bit "__builtin_ctzll" (unsigned long long bits)

cdef extern from "<sched.h>" nogil:
    int sched_yield()

cdef enum:
    NONE = -1
    TURNS = 256                 # looks at a bucket that changes, or whose row is being written
    PATIENCE = 32               # of them, before the processor is given away

STATES = (
    "free", "taken", "asking", "filling", "complete", "refused", "failed", "given up", "taking over", "over",
)

FlightStats = namedtuple("FlightStats", "led followed alone full taken_over told woken", module=__name__)
FlightStats.__doc__ = "How requests met flights, in all workers since the start."


cdef inline uint64_t word_of(uint64_t life, uint64_t owner, uint64_t state) noexcept nogil:
    return life << 24 | owner << 8 | state


cdef inline int state_in(uint64_t word) noexcept nogil:
    return word & 255


cdef inline uint64_t owner_in(uint64_t word) noexcept nogil:
    """A slot and 1."""
    return word >> 8 & 65535


cdef inline uint64_t life_in(uint64_t word) noexcept nogil:
    return word >> 24


cdef inline uint64_t quarters_equal(uint64_t word, uint64_t entry) noexcept nogil:
    """The highest bit of each 16 that are equal to the entry."""
    cdef uint64_t others = word ^ entry * 0x0001000100010001ULL
    return ~(((others & 0x7fff7fff7fff7fffULL) + 0x7fff7fff7fff7fffULL) | others | 0x7fff7fff7fff7fffULL)


cdef inline int listed_in(const uint64_t* pair, uint64_t entry) noexcept nogil:
    """The first row that is listed under the entry; NONE: none. The last 16 bits of the pair are its version."""
    cdef uint64_t found = quarters_equal(pair[0], entry)
    if found:
        return lowest_bit(found) >> 4
    found = quarters_equal(pair[1], entry) & 0x0000ffffffffffffULL
    return 4 + (lowest_bit(found) >> 4) if found else NONE


cdef size_t flights_bytes(int slots) noexcept:
    return FLIGHT_BUCKETS * sizeof(FlightBucket) + slots * sizeof(FlightSlot)


def flights_size(int slots) -> int:
    """Bytes of the region for so many worker slots."""
    return flights_bytes(slots)


cdef class Waiter:
    """Waits for news of a flight; what it is told is up to a class that derives from it."""

    cdef int told(self, int state, uint64_t filled) except -1:
        raise NotImplementedError


cdef class Flights:
    """The flights of a region, as the worker of one slot sees them; slot -1: a process that serves nobody.

    ``wakers`` are the eventfds of all slots, non-blocking; they have to stay open. Raises IndexError for a slot that
    there is not, ValueError when the number of eventfds is not that of the slots.
    """

    def __cinit__(self, Region region not None, int slot, wakers):
        cdef unsigned char* base = region.open("flights", FLIGHTS_LAYOUT, flights_bytes(region.slots))
        cdef int index
        if not -1 <= slot < region.slots or region.slots > FLIGHT_SLOTS:
            raise IndexError(f"slot {slot} of {region.slots}")
        if <size_t>base % 64:
            raise SegmentError("the region 'flights' must begin at a cache line: its pairs are swapped as one")
        descriptors = [int(each) for each in wakers]
        if len(descriptors) != region.slots:
            raise ValueError(f"{len(descriptors)} eventfds for {region.slots} slots; each slot needs one")
        self.wakers = <int*>malloc(region.slots * sizeof(int))
        if self.wakers == NULL:
            raise MemoryError
        for index in range(region.slots):
            self.wakers[index] = descriptors[index]
        self.region = region
        self.slot = slot
        self.buckets = <FlightBucket*>base
        self.slots = <FlightSlot*>(base + FLIGHT_BUCKETS * sizeof(FlightBucket))
        self.own = NULL if slot < 0 else &self.slots[slot]
        self.waiting = {}

    def __dealloc__(self):
        free(self.wakers)

    cdef inline FlightRow* row_of(self, int number) noexcept:
        return &self.buckets[number // FLIGHT_WAYS].rows[number % FLIGHT_WAYS]

    # -- leading and following -----------------------------------------------------------------------------------------

    cdef int enter(
        self, uint64_t hash, uint64_t number, const Ticket* retired, uint64_t now_ms, Ticket* ticket
    ) noexcept:
        cdef int first = <int>(hash >> 55) * FLIGHT_WAYS
        cdef FlightBucket* bucket = &self.buckets[hash >> 55]
        cdef FlightRow* row
        cdef uint64_t entry = 1 + <uint32_t>hash % <uint32_t>65535
        cdef uint64_t pair[2]
        cdef uint64_t word, life, until
        cdef int turn, way, listed, state
        if self.own == NULL:
            return FLIGHT_FULL
        for turn in range(TURNS):
            if turn > PATIENCE:
                sched_yield()
            pair[0] = atomic_load_acquire(&bucket.pair[0])
            pair[1] = atomic_load_acquire(&bucket.pair[1])
            listed = listed_in(pair, entry)
            if listed != NONE:
                row = &bucket.rows[listed]
                word = atomic_load_acquire(&row.word)
                state = state_in(word)
                if state == FLIGHT_TAKEN or state == FLIGHT_TAKING_OVER:
                    continue
                until = atomic_load_relaxed(&row.until)
                if (
                    state == FLIGHT_ASKING or state == FLIGHT_FILLING or state == FLIGHT_GIVEN_UP
                    or state == FLIGHT_REFUSED and now_ms < until
                ):
                    if atomic_load_relaxed(&row.hash) != hash:
                        atomic_fence_acquire()
                        if atomic_load_relaxed(&row.word) != word:
                            continue
                        break
                    atomic_fence_acquire()
                    if atomic_load_relaxed(&row.word) != word:
                        continue
                    ticket.row = first + listed
                    ticket.life = life_in(word)
                    if state == FLIGHT_REFUSED:
                        self.own.alone += 1
                        return FLIGHT_ALONE
                    if retired == NULL or retired.row != ticket.row or retired.life != ticket.life:
                        if state != FLIGHT_GIVEN_UP:
                            self.own.followed += 1
                            return FLIGHT_FOLLOW
                        if self.take_over(ticket, number):
                            return FLIGHT_LEAD
                        continue
            way = self.choose(bucket, <int>(pair[1] >> 48) % FLIGHT_WAYS, listed, now_ms, &word)
            if way == NONE:
                break
            row = &bucket.rows[way]
            life = life_in(word) + 1
            if not atomic_swap_if_equal(&row.word, &word, word_of(life, self.slot + 1, FLIGHT_TAKEN)):
                continue
            atomic_store_relaxed(&row.hash, hash)
            atomic_store_relaxed(&row.number, number)
            atomic_store_relaxed(&row.until, now_ms)
            atomic_store_relaxed(&row.filled, 0)
            atomic_store_relaxed(&row.joined, 0)
            atomic_store_relaxed(&row.cause, 0)
            if self.list_row(bucket, pair, way, listed, entry):
                atomic_store_release(&row.word, word_of(life, self.slot + 1, FLIGHT_ASKING))
                ticket.row = first + way
                ticket.life = life
                self.own.led += 1
                return FLIGHT_LEAD
            atomic_store_release(&row.word, word_of(life, 0, FLIGHT_FREE))
        self.own.full += 1
        return FLIGHT_FULL

    cdef int choose(self, FlightBucket* bucket, int first, int listed, uint64_t now_ms, uint64_t* word) noexcept:
        """A row that may be taken, NONE = there is none. The rows take turns, ``first`` is the next: so followers have
        six more flights of the bucket in which they may read how theirs ended.

        What is free or over comes first; then one that is over and listed for the hash, those that were given up, at
        last those that are refused for a while yet, the shortest first.
        """
        cdef FlightRow* row
        cdef uint64_t found, until, best_until = 0
        cdef int _turn, way = first, rank, best = NONE, best_rank = 4, state
        for _turn in range(FLIGHT_WAYS):
            row = &bucket.rows[way]
            found = atomic_load_acquire(&row.word)
            until = atomic_load_relaxed(&row.until)
            state = state_in(found)
            rank = 4
            if state == FLIGHT_FREE or state == FLIGHT_COMPLETE or state == FLIGHT_FAILED \
                    or state == FLIGHT_REFUSED and until <= now_ms:
                rank = 1 if way == listed and state != FLIGHT_FREE else 0
            elif state == FLIGHT_GIVEN_UP:
                rank = 2
            elif state == FLIGHT_REFUSED:
                rank = 3
            if rank < best_rank or rank == 3 and rank == best_rank and until < best_until:
                best = way
                best_rank = rank
                best_until = until
                word[0] = found
                if rank == 0:
                    break
            way = way + 1 if way + 1 < FLIGHT_WAYS else 0
        return best

    cdef bint list_row(
        self, FlightBucket* bucket, const uint64_t* pair, int way, int listed, uint64_t entry
    ) noexcept:
        """Lists a row in place of the one that was listed, if the bucket is as it was. The swap that decides."""
        cdef uint64_t new[2]
        cdef int half
        for half in range(2):
            new[half] = pair[half]
            if listed >> 2 == half and listed != NONE:
                new[half] &= ~(<uint64_t>65535 << (listed & 3) * 16)
            if way >> 2 == half:
                new[half] &= ~(<uint64_t>65535 << (way & 3) * 16)
                new[half] |= entry << (way & 3) * 16
        # The version is where an eighth row would be.
        new[1] += <uint64_t>1 << 48
        return atomic_swap_pair_if_equal(bucket.pair, pair[0], pair[1], new[0], new[1])

    cdef void look(self, const Ticket* ticket, FlightView* view) noexcept:
        cdef FlightRow* row = self.row_of(ticket.row)
        cdef uint64_t word = atomic_load_acquire(&row.word)
        cdef int index
        view.state = state_in(word)
        view.owner = <int>owner_in(word) - 1
        view.number = atomic_load_acquire(&row.number)
        view.filled = atomic_load_acquire(&row.filled)
        view.cause = atomic_load_relaxed(&row.cause)
        for index in range(FLIGHT_PLACES):
            view.place[index] = atomic_load_relaxed(&row.place[index])
        atomic_fence_acquire()
        if life_in(word) != ticket.life or life_in(atomic_load_relaxed(&row.word)) != ticket.life:
            view.state = FLIGHT_OVER
        elif view.state == FLIGHT_TAKING_OVER:
            view.state = FLIGHT_ASKING
        elif view.state == FLIGHT_FREE:
            view.state = FLIGHT_OVER

    cdef bint change(self, const Ticket* ticket, int state, int other, int new) noexcept:
        """Changes the state of a flight that this worker leads, from one of two; wakes those that wait."""
        cdef FlightRow* row = self.row_of(ticket.row)
        cdef uint64_t word = atomic_load_acquire(&row.word)
        if (
            life_in(word) != ticket.life or owner_in(word) != <uint64_t>(self.slot + 1)
            or state_in(word) != state and state_in(word) != other
        ):
            return False
        if not atomic_swap_if_equal(&row.word, &word, word_of(ticket.life, self.slot + 1, new)):
            return False
        self.wake(ticket.row)
        return True

    cdef bint answered(self, const Ticket* ticket, const uint64_t* place, uint64_t filled) noexcept:
        cdef FlightRow* row = self.row_of(ticket.row)
        cdef uint64_t word = atomic_load_acquire(&row.word)
        cdef int index
        if word != word_of(ticket.life, self.slot + 1, FLIGHT_ASKING):
            return False
        for index in range(FLIGHT_PLACES):
            atomic_store_relaxed(&row.place[index], place[index])
        atomic_store_release(&row.filled, filled)
        return self.change(ticket, FLIGHT_ASKING, FLIGHT_ASKING, FLIGHT_FILLING)

    cdef bint is_joined(self, const Ticket* ticket) noexcept:
        cdef FlightRow* row = self.row_of(ticket.row)
        return life_in(atomic_load_acquire(&row.word)) == ticket.life and atomic_load_acquire(&row.joined) != 0

    cdef bint fill(self, const Ticket* ticket, uint64_t filled) noexcept:
        cdef FlightRow* row = self.row_of(ticket.row)
        if atomic_load_acquire(&row.word) != word_of(ticket.life, self.slot + 1, FLIGHT_FILLING):
            return False
        atomic_store_release(&row.filled, filled)
        self.wake(ticket.row)
        return True

    cdef bint complete(self, const Ticket* ticket) noexcept:
        return self.change(ticket, FLIGHT_ASKING, FLIGHT_FILLING, FLIGHT_COMPLETE)

    cdef bint fail(self, const Ticket* ticket, uint64_t cause) noexcept:
        cdef FlightRow* row = self.row_of(ticket.row)
        cdef uint64_t word = atomic_load_acquire(&row.word)
        if (
            word != word_of(ticket.life, self.slot + 1, FLIGHT_ASKING)
            and word != word_of(ticket.life, self.slot + 1, FLIGHT_FILLING)
        ):
            return False
        atomic_store_relaxed(&row.cause, cause)
        return self.change(ticket, FLIGHT_ASKING, FLIGHT_FILLING, FLIGHT_FAILED)

    cdef bint refuse(self, const Ticket* ticket, uint64_t until_ms) noexcept:
        cdef FlightRow* row = self.row_of(ticket.row)
        if atomic_load_acquire(&row.word) != word_of(ticket.life, self.slot + 1, FLIGHT_ASKING):
            return False
        if not atomic_load_acquire(&row.joined):
            # Nobody has waited: the next may.
            return self.change(ticket, FLIGHT_ASKING, FLIGHT_ASKING, FLIGHT_FREE)
        atomic_store_relaxed(&row.until, until_ms)
        return self.change(ticket, FLIGHT_ASKING, FLIGHT_ASKING, FLIGHT_REFUSED)

    cdef bint give_up(self, const Ticket* ticket) noexcept:
        cdef FlightRow* row = self.row_of(ticket.row)
        if not atomic_load_acquire(&row.joined):
            return self.change(ticket, FLIGHT_ASKING, FLIGHT_ASKING, FLIGHT_FREE)
        return self.change(ticket, FLIGHT_ASKING, FLIGHT_ASKING, FLIGHT_GIVEN_UP)

    cdef bint take_over(self, const Ticket* ticket, uint64_t number) noexcept:
        cdef FlightRow* row = self.row_of(ticket.row)
        cdef uint64_t word = atomic_load_acquire(&row.word)
        if self.own == NULL or life_in(word) != ticket.life or state_in(word) != FLIGHT_GIVEN_UP:
            return False
        if not atomic_swap_if_equal(&row.word, &word, word_of(ticket.life, self.slot + 1, FLIGHT_TAKING_OVER)):
            return False
        atomic_store_relaxed(&row.number, number)
        atomic_store_release(&row.word, word_of(ticket.life, self.slot + 1, FLIGHT_ASKING))
        self.own.taken_over += 1
        return True

    # -- waiting -------------------------------------------------------------------------------------------------------

    cdef void wake(self, int number) noexcept:
        """What was published is seen by all that wait for it; those that sleep are woken."""
        cdef FlightRow* row = self.row_of(number)
        cdef uint64_t mask
        cdef int bucket = number // FLIGHT_WAYS
        cdef int slot
        atomic_fence_full()
        if atomic_load_relaxed(&row.mask) == 0:
            return
        mask = atomic_exchange_full(&row.mask, 0)
        for slot in range(self.region.slots):
            if mask >> (slot & 63) & 1:
                atomic_set_bits(&self.slots[slot].hints[bucket >> 6], <uint64_t>1 << (bucket & 63))
                self.poke(slot)

    cdef void poke(self, int slot) noexcept:
        """Writes an eventfd. One that is full wakes as well."""
        cdef uint64_t one = 1
        while write(self.wakers[slot], &one, sizeof(one)) < 0 and errno == EINTR:
            pass
        if self.own != NULL:
            self.own.woken += 1

    cdef bint has_news(self, Waiter waiter) noexcept:
        cdef FlightView view
        self.look(&waiter.ticket, &view)
        if view.state != FLIGHT_ASKING and view.state != FLIGHT_FILLING:
            return True         # nothing more will come
        return view.state != waiter.seen_state or view.filled != waiter.seen_filled

    cdef bint wait(self, Waiter waiter) except -1:
        cdef FlightRow* row = self.row_of(waiter.ticket.row)
        cdef dict waiters
        if self.own == NULL:
            raise RuntimeError("a process without a slot cannot wait for a flight")
        if waiter.waits:
            return True
        waiters = self.waiting.get(waiter.ticket.row)
        if waiters is None:
            waiters = self.waiting[waiter.ticket.row] = {}
        waiters[id(waiter)] = waiter
        waiter.waits = True
        waiter.due = False
        if self.between != NULL:
            self.between()
        if not atomic_load_relaxed(&row.joined) and life_in(atomic_load_relaxed(&row.word)) == waiter.ticket.life:
            atomic_store_release(&row.joined, 1)
        atomic_set_bits(&row.mask, <uint64_t>1 << (self.slot & 63))
        atomic_fence_full()
        if self.has_news(waiter):
            self.remove(waiter)
            return False
        return True

    cdef void remove(self, Waiter waiter) noexcept:
        cdef dict waiters = self.waiting[waiter.ticket.row]
        del waiters[id(waiter)]
        if not waiters:
            del self.waiting[waiter.ticket.row]
        waiter.waits = False

    cdef void leave(self, Waiter waiter) noexcept:
        waiter.due = False
        if waiter.waits:
            self.remove(waiter)

    cdef int tell(self, int number) except -1:
        """Tells who waits for a row what it says, if that is news."""
        cdef FlightRow* row = self.row_of(number)
        cdef dict waiters = self.waiting.get(number)
        cdef FlightView view
        cdef Waiter waiter
        cdef list due = []
        if waiters is None:
            return 0
        # Those that go on waiting have to be woken again. The bit first, then the look.
        atomic_set_bits(&row.mask, <uint64_t>1 << (self.slot & 63))
        atomic_fence_full()
        for waiter in waiters.values():
            if self.has_news(waiter):
                waiter.due = True
                due.append(waiter)
        for waiter in due:
            self.remove(waiter)
        failure = None
        for waiter in due:
            # One that was told before may have made it leave, or wait for something else.
            if not waiter.due:
                continue
            waiter.due = False
            self.look(&waiter.ticket, &view)
            self.own.told += 1
            try:
                waiter.told(view.state, view.filled)
            except BaseException as error:
                if failure is None:
                    failure = error
        if failure is not None:
            raise failure
        return 0

    def woken(self) -> None:
        """Tells waiters what the eventfd of this slot was written for. Raises what one of them raised, after all."""
        cdef uint64_t bits, count
        cdef int word, bucket, way
        if self.own == NULL:
            return
        while read(self.wakers[self.slot], &count, sizeof(count)) < 0 and errno == EINTR:
            pass
        failure = None
        for word in range(FLIGHT_HINTS):
            if atomic_load_acquire(&self.own.hints[word]) == 0:
                continue
            bits = atomic_exchange_full(&self.own.hints[word], 0)
            for bucket in range(64):
                if bits >> bucket & 1:
                    for way in range(FLIGHT_WAYS):
                        try:
                            self.tell((word * 64 + bucket) * FLIGHT_WAYS + way)
                        except BaseException as error:
                            failure = failure or error
        if failure is not None:
            raise failure

    def sweep(self) -> None:
        """Looks at every flight that somebody in this process waits for, in case."""
        for number in list(self.waiting):
            self.tell(number)

    def release(self, int slot) -> None:
        """Ends the flights that a dead worker has led, and wakes everybody. Twice does no harm.

        To be called when the process is gone: it changes rows that otherwise only the worker changes. Raises IndexError
        for a slot that there is not.
        """
        cdef FlightRow* row
        cdef uint64_t word
        cdef int number, state, other, index
        if not 0 <= slot < self.region.slots:
            raise IndexError(f"slot {slot} of {self.region.slots}")
        for number in range(FLIGHT_BUCKETS * FLIGHT_WAYS):
            row = self.row_of(number)
            word = atomic_load_acquire(&row.word)
            state = state_in(word)
            if owner_in(word) != <uint64_t>(slot + 1):
                continue
            if state == FLIGHT_TAKEN:
                # Nobody has seen this life of the row.
                atomic_swap_if_equal(&row.word, &word, word_of(life_in(word), 0, FLIGHT_FREE))
            elif state == FLIGHT_ASKING or state == FLIGHT_TAKING_OVER:
                atomic_swap_if_equal(&row.word, &word, word_of(life_in(word), slot + 1, FLIGHT_GIVEN_UP))
            elif state == FLIGHT_FILLING:
                atomic_store_relaxed(&row.cause, 0)
                atomic_swap_if_equal(&row.word, &word, word_of(life_in(word), slot + 1, FLIGHT_FAILED))
        atomic_fence_full()
        for other in range(self.region.slots):
            for index in range(FLIGHT_HINTS):
                atomic_set_bits(&self.slots[other].hints[index], <uint64_t>-1)
            self.poke(other)

    def stats(self):
        """How requests met flights, in all workers since the start."""
        cdef uint64_t sums[7]
        cdef FlightSlot* line
        cdef int slot, index
        for index in range(7):
            sums[index] = 0
        for slot in range(self.region.slots):
            line = &self.slots[slot]
            for index in range(7):
                sums[index] += atomic_load_relaxed(&line.led + index)
        return FlightStats(*[sums[index] for index in range(7)])


assert sizeof(FlightRow) == 128 and sizeof(FlightBucket) == 1024 and sizeof(FlightSlot) == 128
