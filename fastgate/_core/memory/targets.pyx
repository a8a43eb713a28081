"""The rows of targets: what workers share about each target, and about each upstream, found by name.

Theory of operation. The region "targets" has so many rows, in four tables, the first three behind each other on pages
of their own:

    names       a key for each row, found or entered by name
    in flight   for each slot one 64-bit word a row
    tries       for each slot one 64-bit counter a row: first tries, which retry budgets are reckoned from
    states      STATE_SIZE bytes a row: see target_row.pxd

Safety. A worker writes only the words of its own slot, so those need no atomic operation; others read them with
relaxed loads. They are laid out slot by slot, because a worker writes its words twice a request and must not share
their cache lines; a reader adds up one word a slot. The words in flight of a slot whose worker died are zeroed once the
process is gone (`release`). The table of names is append-only: a free key is taken with one compare-and-swap, and
whoever loses it reads who won. Any process may therefore enter a name, and all of them get the same row for it.

Cost: every access from the core is one addition to a base address. Entering a name is O(1) expected, O(rows) at worst.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memset

from fastgate._core.memory.region cimport TARGETS_LAYOUT, Region

from fastgate._core.memory.region import SegmentError

cdef extern from "memory/atomics.h" nogil:
    uint64_t atomic_load_relaxed(const uint64_t* word)
    uint64_t atomic_load_acquire(const uint64_t* word)
    int atomic_swap_if_equal(uint64_t* word, uint64_t* expected, uint64_t desired)

cdef enum:
    PAGE = 4096
    LINE = 64

# How the region begins.
cdef struct Header:
    uint64_t size                   # rows

cdef struct Places:
    size_t words
    size_t counts
    size_t states
    size_t stride
    size_t end


cdef inline size_t up(size_t value, size_t unit) noexcept:
    return (value + unit - 1) // unit * unit


cdef Places places_of(int slots, int size) noexcept:
    cdef Places at
    at.stride = up(size * sizeof(uint64_t), LINE)
    at.words = up(LINE + size * sizeof(TargetEntry), PAGE)
    at.counts = up(at.words + slots * at.stride, PAGE)
    at.states = up(at.counts + slots * at.stride, PAGE)
    at.end = at.states + <size_t>size * STATE_SIZE
    return at


cdef size_t targets_size(int slots, int size) noexcept:
    """Bytes of the region for so many rows."""
    return places_of(slots, size).end


cdef void prepare_targets(unsigned char* base, int size) noexcept:
    """Makes the region of a new memory ready."""
    (<Header*>base).size = size


cdef class TargetRows:
    """The rows of a region, ``size`` of them for ``slots`` workers. Raises SegmentError for a region of anything else.
    """

    def __cinit__(self, Region region not None):
        cdef unsigned char* base = region.open("targets", TARGETS_LAYOUT, PAGE)
        cdef uint64_t size = (<Header*>base).size
        cdef Places at
        if not 1 <= size <= 1048576 or region.size < targets_size(region.slots, <int>size):
            raise SegmentError(f"the region 'targets' contradicts its size: {size} rows in {region.size} bytes")
        at = places_of(region.slots, <int>size)
        self.region = region
        self.slots = region.slots
        self.size = <int>size
        self.table = <TargetEntry*>(base + LINE)
        self.words = base + at.words
        self.counts = base + at.counts
        self.states = base + at.states
        self.stride = at.stride

    cdef long long* in_flight(self, int row, int slot) noexcept:
        return <long long*>(self.words + slot * self.stride) + row

    cdef uint64_t* first_tries(self, int row, int slot) noexcept:
        return <uint64_t*>(self.counts + slot * self.stride) + row

    cdef unsigned char* state(self, int row) noexcept:
        return self.states + <size_t>row * STATE_SIZE

    cdef int check(self, int row, int slot) except -1:
        if not 0 <= slot < self.slots:
            raise IndexError(f"slot {slot} of {self.slots}")
        if not 0 <= row < self.size:
            raise IndexError(f"target {row} of {self.size}")
        return 0

    def row(self, str name not None) -> int:
        """The row of this name, which is entered when it is new. Every process gets the same answer."""
        cdef uint64_t key, found
        cdef int _step, index
        from hashlib import blake2b     # on use: it loads OpenSSL

        secret = self.region.secret[:16]
        key = int.from_bytes(
            blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8, key=secret).digest(), "little"
        ) or 1
        index = <int>(key % <uint64_t>self.size)
        for _step in range(self.size):
            found = atomic_load_acquire(&self.table[index].key)
            if found == 0 and atomic_swap_if_equal(&self.table[index].key, &found, key):
                return index
            if found == key:
                return index
            index = index + 1 if index + 1 < self.size else 0
        raise SegmentError(f"the table of {self.size} targets is full")

    def requests_in_flight(self, int row) -> int:
        """The requests that all workers together have with a target at this moment."""
        cdef int slot
        cdef int64_t total = 0
        self.check(row, 0)
        for slot in range(self.slots):
            total += <int64_t>atomic_load_relaxed(<uint64_t*>self.in_flight(row, slot))
        return total

    def release(self, int slot) -> None:
        """Nothing is in flight any more in this slot. To be called when the process of its worker is gone."""
        self.check(0, slot)
        memset(self.words + slot * self.stride, 0, self.stride)
