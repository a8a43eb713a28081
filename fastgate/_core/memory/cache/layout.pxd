"""What lies in the file of the response cache, and how its words are put together.

Every number that is read from shared memory is bounded by whoever reads it: nothing here does.

    word of a segment    generation:40 | owner:16 | class:4 | state:4      owner = slot + 1; 0 = nobody
    word of the index    tag:16 | generation:8 | segment:24 | offset/16:16 0 = empty; a tag is never 0
    place                segment:32 | offset in bytes:32
    used                 generation:40 | bytes:24
    live                 generation:24 | objects:16 | bytes:24
    part of a chain      generation:40 | segment:24                        0 = not there yet
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from fastgate._core.memory.hashing cimport mix64

cdef enum:
    CACHE_MAGIC = 0x68636167            # "gach"
    CACHE_VERSION = 1                   # of the header, and of how the parts follow each other
    CACHE_PAGE = 4096
    CACHE_PARTS = 16                    # at most
    LEAST_SEGMENT = 65536
    MOST_SEGMENT = 1048576
    MOST_SEGMENTS = 1 << 24
    UNIT = 16                           # records begin at multiples of it
    BUCKET = 8                          # words of the index in a cache line

# The life of a segment, each step by one compare-and-swap. Its generation grows at the last one, and only there.
cdef enum:
    SEGMENT_FREE = 0
    SEGMENT_OPEN = 1                    # its owner appends
    SEGMENT_SEALED = 2
    SEGMENT_RECLAIM = 3                 # its owner moves or drops what is in it
    SEGMENT_DRAIN = 4                   # nothing of it is in the index; the last pin is waited for

# What a segment is for.
cdef enum:
    CLASS_PROBATION = 0                 # records that were stored once
    CLASS_MAIN = 1                      # records that were used
    CLASS_BODY_PROBATION = 2            # a part of one large body
    CLASS_BODY_MAIN = 3

cdef enum:
    KIND_CHAIN = 1                      # the body is in segments of its own
    KIND_FILLED = 2                     # the body came in pieces: a word says how many bytes are there
    KIND_STREAM = 4                     # body_length is what it may have at most; never in the index
    KIND_TAIL = 8                       # of KIND_CHAIN: what does not fill a segment is behind the fields

cdef enum:
    RECORD_WORDS = 3                    # for the user of the store

cdef extern from *:
    """
    #define FOREVER (((uint64_t)1 << 48) - 1)
    #define FILLED_ABANDONED UINT32_MAX
    """
    uint64_t FOREVER                    # a time that never comes
    uint32_t FILLED_ABANDONED           # in place of how many bytes are there


# 88 bytes; then the word of KIND_FILLED (filled:32 | ended:32), the parts of KIND_CHAIN, the key, the head, the fields,
# and the body if it is not in a chain, or its tail.
cdef struct CacheRecord:
    uint64_t check                      # of the 64 bytes that follow, the place, the generation and the file's cookie
    uint64_t number                     # of this object, which no other one has: the larger, the newer
    uint16_t key_length
    uint16_t fields_length
    uint32_t head_length
    uint32_t body_length
    uint16_t flags                      # of the user of the store
    uint16_t kind
    uint64_t purge                      # the number of purges when what it holds was asked for
    uint64_t dies                       # CLOCK_BOOTTIME in ms
    uint64_t words[RECORD_WORDS]        # of the user of the store
    # What may be written once more; an update that is lost to a move costs a second look.
    uint64_t checked
    uint32_t retry_low
    uint16_t retry_high
    uint8_t frequency
    uint8_t reserved


cdef struct CachePart:
    char name[16]
    uint32_t version
    uint32_t reserved
    uint64_t offset
    uint64_t size


cdef struct CacheHeader:
    uint32_t magic
    uint32_t version
    uint64_t max_bytes                  # what it was made for; the file may be a little smaller
    uint64_t size
    uint32_t slots
    uint32_t segments
    uint32_t segment_size
    uint32_t count                      # of the parts
    uint64_t cookie                     # random
    unsigned char key[16]               # that keys are hashed with
    CachePart parts[CACHE_PARTS]
    # Words that change, each on a line of its own.
    uint64_t line_a[7]
    uint64_t order                      # how many segments were sealed
    uint64_t line_b[7]
    uint64_t number                     # the last number of an object
    uint64_t line_c[7]
    uint64_t cleared                    # objects up to this number are not there any more
    uint64_t purge                      # the number of purges, for who has the part "purges"
    uint64_t wish                       # segments that the largest body needed that found no room
    uint64_t line_d[7]


# Counted by the process of a slot alone, with plain additions; they go on with the next process of the slot.
cdef struct CacheCounts:
    uint64_t stores
    uint64_t stored_bytes
    uint64_t refused                    # stores: there was no free segment
    uint64_t too_large                  # stores: larger than the store takes at all
    uint64_t evictions                  # objects
    uint64_t expired                    # objects that were past their use when their segment was freed
    uint64_t kept                       # objects that were moved because they had been used
    uint64_t kept_bytes
    uint64_t returned                   # stores of what probation had thrown out a short while ago
    uint64_t crowded_out                # objects that an index bucket had no place for
    uint64_t replaced                   # objects that a newer one of the same key took the place of
    uint64_t deleted
    uint64_t lost                       # finished fills whose segment was being freed
    uint64_t damaged                    # records whose check or whose lengths do not fit
    uint64_t freed                      # segments


cdef struct CacheSlot:
    uint64_t pid
    uint64_t starts
    CacheCounts counts
    uint64_t scratch                    # segments of streams that are not published yet
    uint64_t starved                    # how often no segment was to be had
    uint64_t reserved[13]


# A line for each segment, written by its owner, and `live` by all.
cdef struct SegmentRow:
    uint64_t used
    uint64_t live
    uint64_t newest                     # the number of its newest object
    uint64_t hash                       # of a part of a body: of its key
    uint64_t part                       # of a part of a body: generation:40 | which part:24
    uint64_t reserved[3]


# ---- words of segments

cdef inline uint64_t segment_word(uint64_t generation, int owner, int kind, int state) noexcept nogil:
    return generation << 24 | <uint64_t>owner << 8 | <uint64_t>kind << 4 | <uint64_t>state


cdef inline int state_of(uint64_t word) noexcept nogil:
    return <int>(word & 15)


cdef inline int class_of(uint64_t word) noexcept nogil:
    return <int>(word >> 4 & 15)


cdef inline int owner_of(uint64_t word) noexcept nogil:
    return <int>(word >> 8 & 0xffff)


cdef inline uint64_t generation_of(uint64_t word) noexcept nogil:
    return word >> 24


cdef inline bint is_body(int kind) noexcept nogil:
    return kind >= CLASS_BODY_PROBATION


cdef inline bint is_main(int kind) noexcept nogil:
    return (kind & 1) != 0


# ---- words of the index

cdef inline uint64_t tag_of(uint64_t hash) noexcept nogil:
    cdef uint64_t tag = hash >> 48
    return tag if tag else 1


cdef inline uint64_t index_word(uint64_t hash, uint64_t generation, uint32_t segment, uint32_t offset) noexcept nogil:
    return (
        tag_of(hash) << 48 | (generation & 0xff) << 40 | <uint64_t>segment << 16 | <uint64_t>(offset // UNIT)
    )


cdef inline uint32_t segment_in(uint64_t word) noexcept nogil:
    return <uint32_t>(word >> 16 & 0xffffff)


cdef inline uint32_t offset_in(uint64_t word) noexcept nogil:
    return <uint32_t>(word & 0xffff) * UNIT


cdef inline uint64_t first_bucket(uint64_t hash, uint64_t buckets) noexcept nogil:
    return <uint64_t><uint32_t>hash * buckets >> 32


cdef inline uint64_t second_bucket(uint64_t hash, uint64_t buckets) noexcept nogil:
    """Never the first one."""
    cdef uint64_t first = first_bucket(hash, buckets)
    cdef uint64_t second = (mix64(hash) >> 32) * buckets >> 32
    if second != first:
        return second
    return first + 1 if first + 1 < buckets else 0


# ---- sizes

cdef inline uint64_t round_up(uint64_t value, uint64_t unit) noexcept nogil:
    return (value + unit - 1) // unit * unit


cdef inline uint64_t parts_of(uint64_t body, uint64_t segment_size) noexcept nogil:
    return (body + segment_size - 1) // segment_size


cdef inline uint64_t record_parts(const CacheRecord* record, uint64_t segment_size) noexcept nogil:
    """How many segments its body has."""
    if not record.kind & KIND_CHAIN:
        return 0
    return record.body_length // segment_size if record.kind & KIND_TAIL else parts_of(
        record.body_length, segment_size
    )


cdef inline uint64_t inline_bytes(const CacheRecord* record, uint64_t segment_size) noexcept nogil:
    """How much of its body lies behind its front."""
    if not record.kind & KIND_CHAIN:
        return record.body_length
    return record.body_length % segment_size if record.kind & KIND_TAIL else 0


cdef inline uint64_t front_bytes(const CacheRecord* record, uint64_t segment_size) noexcept nogil:
    """All of a record but its body."""
    cdef uint64_t size = sizeof(CacheRecord) + record.key_length + record.fields_length + <uint64_t>record.head_length
    if record.kind & KIND_FILLED:
        size += 8
    return size + 8 * record_parts(record, segment_size)


cdef inline uint64_t record_bytes(const CacheRecord* record, uint64_t segment_size) noexcept nogil:
    """What a record takes in its segment."""
    return round_up(front_bytes(record, segment_size) + inline_bytes(record, segment_size), UNIT)
