cimport cython
from libc.stdint cimport uint32_t, uint64_t

from fastgate._core.memory.hashing cimport quick_hash
from fastgate._core.memory.locks cimport STRIPES, Stripe
from fastgate._core.memory.region cimport Region

cdef extern from "memory/atomics.h" nogil:
    uint64_t atomic_load_relaxed(const uint64_t* word)
    uint64_t atomic_load_acquire(const uint64_t* word)


cdef enum:
    TAG_WAYS = 8                # tags in a bucket
    PREFIX_RULES = 256          # in use
    PREFIX_PLACES = PREFIX_RULES + 1    # so that two of them become one without a moment in which neither holds
    PREFIX_MOST = 228           # bytes of a prefix

# What an object may be purged by: equal texts of two kinds are two tags.
cdef enum:
    TAG_URI = 0
    TAG_ROUTE = 1
    TAG_HOST = 2
    TAG_NAME = 3                # Cache-Tag, Surrogate-Key
    TAG_GROUP = 4               # Cache-Groups, whose text begins with the origin
    TAG_KINDS = 5

# Of an object: may be used, is stale, must not be used any more.
cdef enum:
    PURGED_NOT = 0
    PURGED_SOFT = 1
    PURGED_HARD = 2


# Three cache lines; those of both buckets of a tag are read. 0 = no tag, no purge.
cdef struct TagBucket:
    uint64_t tags[TAG_WAYS]
    uint64_t hard[TAG_WAYS]
    uint64_t soft[TAG_WAYS]


cdef struct Floors:
    uint64_t hard
    uint64_t soft


cdef struct PrefixRule:
    uint64_t hard               # 0 and 0 = not in use
    uint64_t soft
    uint32_t tail               # of the address of an object: 0 = the whole, 1 = from its path on
    uint32_t reserved
    uint32_t length
    unsigned char text[PREFIX_MOST]


# How the region "purges" begins. Zeros are what it begins with: nothing was purged. The rules, the buckets of tags,
# their floors, and the two maps of presence bits follow, as many as the size of the region allows.
cdef struct PurgesHead:
    uint64_t number             # of purges so far
    uint64_t reserved_line[7]
    Floors everything
    uint64_t prefixes           # grows before a rule leaves its place
    uint64_t newest_prefix      # the highest number of a rule
    uint64_t reach              # places for rules that were ever in use
    uint64_t turn               # of the maps: the newer one is turn % 2
    uint64_t start[2]           # below this, an object may be missing in the map and all newer ones
    uint64_t marked[2]          # how many bits are set
    uint64_t cleared            # bytes of the older map, while it is cleared; 0 = it is not
    # Counters.
    uint64_t purges_by_tag
    uint64_t purges_by_prefix
    uint64_t purges_of_everything
    uint64_t unneeded           # not written, because nothing of that URI was asked for
    uint64_t floors_raised
    uint64_t prefixes_merged
    uint64_t turns
    uint64_t reserved[4]
    Stripe prefix_lock
    Stripe map_lock
    Stripe stripes[STRIPES]     # of buckets


@cython.final
cdef class Purges:
    cdef readonly Region region
    cdef PurgesHead* head
    cdef PrefixRule* rules
    cdef TagBucket* buckets
    cdef Floors* floors         # of buckets
    cdef unsigned char* maps
    cdef uint64_t count         # buckets
    cdef uint64_t width         # bytes of a map
    cdef unsigned char secrets[TAG_KINDS][16]
    cdef uint64_t seed          # of marks
    cdef void (*between)() noexcept nogil       # for tests: called between the two writes of a purge

    # The hash of a tag. Never 0.
    cdef uint64_t tag_of(self, int kind, const void* text, size_t length) noexcept nogil
    # By which a URI is marked as present: a hash of its own that costs a fourth of a tag. Whoever finds two URIs of one
    # mark gains a purge that was not needed, and asking for both gains as much. Of an origin first, then of what is
    # behind it; a `query` of length -1 is not there.
    cdef inline uint64_t mark_of_origin(self, const void* text, size_t length) noexcept nogil:
        return quick_hash(self.seed, text, length)

    cdef inline uint64_t mark_of(
        self, uint64_t origin, const void* path, size_t length, const void* query, Py_ssize_t query_length
    ) noexcept nogil:
        cdef uint64_t mark = quick_hash(origin, path, length)
        return mark if query_length < 0 else quick_hash(mark, query, query_length)

    # The number for a record whose request is sent after this returns; its URI is marked as present. For a record of
    # several URIs it is called for each, and the first number counts.
    cdef uint64_t sent(self, uint64_t mark) noexcept nogil
    # PURGED_*, of an object with this number. `address` is where it came from, its path begins at `path`.
    cdef int compare(
        self, uint64_t number, uint64_t* checked, const uint64_t* tags, int count, const unsigned char* address,
        size_t length, size_t path
    ) noexcept nogil
    # The same for most objects at the cost of two words. `checked` belongs to the object and begins with its number;
    # it may be shared, and written by many at once.
    cdef inline int state_of(
        self, uint64_t number, uint64_t* checked, const uint64_t* tags, int count, const unsigned char* address,
        size_t length, size_t path
    ) noexcept nogil:
        if atomic_load_relaxed(checked) == atomic_load_acquire(&self.head.number):
            return PURGED_NOT
        return self.compare(number, checked, tags, count, address, length, path)

    # Purges what has a tag.
    cdef void write_tag(self, uint64_t tag, bint soft) noexcept nogil
    # The same of a URI by which an unsafe request was answered; 0 = nothing of it was asked for, nothing is written.
    cdef bint changed(self, uint64_t uri, uint64_t mark) noexcept nogil
    cdef void write_prefix(self, const unsigned char* text, size_t length, bint tail, bint soft) noexcept nogil
    cdef void write_everything(self, bint soft) noexcept nogil

    cdef void pause(self) noexcept nogil
    cdef uint64_t count_purge(self) noexcept nogil
    cdef TagBucket* bucket_of(self, uint64_t mixed) noexcept nogil
    cdef bint is_present(self, uint64_t mark) noexcept nogil
    cdef void enter(self, uint64_t tag, uint64_t hard, uint64_t soft) noexcept nogil
    cdef int match(
        self, uint64_t number, const unsigned char* address, size_t length, size_t path
    ) noexcept nogil
    cdef void enter_prefix(
        self, const unsigned char* text, size_t length, bint tail, uint64_t hard, uint64_t soft
    ) noexcept nogil
    cdef PrefixRule* spare_rule(self) noexcept nogil
    cdef void drop_covered(self) noexcept nogil
    cdef void merge_rules(self) noexcept nogil
    cdef void drop_rule(self, PrefixRule* rule) noexcept nogil
    cdef void place_rule(
        self, PrefixRule* rule, const unsigned char* text, size_t length, bint tail, uint64_t hard, uint64_t soft
    ) noexcept nogil
    cdef void turn_maps(self) noexcept nogil


cdef size_t purges_bytes(size_t store) noexcept
