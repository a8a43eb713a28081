cimport cython
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t

from fastgate._core.memory.cache.cache_file cimport CacheFile
from fastgate._core.memory.cache.layout cimport (
    RECORD_WORDS,
    CacheCounts,
    CacheHeader,
    CacheRecord,
    CacheSlot,
    SegmentRow,
)
from fastgate._core.memory.hashing cimport SipHash


# What is to be stored. The caller owns what the pointers lead to; the key is hashed with `hash_key`.
cdef struct Entry:
    uint64_t hash
    const char* key
    const char* head
    const char* fields
    const char* body                    # not asked for where the body comes in pieces, or stays
    uint32_t key_length                 # at most 65,535; of the fields as well
    uint32_t fields_length
    uint32_t head_length
    uint32_t body_length
    uint16_t flags
    uint64_t purge
    uint64_t checked
    uint64_t dies                       # CLOCK_BOOTTIME in ms; FOREVER
    uint64_t words[RECORD_WORDS]
    bint is_new                         # nothing of this key was found a moment ago


# An object that was found. What the pointers lead to may be overwritten at any time, unless it is pinned: what has been
# copied is good if `still` says so afterwards. The record is a copy.
cdef struct View:
    uint32_t segment
    uint32_t offset
    uint64_t generation
    uint64_t* entry                     # the word of the index; NULL when it was found by its place
    uint64_t word
    uint64_t hash
    CacheRecord record
    unsigned char* base
    uint32_t* filled                    # NULL: it came in one go
    uint64_t* chain                     # NULL: all of the body is here
    uint32_t parts
    const char* key
    const char* head
    const char* fields
    const char* body                    # what of it is behind the parts; NULL: nothing


cdef struct OpenSegment:
    int segment                         # -1 = none
    uint64_t word                       # its word, while it is open
    uint32_t used


cdef struct Victim:
    int segment                         # -1 = none
    uint64_t word
    uint32_t cursor
    uint32_t end
    uint32_t kept                       # bytes


# A store as one process sees it.
cdef struct Store:
    CacheHeader* header
    CacheSlot* slot_rows
    uint64_t* states
    uint64_t* orders
    uint64_t* ends
    SegmentRow* rows
    uint32_t* pins
    uint64_t* index
    uint32_t* ghost
    unsigned char* data
    uint32_t slots
    uint32_t segments
    uint32_t segment_size
    uint32_t pin_stride
    uint64_t buckets
    uint64_t ghosts
    uint64_t cookie
    unsigned char key[16]
    int slot                            # -1 = it looks and copies only
    CacheCounts* counts
    uint32_t* own_pins
    uint64_t pinned                     # how many pins this process has
    uint64_t scratch                    # how many segments of streams
    OpenSegment open[2]                 # by class: probation, main
    OpenSegment beside[2]               # a second one, where there are segments enough
    bint has_two
    uint32_t largest                    # record
    Victim victim
    uint32_t reserve                    # free segments that stores leave alone
    uint32_t hint                       # where the last free segment was found
    uint32_t free                       # how many there were when they were last counted
    bint pressed                        # there are too few free segments: stores free others


# An object whose body comes in pieces. It is pinned until publish() or abandon().
cdef struct Filling:
    View view
    uint64_t hash
    uint64_t part                       # of the body, that is open: as the record has it
    uint32_t filled
    uint32_t scratch                    # of a stream: its segments
    bint main
    bint active


@cython.final
cdef class CacheStore:
    cdef readonly CacheFile file
    cdef Store store
    cdef CacheCounts uncounted          # of a process without a slot
    cdef int forks

    cdef bint can_store(self) noexcept


# ---- for every process. Times are CLOCK_BOOTTIME in ms.

