"""What the response cache did for each route, counted by the workers of a host and kept when they are gone.

Theory of operation. The region begins with a word a slot, which says that the slot has counted at all; then come the
names of routes, and then for each slot a row a name. A row is written by the process of its slot alone, with plain
additions; sums are made by readers. The next process of the slot goes on with the rows, and so does a route that comes
back after a reload.

A name is entered in the first free place by one compare-and-swap of its hash. All the rest of the entry follows from
the name, so whoever looks for it and finds it half written, because a process died or is just there, writes the same
bytes himself. No place is ever given back, so there is one for each name. When all are taken, what is new shares the
last row, "__other__".
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

from fastgate._core.memory.hashing cimport siphash_24
from fastgate._core.memory.region cimport ROUTES_LAYOUT, Region

cdef extern from "memory/atomics.h" nogil:
    uint64_t atomic_load_relaxed(const uint64_t* word)
    uint64_t atomic_load_acquire(const uint64_t* word)
    void atomic_store_relaxed(uint64_t* word, uint64_t value)
    int atomic_swap_if_equal(uint64_t* word, uint64_t* expected, uint64_t desired)
    uint32_t atomic_load_half(const uint32_t* half)
    void atomic_store_half(uint32_t* half, uint32_t value)
    void atomic_fence_acquire()

cdef enum:
    MOST_NAMES = 1025
    LEAST_NAMES = 17

OTHER = "__other__"

_WORDS = (
    "hits", "stale", "revalidated", "collapsed", "bypassed", "miss_uri", "miss_vary", "miss", "miss_request",
    "miss_stale", "miss_partial", "miss_method", "stored", "bytes_saved", "readers_cut", "fetches_abandoned",
)
assert len(_WORDS) == ROUTE_NOT_STORED and ROUTE_NOT_STORED + NOT_STORED_KINDS == ROUTE_WORDS
assert sizeof(RouteName) == 256


cdef inline size_t row_bytes(int slots) noexcept:
    """Of a name: the entry, and a row a slot."""
    return sizeof(RouteName) + <size_t>slots * ROUTE_WORDS * sizeof(uint64_t)


cdef inline size_t head_bytes(int slots) noexcept:
    return (<size_t>slots * sizeof(uint64_t) + 63) // 64 * 64


cdef size_t counts_bytes(size_t store, int slots) noexcept:
    cdef size_t names = store // 128 // row_bytes(slots)
    return head_bytes(slots) + min(max(names, <size_t>LEAST_NAMES), <size_t>MOST_NAMES) * row_bytes(slots)


def counts_size(size_t store, int slots) -> int:
    """Bytes of the region for a store of so many bytes: rows for 16 to 1,024 routes, about a 128th of it."""
    return counts_bytes(store, slots)


cdef class RouteCounts:
    """Where the process of a slot counts. IndexError: no such slot."""

    def __init__(self, Region region not None, int slot):
        if not 0 <= slot < region.slots:
            raise IndexError(f"slot {slot} of {region.slots}")
        self.region = region
        self.slot = slot
        self.open_region()

    cdef int open_region(self) except -1:
        cdef Region region = self.region
        cdef size_t head = head_bytes(region.slots)
        cdef unsigned char* base = region.open("counts", ROUTES_LAYOUT, head + row_bytes(region.slots))
        self.started = <uint64_t*>base
        self.names = <RouteName*>(base + head)
        self.count = <uint32_t>((region.size - head) // row_bytes(region.slots))
        self.rows = <uint64_t*>(base + head + self.count * sizeof(RouteName))
        return 0

    cdef uint32_t number_of(self, bytes route_name):
        """The number of a name, which is entered when it is new; the last one when there is no room."""
        cdef const char* text = route_name
        cdef size_t length = len(route_name)
        cdef uint64_t hash = siphash_24(self.region.secret, text, length) or 1, found
        cdef RouteName* name
        cdef uint32_t number
        for number in range(self.count - 1):
            name = &self.names[number]
            found = atomic_load_acquire(&name.hash)
            if found == 0 and atomic_swap_if_equal(&name.hash, &found, hash):
                found = hash
            if found != hash:
                continue
            if not atomic_load_half(&name.length):
                length = min(length, <size_t>NAME_MOST)
                memcpy(name.text, text, length)
                # One more than there are: no name is empty.
                atomic_store_half(&name.length, <uint32_t>length + 1)
            return number
        return self.count - 1

    cdef uint64_t* row_of(self, bytes route_name):
        cdef uint32_t number = self.number_of(route_name)
        atomic_store_relaxed(&self.started[self.slot], 1)
        return &self.rows[(<size_t>self.slot * self.count + number) * ROUTE_WORDS]

    def add(self, str route not None, str word not None, uint64_t amount=1) -> None:
        """Counts from Python what the core counts by itself. KeyError: there is no such word."""
        cdef int place
        if word not in _PLACES:
            raise KeyError(word)
        place = _PLACES[word]
        self.row_of(route.encode("utf-8", "surrogateescape"))[place] += amount


_PLACES = {name: place for place, name in enumerate(_WORDS)} | {
    f"not_stored_{kind}": ROUTE_NOT_STORED + kind for kind in range(NOT_STORED_KINDS)
}


def route_counts(Region region not None, hindrances=()) -> dict:
    """What all slots have counted for each route: the words that are not 0, by their names.

    What was not stored is counted by what hindered, a number from 0 to 15: ``not_stored_0`` and so on; ``hindrances``
    has better names for the first of them, which follow ``not_stored_``.
    """
    cdef RouteCounts counts
    cdef RouteName* name
    cdef uint64_t* row
    cdef uint64_t value
    cdef uint32_t number, length
    cdef int slot, word
    if not region.slots:
        return {}
    counts = RouteCounts(region, 0)
    words = [*_WORDS, *(f"not_stored_{kind}" for kind in range(NOT_STORED_KINDS))]
    for word, better in enumerate(hindrances[:NOT_STORED_KINDS]):
        words[ROUTE_NOT_STORED + word] = f"not_stored_{better}"
    found = {}
    for number in range(counts.count):
        text = OTHER
        if number < counts.count - 1:
            name = &counts.names[number]
            if atomic_load_acquire(&name.hash) == 0:
                # They are taken one after the other: what follows is not in use, and reading would allocate its pages.
                number = counts.count - 1
            else:
                length = atomic_load_half(&name.length)
                atomic_fence_acquire()
                if not 0 < length <= NAME_MOST + 1:
                    continue
                text = name.text[:length - 1].decode("utf-8", "replace")
        sums = found.setdefault(text, {})
        for slot in range(region.slots):
            if atomic_load_relaxed(&counts.started[slot]):
                row = &counts.rows[(<size_t>slot * counts.count + number) * ROUTE_WORDS]
                for word in range(ROUTE_WORDS):
                    value = atomic_load_relaxed(&row[word])
                    if value:
                        sums[words[word]] = sums.get(words[word], 0) + value
        if number == counts.count - 1:
            break
    if not found.get(OTHER):
        found.pop(OTHER, None)
    return found
