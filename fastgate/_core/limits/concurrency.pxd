cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t

from fastgate._core.memory.locks cimport STRIPES, Stripe
from fastgate._core.memory.segment cimport Segment


cdef enum:
    SHARE_WAYS = 16
    SPARES = 1024               # limits that are told apart where a table is full


# What an adaptive limit has learned about a key. Under the lock; 0 = nothing yet.
cdef struct Learned:
    double limit
    double baseline             # latency without a queue, microseconds
    uint64_t begun              # the window, microseconds of CLOCK_MONOTONIC
    uint64_t latencies          # the sum of this window's
    uint32_t samples
    uint32_t dropped
    uint32_t peak               # most requests at once in this window
    uint32_t windows            # since the baseline was measured
    uint32_t phase
    uint32_t owner              # the limit that the entry belongs to: the low half of the hash of its name
    uint32_t reserved[2]


# How REGION_SHARES begins. A byte a set follows (whether it was ever used), then the sets: first their keys, then their
# entries; at last the spare entries. The first half of the sets is for keys that clients cannot choose.
cdef struct Shares:
    uint64_t magic
    uint64_t sets               # in each half
    uint64_t slots
    uint64_t stride             # bytes of an entry: Learned and a word a slot
    uint64_t reserved[12]
    Stripe stripes[STRIPES]
    uint64_t spares[SPARES]     # the hash of the name of the limit that each spare entry belongs to; 0 = free


# A limit of requests at once, as the worker of one slot sees it. Immutable; what it counts lies in the segment.
@cython.final
cdef class Concurrency:
    cdef readonly Segment segment
    cdef readonly int slot
    cdef readonly int64_t max
    cdef readonly int64_t queue
    cdef readonly int64_t minimum           # of an adaptive limit; 0 = the limit is always max
    cdef readonly bint chosen               # clients choose the keys
    cdef Shares* shares
    cdef uint32_t tag                       # of its entries
    cdef uint64_t spare                     # the number of its spare entry
    cdef unsigned char secret[16]

    # The key of a text under this limit.
    cdef uint64_t key_of(self, const void* text, size_t length) noexcept
    # 1 = one more is running, and *word is what release() takes; 0 = full.
    cdef int acquire(self, uint64_t key, int64_t** word) noexcept
    # 1 = one more is waiting, and *word is what promote() and leave_queue() take; 0 = the queue is full.
    cdef int enter_queue(self, uint64_t key, int64_t** word) noexcept
    # 1 = what waited is running now, to be ended by release(); 0 = still full, it goes on waiting.
    cdef int promote(self, int64_t* word) noexcept
    cdef void release(self, int64_t* word) noexcept
    cdef void leave_queue(self, int64_t* word) noexcept
    # How long a running request took, before its release(); dropped = it timed out or was refused for overload. Does
    # nothing where the limit is not adaptive.
    cdef void sample(self, int64_t* word, uint64_t now_us, uint64_t latency_us, bint dropped) noexcept

    cdef unsigned char* hold(self, uint64_t key, Stripe** stripe) noexcept
    cdef unsigned char* place(self, uint64_t number, uint64_t key, bint claiming) noexcept
    cdef unsigned char* entry_of(self, uint64_t number, int way) noexcept
    cdef uint64_t set_of(self, uint64_t key) noexcept
    cdef Stripe* stripe_of(self, uint64_t number) noexcept
    cdef Stripe* stripe_at(self, unsigned char* entry) noexcept
    cdef int64_t count(self, unsigned char* entry, int shift) noexcept
    cdef int64_t bound(self, unsigned char* entry) noexcept
    cdef bint admit(self, unsigned char* entry, int64_t change) noexcept
    cdef Share share(self, int64_t* word, str state)
    cdef void close_window(self, Learned* learned, uint64_t now_us) noexcept


@cython.final
cdef class Share:
    cdef Concurrency home
    cdef int64_t* word
    cdef readonly str state                 # "running", "waiting", "released"
