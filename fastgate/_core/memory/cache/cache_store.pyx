"""The store of the response cache: objects of bytes under keys of bytes, which all processes of a host share.

Theory of operation
-------------------
What is stored is appended to *segments* of up to 1 MB, as in a log, and an index leads to it. Nobody takes a lock, no
reader writes, and a process may be killed between any two instructions.

* A segment goes FREE → OPEN → SEALED → RECLAIM → DRAIN → FREE, each step by one compare-and-swap of its word. The last
  step counts up its *generation*. An open segment belongs to one slot, which alone appends to it; so does one that
  is being reclaimed. Data is overwritten only in a new life of its segment.
* **Storing**: write the record, its check, then how far the segment is used, then swap the word of the index. It is
  seen after the last step only; a process that dies before leaves bytes that nobody finds.
* **Reading by copying**: word of the index, bounds, word of the segment, check, whole key, copy, and then the word of
  the segment again: the same generation means whole bytes.
* **Reading by pinning**: count up the own pin word of the segment, full fence, look at the segment's word again: the
  same generation and not yet DRAIN. Who frees it unlinks everything, swaps it to DRAIN, full fence, adds up the pins of
  all slots. One of the two sees the other.
* **Freeing**: the oldest segment of probation while that has more than a 24th of the segments, else the oldest of the
  main part (S3-FIFO). What is past its use is dropped, what was used since is copied into the own open main segment and
  then linked there, the rest is dropped; what probation drops leaves a fingerprint, and is stored in the main part when
  it comes back. Every store examines about twice what it writes as long as there are too few free segments.
* **Two open segments**, where there are segments enough: what fits into the fuller one goes there. So what is small
  fills the ends that what is large leaves.
* **A large body** has segments of its own, a *chain*, which its record lists; what does not fill the last one is in the
  record, if it is not too much. Each names the hash of its key, so that a segment whose record is gone is found and
  freed. Their fate is that of the first of them.
* **A body whose length is not known** is a *stream*: a record that is never in the index and that leads to *scratch*
  segments, at most an eighth of the store in all (streaming.pxi).
* **The death of a process** (`recover_slot`): its open segments are sealed, what it reclaimed is sealed again, its pins
  are zero.

**Whatever belongs to one life of a segment carries the number of that life**: the word of the index has 8 bits of it,
`used`, `live`, `orders` and `ends` have more, and a record's check depends on it. What may be written again in a record
is written under a pin: else a process that was stopped in between would write into the next life.

Damaged memory: every offset, length and count is bounded before it is used, and every loop ends. A record whose check
or lengths do not fit is not there.
"""

import os

cimport cython
from libc.stdint cimport UINT64_MAX, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from fastgate._core.memory.cache.cache_file cimport CacheFile
from fastgate._core.memory.cache.layout cimport (
    BUCKET,
    CLASS_BODY_MAIN,
    CLASS_BODY_PROBATION,
    CLASS_MAIN,
    CLASS_PROBATION,
    FILLED_ABANDONED,
    FOREVER,
    KIND_CHAIN,
    KIND_FILLED,
    KIND_STREAM,
    KIND_TAIL,
    SEGMENT_DRAIN,
    SEGMENT_FREE,
    SEGMENT_OPEN,
    SEGMENT_RECLAIM,
    SEGMENT_SEALED,
    UNIT,
    CacheCounts,
    CacheRecord,
    CacheSlot,
    SegmentRow,
    class_of,
    first_bucket,
    front_bytes,
    generation_of,
    index_word,
    inline_bytes,
    is_body,
    is_main,
    offset_in,
    owner_of,
    parts_of,
    record_bytes,
    record_parts,
    round_up,
    second_bucket,
    segment_in,
    segment_word,
    state_of,
    tag_of,
)
from fastgate._core.memory.hashing cimport SipHash, mix64, quick_hash, siphash, siphash_begin, siphash_from
from fastgate._core.memory.region cimport CACHE_LAYOUT, Region

cdef extern from "memory/atomics.h" nogil:
    uint64_t atomic_load_relaxed(const uint64_t* word)
    uint64_t atomic_load_acquire(const uint64_t* word)
    void atomic_store_relaxed(uint64_t* word, uint64_t value)
    void atomic_store_release(uint64_t* word, uint64_t value)
    uint64_t atomic_add_relaxed(uint64_t* word, uint64_t amount)
    int atomic_swap_if_equal(uint64_t* word, uint64_t* expected, uint64_t desired)
    uint32_t atomic_load_half(const uint32_t* half)
    void atomic_store_half(uint32_t* half, uint32_t value)
    void atomic_fence_full()
    void atomic_fence_acquire()
    void compiler_fence()
    uint64_t boottime_ms()

cdef extern from * nogil:
    """
    #define prefetch(place) __builtin_prefetch(place)
    """
    void prefetch(const void* place)
    int lowest_bit "__builtin_ctz" (unsigned int bits)

cdef extern from "memory/cache/buckets.h" nogil:
    unsigned int words_with_tag(const uint64_t* bucket, uint64_t tag)
    unsigned int bits_of_eight(unsigned int bits)