cdef uint64_t check_of(
    const Store* s, uint64_t generation, uint32_t segment, uint32_t offset, const CacheRecord* record
) noexcept nogil
cdef uint64_t hash_key(const Store* s, const char* key, size_t length) noexcept nogil
# The same for keys that begin alike: once for the beginning, then for each whole key that has it.
cdef void begin_hash(const Store* s, const char* beginning, size_t length, SipHash* begun) noexcept nogil
cdef uint64_t hash_from(const SipHash* begun, size_t beginning, const char* key, size_t length) noexcept nogil
# Whether there is an object of this key that is of use at this time, 0 = at any.
cdef bint look(
    Store* s, uint64_t hash, const char* key, size_t key_length, uint64_t now, View* view
) noexcept nogil
# The object at a place, as `place_of` said it, of which it is known that it is being filled or was.
cdef bint look_at(Store* s, uint64_t place, uint64_t generation, View* view) noexcept nogil
cdef uint64_t place_of(const View* view) noexcept nogil
# Whether what was read since it was found is whole.
cdef bint still(const Store* s, const View* view) noexcept nogil
# How many bytes of the body are there; FILLED_ABANDONED: there will not be more, and it is not stored.
cdef uint32_t filled_of(const View* view) noexcept nogil
# The same, and whether that is final: all of it, or abandoned. Good if `still` says so afterwards, or while pinned.
cdef uint32_t progress_of(const View* view, bint* ended) noexcept nogil
# The bytes of the body from a position on that lie together, as far as they are there, and in which life of
# which segment; NULL: they are not there yet, or not any more. Good while pinned.
cdef const char* body_at(
    Store* s, const View* view, uint32_t position, uint32_t* length, uint32_t* segment, uint64_t* generation
) noexcept nogil
# Copies a piece of the body; False: it is not whole.
cdef bint copy_body(Store* s, const View* view, uint32_t position, char* target, uint32_t length) noexcept nogil
# Removes what is stored under a key; whether there was something.
cdef bint remove(Store* s, uint64_t hash, const char* key, size_t key_length) noexcept nogil
# Removes exactly what was found; False: something else is there by now.
cdef bint remove_this(Store* s, const View* view) noexcept nogil
# What a dead process left in its slot.
cdef void recover_slot(Store* s, int slot) noexcept nogil

# ---- for a process with a slot

# One more use of what was found.
cdef void touch(Store* s, const View* view) noexcept nogil
cdef bint pin(Store* s, const View* view) noexcept nogil
# Notes a key as one that was thrown out a short while ago, and whether it is.
cdef void throw_out(Store* s, uint64_t hash) noexcept nogil
cdef bint was_thrown_out(Store* s, uint64_t hash) noexcept nogil
cdef void unpin(Store* s, const View* view) noexcept nogil
cdef bint pin_segment(Store* s, uint32_t segment, uint64_t generation) noexcept nogil
cdef void unpin_segment(Store* s, uint32_t segment) noexcept nogil
# Which segment has a part of the body, in which life; False: none, or not any more.
cdef bint part_segment(
    Store* s, const View* view, uint32_t part, uint32_t* segment, uint64_t* generation
) noexcept nogil
# How often any process has found no segment for what it wanted to store.
cdef uint64_t starved_of_all(const Store* s) noexcept nogil
cdef void set_checked(Store* s, const View* view, uint64_t checked) noexcept nogil
cdef void set_retry_at(Store* s, const View* view, uint64_t retry_at) noexcept nogil
cdef uint64_t retry_at(const View* view) noexcept nogil
# Whether it is stored; else the store is full, or it is too large.
cdef bint put(Store* s, const Entry* e, uint64_t now) noexcept nogil
# The same for a body that comes in pieces; its length is known.
cdef bint begin_filling(Store* s, const Entry* e, uint64_t now, Filling* filling) noexcept nogil
# Opens the segments of its first so many bytes beforehand, so that none is missing later. False: there are too few, and
# it is abandoned.
cdef bint reserve(Store* s, Filling* filling, uint64_t size, uint64_t now) noexcept nogil
cdef bint append(Store* s, Filling* filling, const char* data, uint32_t length, uint64_t now) noexcept nogil
cdef bint publish(Store* s, Filling* filling) noexcept nogil
cdef void abandon(Store* s, Filling* filling) noexcept nogil
# The same for a body whose length is not known: of at most so many bytes, and at most an eighth of the store.
cdef bint begin_stream(Store* s, const Entry* e, uint64_t most, uint64_t now, Filling* filling) noexcept nogil
# It is whole, and stored with the length that it has: place and generation say where. The key is that of before; head,
# fields, times may be others. False: it is not stored. Who reads along sees in either case that it has ended.
cdef bint publish_stream(
    Store* s, Filling* filling, const Entry* e, uint64_t now, uint64_t* place, uint64_t* generation
) noexcept nogil
# Other bytes and times for an object whose body stays as it is.
cdef bint replace_head(Store* s, const View* old, const Entry* e, uint64_t now) noexcept nogil
# Frees segments if there are too few: for who has nothing else to do. At most about 0.2 ms.
cdef void make_room(Store* s, int64_t budget, uint64_t now) noexcept nogil
