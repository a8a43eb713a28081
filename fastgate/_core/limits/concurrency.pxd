cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t

from fastgate._core.memory.locks cimport STRIPES, Stripe
from fastgate._core.memory.region cimport Region
from fastgate._core.memory.store cimport ShareCounter


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


# How the region "shares" begins. A byte a set follows (whether it was ever used), then the sets: first their keys, then
# their entries; at last the spare entries. The first half of the sets is for keys that clients cannot choose.
cdef struct Shares:
    uint64_t magic
    uint64_t sets               # in each half
    uint64_t slots
    uint64_t stride             # bytes of an entry: Learned and a word a slot
    uint64_t reserved[12]
    Stripe stripes[STRIPES]
    uint64_t spares[SPARES]     # the hash of the name of the limit that each spare entry belongs to; 0 = free


# A limit of requests at once, as the worker of one slot sees it. Immutable; what it counts lies in a region. It always
# answers at once. A place is this worker's word of the entry.
@cython.final
cdef class Concurrency(ShareCounter):
    cdef readonly Region region
    cdef readonly int slot
    cdef readonly int64_t max
    cdef readonly int64_t queue
    cdef readonly int64_t minimum           # of an adaptive limit; 0 = the limit is always max
    cdef readonly bint chosen               # clients choose the keys
    cdef Shares* shares
    cdef uint32_t tag                       # of its entries
    cdef uint64_t spare                     # the number of its spare entry

    # The key of a text under this limit.
    cdef uint64_t key_of(self, const void* text, size_t length) noexcept
    # 1 = an amount more is running, to be ended by leave(); 0 = full.
    cdef int acquire(self, uint64_t key, int64_t amount, void** place) noexcept
    # 1 = one more is waiting; 0 = the queue is full.
    cdef int enter_queue(self, uint64_t key, void** place) noexcept

    cdef unsigned char* hold(self, uint64_t key, Stripe** stripe) noexcept
    cdef unsigned char* place(self, uint64_t number, uint64_t key, bint claiming) noexcept
    cdef unsigned char* entry_of(self, uint64_t number, int way) noexcept
    cdef uint64_t set_of(self, uint64_t key) noexcept
    cdef Stripe* stripe_of(self, uint64_t number) noexcept
    cdef Stripe* stripe_at(self, unsigned char* entry) noexcept
    cdef int64_t count(self, unsigned char* entry, int shift) noexcept
    cdef int64_t bound(self, unsigned char* entry) noexcept
    cdef bint admit(self, unsigned char* entry, int64_t amount, int64_t change) noexcept
    cdef Share share(self, void* place, int64_t amount, str state)
    cdef void close_window(self, Learned* learned, uint64_t now_us) noexcept


@cython.final
cdef class Share:
    cdef Concurrency home
    cdef void* place
    cdef int64_t amount
    cdef readonly str state                 # "running", "waiting", "released"