cdef enum:
    PROBATION = 24                  # the share of it: a tenth loses 0.2 to 0.6 points of hits on each trace
    FREQUENCY_MOST = 3
    MOST_STEPS = 256                # records that one call examines at most: about 0.1 ms
    MOST_EXAMINED = 131072          # bytes of them
    SEGMENTS_FOR_TWO = 48           # a slot
    MOST_RECORD = 524288            # bytes
    MOST_SWAPS = 64                 # tries of one swap; in sound memory two or three are many

include "segments.pxi"
include "records.pxi"
include "linking.pxi"
include "reclaiming.pxi"
include "storing.pxi"
include "streaming.pxi"
include "recovery.pxi"


cdef int _forks = 0                 # in this process since it was not one of its parent's


def _after_fork():
    global _forks
    _forks += 1


os.register_at_fork(after_in_child=_after_fork)


# What it gives back in __dealloc__ lies in the file, which it has until then: in a circle that is collected too.
@cython.no_gc_clear
cdef class CacheStore:
    """A process's view of the store in a file.

    ``slot`` is which of the file's slots it has: only with one can it store and pin, and only one process may have it
    at a time. Without, it looks and copies. ValueError: another process has the slot. IndexError: no such slot.
    """

    def __cinit__(self, CacheFile file not None, slot=None):
        cdef Store* s = &self.store
        cdef uint64_t expected = 0
        cdef int number = -1 if slot is None else slot
        memset(s, 0, sizeof(Store))
        s.slot = -1
        self.file = file
        if slot is not None and not 0 <= number < file.slots:
            raise IndexError(f"slot {slot} of {file.slots}")
        s.header = file.header
        s.slots = file.slots
        s.segments = file.segments
        s.segment_size = file.segment_size
        s.pin_stride = <uint32_t>round_up(4 * <uint64_t>s.segments, 64) // 4
        s.slot_rows = <CacheSlot*>part_of(file, "slots", s.slots * sizeof(CacheSlot))
        s.states = <uint64_t*>part_of(file, "states", 8 * <size_t>s.segments)
        s.orders = <uint64_t*>part_of(file, "orders", 8 * <size_t>s.segments)
        s.ends = <uint64_t*>part_of(file, "ends", 8 * <size_t>s.segments)
        s.rows = <SegmentRow*>part_of(file, "rows", sizeof(SegmentRow) * <size_t>s.segments)
        s.pins = <uint32_t*>part_of(file, "pins", 4 * <size_t>s.pin_stride * s.slots)
        s.index = <uint64_t*>part_of(file, "index", 8 * BUCKET * 2)
        s.buckets = file.region("index").size // (8 * BUCKET)
        s.ghost = <uint32_t*>part_of(file, "ghost", 4)
        s.ghosts = file.region("ghost").size // 4
        s.data = part_of(file, "data", <size_t>s.segments * s.segment_size)
        s.cookie = file.cookie
        memcpy(s.key, file.key, sizeof(s.key))
        s.reserve = s.slots + 1
        s.open[CLASS_PROBATION].segment = s.open[CLASS_MAIN].segment = s.victim.segment = -1
        s.beside[CLASS_PROBATION].segment = s.beside[CLASS_MAIN].segment = -1
        # An open segment is half empty: more than a few would cost more than they save.
        s.has_two = s.segments >= SEGMENTS_FOR_TWO * s.slots
        # What is larger has segments of its own. It is moved in one call, which has to be short.
        s.largest = min(s.segment_size // 4 * 3 if s.has_two else s.segment_size // 2, <uint32_t>MOST_RECORD)
        s.counts = &self.uncounted
        self.forks = _forks
        if slot is None:
            return
        if not atomic_swap_if_equal(&s.slot_rows[number].pid, &expected, os.getpid()):
            raise ValueError(
                f"slot {number} belongs to process {expected}; when that process is gone, recover({number}) frees it"
            )
        s.slot = number
        atomic_add_relaxed(&s.slot_rows[number].starts, 1)
        atomic_fence_full()
        s.counts = &s.slot_rows[number].counts
        s.own_pins = &s.pins[<size_t>number * s.pin_stride]
        # Else its first store would free a segment, whether that is needed or not.
        count_free(s)

    def __dealloc__(self):
        # A copy that a fork has made gives nothing back.
        if self.store.slot >= 0 and self.forks == _forks:
            recover_slot(&self.store, self.store.slot)

    @property
    def slot(self) -> int | None:
        """Its slot; None: it can only look and copy."""
        return None if self.store.slot < 0 else self.store.slot

    @property
    def pinned(self) -> int:
        """How many segments this process holds, each as often as it holds it."""
        return self.store.pinned

    cdef bint can_store(self) noexcept:
        """Whether it has a slot. A copy that a fork has made only looks and copies: the slot is the parent's."""
        if self.forks != _forks:
            self.forks = _forks
            self.store.slot = -1
            self.store.counts = &self.uncounted
        return self.store.slot >= 0

    def give_up(self) -> None:
        """Gives the slot back; from then on it looks and copies. BufferError: something is pinned."""
        if self.can_store():
            if self.store.pinned:
                raise BufferError("the cache is in use: close what is pinned first")
            recover_slot(&self.store, self.store.slot)
        self.store.slot = -1
        self.store.counts = &self.uncounted

    def recover(self, int slot) -> None:
        """Gives back what a process that is gone had in its slot. Any process may do it, and more than once.

        The process must be surely gone (waited for), and its successor not yet started. IndexError: no such slot.
        """
        if not 0 <= slot < <int>self.store.slots:
            raise IndexError(f"slot {slot} of {self.store.slots}")
        recover_slot(&self.store, slot)

    def was_used(self, int slot) -> bool:
        """Whether a process ever had a slot: if not, nothing is to be recovered. IndexError: no such slot."""
        if not 0 <= slot < <int>self.store.slots:
            raise IndexError(f"slot {slot} of {self.store.slots}")
        return (
            atomic_load_relaxed(&self.store.slot_rows[slot].starts) != 0
            or atomic_load_relaxed(&self.store.slot_rows[slot].pid) != 0
        )

    def make_room(self) -> None:
        """Frees segments if there are too few, for about 0.2 ms at most."""
        if self.can_store():
            make_room(&self.store, MOST_EXAMINED, boottime_ms())

    def clear(self) -> None:
        """Nothing that is stored, or is being stored, is found from now on, in any process."""
        cdef Store* s = &self.store
        cdef uint64_t now = atomic_load_acquire(&s.header.number), before = atomic_load_acquire(&s.header.cleared)
        while before < now and not atomic_swap_if_equal(&s.header.cleared, &before, now):
            pass
        if self.can_store():
            seal(s, &s.open[CLASS_PROBATION])
            seal(s, &s.open[CLASS_MAIN])
            seal(s, &s.beside[CLASS_PROBATION])
            seal(s, &s.beside[CLASS_MAIN])

    def stats(self) -> dict:
        """What is stored and what was counted. Reads no data and no index."""
        return statistics(&self.store)

    @staticmethod
    def now() -> int:
        """The clock of the store: CLOCK_BOOTTIME in milliseconds."""
        return boottime_ms()


cdef unsigned char* part_of(CacheFile file, str name, size_t least) except NULL:
    cdef Region region = file.region(name)
    return region.open(name, CACHE_LAYOUT, least)


_COUNTS = (
    "stores", "stored_bytes", "refused", "too_large", "evictions", "expired", "kept", "kept_bytes", "returned",
    "crowded_out", "replaced", "deleted", "lost", "damaged", "freed",
)
assert len(_COUNTS) == sizeof(CacheCounts) // 8, "the names of the counts and the structure differ"


cdef dict statistics(Store* s):
    cdef uint64_t sums[16]
    cdef uint64_t word, generation, used, live
    cdef uint64_t cleared = atomic_load_relaxed(&s.header.cleared)
    cdef uint64_t objects = 0, bytes_live = 0, bytes_used = 0
    cdef uint64_t states[5]
    cdef uint64_t main = 0, pinned = 0
    cdef uint32_t segment, slot
    cdef int number
    memset(sums, 0, sizeof(sums))
    memset(states, 0, sizeof(states))
    for segment in range(s.segments):
        word = atomic_load_acquire(&s.states[segment])
        if state_of(word) <= SEGMENT_DRAIN:
            states[state_of(word)] += 1
        if state_of(word) == SEGMENT_FREE:
            continue
        generation = generation_of(word)
        main += is_main(class_of(word))
        used = atomic_load_relaxed(&s.rows[segment].used)
        if used >> 24 == generation:
            bytes_used += used & 0xffffff
        live = atomic_load_relaxed(&s.rows[segment].live)
        if (
            live >> 40 == (generation & 0xffffff) and state_of(word) != SEGMENT_DRAIN
            and (is_body(class_of(word)) or atomic_load_relaxed(&s.rows[segment].newest) > cleared)
        ):
            objects += live >> 24 & 0xffff
            bytes_live += live & 0xffffff
        pinned += is_pinned(s, segment)
    for slot in range(s.slots):
        if atomic_load_relaxed(&s.slot_rows[slot].starts):
            for number in range(<int>(sizeof(CacheCounts) // 8)):
                sums[number] += atomic_load_relaxed(&(<uint64_t*>&s.slot_rows[slot].counts)[number])
    found = {
        "objects": objects,
        "bytes": bytes_live,
        "used_bytes": bytes_used,
        "segments": s.segments,
        "segment_size": s.segment_size,
        "free": states[SEGMENT_FREE],
        "open": states[SEGMENT_OPEN],
        "sealed": states[SEGMENT_SEALED],
        "reclaimed": states[SEGMENT_RECLAIM],
        "drained": states[SEGMENT_DRAIN],
        "main": main,
        "pinned": pinned,
    }
    for number, name in enumerate(_COUNTS):
        found[name] = sums[number]
    return found
