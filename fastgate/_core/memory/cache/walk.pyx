"""Goes through all that is stored, once and in slices: for who wants to know what is there, not for requests.

Theory of operation. It walks the segments, not the index: what was never used has no page, and reading one would make
it. A segment is read from its front, record by record, as far as its owner says that it is used; one that is freed
meanwhile is left. Whether a record is still stored is what the index says, which is only asked for keys that have the
bytes that are looked for. What is given out are copies, each proved whole afterwards as every reader does (`still`).
Nothing is written, and nothing is pinned.
"""

from typing import NamedTuple

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint32_t, uint64_t

from fastgate._core.memory.cache.cache_store cimport CacheStore, Store, View, look_at, still
from fastgate._core.memory.cache.layout cimport (
    BUCKET,
    SEGMENT_DRAIN,
    SEGMENT_FREE,
    class_of,
    first_bucket,
    generation_of,
    index_word,
    is_body,
    record_bytes,
    second_bucket,
    state_of,
)
from fastgate._core.memory.cache.purges cimport Purges

cdef extern from "memory/atomics.h" nogil:
    uint64_t atomic_load_relaxed(const uint64_t* word)
    uint64_t atomic_load_acquire(const uint64_t* word)

cdef extern from "<string.h>" nogil:
    const void* memmem(const void* text, size_t length, const void* part, size_t size)

cdef enum:
    SLICE = 500                        # records, or segments without any, of one step: well below a millisecond
    MOST_TAGS = 80                     # of a record: those that it names, and its own


class StoredRecord(NamedTuple):
    """A copy of what is stored under a key; times are CLOCK_BOOTTIME in milliseconds."""

    key: bytes
    head: bytes
    body: int                          # bytes of it
    size: int                          # bytes of all of it, the body included
    words: tuple[int, ...]
    flags: int
    purge: int                         # the number of purges when it was asked for
    dies: int
    uses: int                          # since it was stored or moved; 3 stands for all that is more


cdef class Walk:
    """One walk over a store, to records whose key has ``part`` in it."""

    cdef CacheStore store
    cdef bytes part
    cdef uint32_t segment
    cdef uint32_t offset
    cdef uint64_t generation

    def __init__(self, CacheStore store not None, bytes part not None):
        self.store = store
        self.part = part
        self.segment = self.offset = 0

    cdef bint is_linked(self, const View* view) noexcept nogil:
        """Whether the index leads to it: else it was replaced, removed or moved."""
        cdef const Store* s = &self.store.store
        cdef uint64_t word = index_word(view.hash, view.generation, view.segment, view.offset)
        cdef uint64_t bucket
        cdef int half, number
        for half in range(2):
            bucket = second_bucket(view.hash, s.buckets) if half else first_bucket(view.hash, s.buckets)
            for number in range(BUCKET):
                if atomic_load_acquire(&s.index[BUCKET * bucket + number]) == word:
                    return True
        return False

    cdef object copy_of(self, const View* view):
        cdef Store* s = &self.store.store
        cdef bytes key = view.key[:view.record.key_length]
        cdef bytes head = view.head[:view.record.head_length]
        cdef bint whole = still(s, view)
        if not whole:
            return None
        return StoredRecord(
            key,
            head,
            view.record.body_length,
            view.record.key_length + view.record.fields_length + view.record.head_length + view.record.body_length,
            (view.record.words[0], view.record.words[1], view.record.words[2]),
            view.record.flags,
            view.record.purge,
            view.record.dies,
            view.record.frequency,
        )

    cdef uint32_t end_of_segment(self) noexcept nogil:
        """How far the segment is used that is the next; 0: it has no records."""
        cdef const Store* s = &self.store.store
        cdef uint64_t word = atomic_load_acquire(&s.states[self.segment])
        cdef uint64_t used
        if state_of(word) == SEGMENT_FREE or state_of(word) >= SEGMENT_DRAIN or is_body(class_of(word)):
            return 0
        if self.offset == 0:
            self.generation = generation_of(word)
        elif self.generation != generation_of(word):
            return 0
        used = atomic_load_acquire(&s.rows[self.segment].used)
        if used >> 24 != self.generation:
            return 0
        return min(<uint32_t>(used & 0xffffff), s.segment_size)

    def step(self) -> list[StoredRecord] | None:
        """What one slice has found; None: it was the last one before."""
        cdef Store* s = &self.store.store
        cdef View view
        cdef int _left
        cdef bint valid
        cdef list found = []
        if self.segment >= s.segments:
            return None
        for _left in range(SLICE):
            if self.segment >= s.segments:
                break
            if self.offset >= self.end_of_segment():
                self.segment += 1
                self.offset = 0
                continue
            view.base = NULL
            valid = look_at(s, <uint64_t>self.segment << 32 | self.offset, self.generation, &view)
            if view.base == NULL:
                # Not a record, or not of this life: what follows cannot be found either.
                self.segment += 1
                self.offset = 0
                continue
            if (
                valid
                and memmem(view.key, view.record.key_length, PyBytes_AS_STRING(self.part), PyBytes_GET_SIZE(self.part))
                and self.is_linked(&view)
            ):
                one = self.copy_of(&view)
                if one is not None:
                    found.append(one)
            self.offset += <uint32_t>record_bytes(&view.record, s.segment_size)
        return found


def purged(Purges purges not None, uint64_t number, tags, bytes address not None, int path) -> int:
    """Whether an object with this number and these tags was purged: 0 = not, 1 = it is stale, 2 = it is not used.

    ``address`` is where it came from; its path begins at ``path``. Of more than 80 tags the first count.
    """
    cdef uint64_t hashes[MOST_TAGS]
    cdef uint64_t checked = number
    cdef int count = 0
    if not 0 <= path <= len(address):
        raise ValueError(f"{path} is not a place in {address!r}")
    for tag in tags:
        if count == MOST_TAGS:
            break
        hashes[count] = tag
        count += 1
    return purges.compare(
        number, &checked, hashes, count, <const unsigned char*>PyBytes_AS_STRING(address), len(address), path
    )
