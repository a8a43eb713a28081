cimport cython
from libc.stdint cimport int64_t, uint64_t

from fastgate._core.memory.locks cimport STRIPES, Stripe
from fastgate._core.memory.region cimport Region
from fastgate._core.memory.store cimport RateCounter, Verdict

cdef extern from "limits/gcra.h" nogil:
    ctypedef struct GcraPace:
        uint64_t per
        uint64_t rate
        uint64_t whole
        uint64_t rest


cdef enum:
    STAMPS = 32                 # of a block
    BLOCK_WAYS = 8
    HEAD_WAYS = 16
    ALLOWANCES = 16384          # limits that are told apart in each region


# What a limit allows one key, for weighing the entries of different limits against each other.
cdef struct Allowance:
    uint64_t limit              # the hash of its name; 0 = free
    uint64_t whole              # in the units of an arrival time, or admissions
    uint64_t admits             # the most that may have been used where one more is admitted
    uint64_t reserved


# A token bucket or a fixed window: what the two words mean is said in rate.pyx.
cdef struct Entry:
    uint64_t key                # 0 = free
    uint64_t state


# How the region "limits" begins; the entries follow: those for keys that clients cannot choose, then as many for keys
# that they choose.
cdef struct Table:
    uint64_t magic
    uint64_t buckets            # of eight entries, in each half
    uint64_t wall               # the wall clock minus CLOCK_MONOTONIC when the region was prepared, nanoseconds
    uint64_t reserved[13]
    Stripe stripes[STRIPES]
    Allowance allowances[ALLOWANCES]


# What is known of one key's sliding log.
cdef struct Head:
    uint64_t count              # admissions so far: the number of the next one
    uint64_t last               # time stamp of the last one
    uint64_t expires
    uint64_t oldest             # none before this number lies in the span any more


cdef struct HeadSet:
    uint64_t keys[HEAD_WAYS]    # 0 = free
    Head heads[HEAD_WAYS]


cdef struct BlockSet:
    uint64_t tags[BLOCK_WAYS]   # of a key and the numbers of its admissions; 0 = free
    uint64_t expires[BLOCK_WAYS]
    uint64_t owners[BLOCK_WAYS]     # the keys
    uint64_t stamps[BLOCK_WAYS][STAMPS]


# How the region "logs" begins. For keys that clients cannot choose, then for those that they choose, the sets of heads
# and the sets of blocks follow.
cdef struct Logs:
    uint64_t magic
    uint64_t sets               # of heads, and as many of blocks, in each half
    uint64_t reserved[6]
    Stripe heads[STRIPES]
    Stripe blocks[STRIPES]
    Allowance allowances[ALLOWANCES]


# The half of a table, or of the logs, that a limit counts in.
cdef struct EntryRoom:
    Table* table
    Entry* entries
    uint64_t buckets


cdef struct LogRoom:
    Logs* logs
    HeadSet* heads
    BlockSet* blocks
    uint64_t sets


# Where one block was found last, so that its neighbours need no second search.
cdef struct Bookmark:
    uint64_t tag                # 0 = nowhere
    BlockSet* set
    int way


# One compiled limit. Immutable; what it counts lies in a region. It always answers at once.
cdef class Limit(RateCounter):
    cdef readonly Region region
    cdef readonly int64_t rate
    cdef readonly bint chosen               # clients choose the keys
    cdef uint64_t per_ns
    cdef uint64_t mark                      # the low bits of its keys: its number and its kind
    cdef Allowance* allowance

    # The key of a text (a client's address, say) under this limit.
    cdef uint64_t key_of(self, const void* text, size_t length) noexcept
    # What check() would say (its answer), without taking: `remaining` still contains what would be taken.
    cdef int foresee(self, uint64_t key, int64_t amount, uint64_t now_ns, Verdict* verdict) noexcept

    cdef int settle(self, Region region, rate, per, str name, bint chosen) except -1
    cdef int number(self, Allowance* allowances, int kind) except -1
    cdef Decision decide(self, key, amount, now_ns, bint taking)


@cython.final
cdef class TokenBucket(Limit):
    cdef readonly int64_t burst
    cdef EntryRoom room
    cdef GcraPace pace
    cdef uint64_t slack                     # units that the sum of several steps may be off
    cdef uint64_t tolerance                 # how far ahead of now the arrival time of an admitted one may lie
    cdef uint64_t depth                     # how far it may lie at most: all is used, and owed that may be
    cdef uint64_t foreign                   # how far beyond that it lies only if other settings wrote it

    cdef inline uint64_t ahead(self, int64_t amount) noexcept
    cdef inline uint64_t moved(self, uint64_t since, int64_t amount, uint64_t now) noexcept
    cdef inline void tell(self, uint64_t arrival, uint64_t now, int64_t amount, int admitted, Verdict* verdict) noexcept


@cython.final
cdef class FixedWindow(Limit):
    cdef EntryRoom room
    cdef uint64_t units                     # how many units of a window's end one window is long, rounded up

    cdef uint64_t current(self, uint64_t found, uint64_t now_ns, uint64_t* end_ns) noexcept
    cdef inline void tell(
        self, uint64_t count, uint64_t wait_ns, int admitted, Verdict* verdict
    ) noexcept


@cython.final
cdef class SlidingWindowLog(Limit):
    cdef LogRoom room

    cdef int look(self, uint64_t key, int64_t amount, uint64_t now_ns, bint taking, Verdict* verdict) noexcept
    cdef Head* append(
        self, Head* head, uint64_t key, uint64_t count, uint64_t amount, uint64_t now_ns, Stripe* stripe,
        Bookmark* mark
    ) noexcept


@cython.final
cdef class Decision:
    cdef readonly bint admitted
    cdef readonly int64_t remaining
    cdef readonly double reset
    cdef readonly double retry_after
