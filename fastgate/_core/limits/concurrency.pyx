"""Limits of concurrency: how many requests of a key are under way at once, exact over all workers.

Theory of operation
-------------------
A key has an entry in shared memory with one 64-bit word for each worker slot: its low half counts what is running, the
high half what is waiting. A word is written by the worker of its slot alone, the sum of all is what counts. What a
dead worker held is thereby known: the supervisor zeroes the words of its slot, and nothing drifts.

* enter() looks for the entry, adds up the words, compares and adds to its own word, all under one of 64 robust
  locks, chosen by the set of entries a key belongs to: no two workers can take the last place. leave() subtracts
  from its own word without a lock: whoever adds up at that moment sees one or the other.
* A key's entry is one of sixteen in its set. An entry whose words are all zero is free for the next key, because nobody
  can hold a pointer to it.
* When all sixteen are in use, the request counts in the entry of another key of the same limit, that with the least
  under way; where there is none, in the limit's spare entry, with all others that found no room. So there is never more
  under way than the limit says; a full table refuses sooner, and lets nothing through uncounted. Keys that clients
  choose have sets of their own, so that none of this is up to who invents keys.
* Every store leaves the table valid, so a death inside needs no repair: an entry that was claimed and not yet counted
  in is all zeros, that is, free.
* Who waits asks again (promote); the queue bounds how many may, not in which order they are let in.
* A request counts as an amount, most often one. One that is larger than the limit is let in alone.

**Adaptive limits** find out how many at once a server can take: more only make each other wait. After each window of
at least 100 ms and 10 samples the limit moves (the rule is that of Gradient2Limit in Netflix' concurrency-limits):

    gradient = 1.2 * baseline / mean latency of the window, between 0.5 and 1
    limit += 0.2 * (limit * gradient + sqrt(limit) - limit)

So it grows while latency is near the baseline, and where n requests at once take max(1, n / best) times the baseline
it comes to rest at 1.2 * best + sqrt(limit). The baseline is where Gradient2 errs under steady overload: its average
of the past takes in the queue, and the limit climbs without an end. Here it is measured, as Envoy's adaptive
concurrency filter measures its minRTT: after 50 windows the limit is halved for two, the first to drain, the second
to measure. That costs a fiftieth of the throughput at most; and a window in which no more than half the limit was
asked for is such a measurement for nothing. A lower one is believed at once, a higher one by half. Requests that were
dropped (timeouts, refusals for overload) count no latency, and a window that has any takes a tenth off the limit.
Nothing can be learned of fewer at once than the minimum, so that should be less than the server can take.

Cost: enter, one lock, the keys of a set (two cache lines) and the words of an entry; a new key, the words of sixteen.
leave, one store.
"""

from libc.math cimport sqrt
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memset

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from fastgate._core.memory.hashing cimport siphash, siphash_derive
from fastgate._core.memory.locks cimport STRIPES, Stripe, prepare_stripes, shared_lock, shared_unlock
from fastgate._core.memory.region cimport SHARES_LAYOUT, Region, own_region
from fastgate._core.memory.store cimport ADMITTED, REFUSED, WAITING, ShareCounter

from fastgate._core.memory.region import SegmentError

cdef extern from "memory/atomics.h" nogil:
    uint64_t atomic_load_relaxed(const uint64_t* word)
    uint64_t atomic_load_acquire(const uint64_t* word)
    void atomic_store_relaxed(uint64_t* word, uint64_t value)
    void atomic_store_release(uint64_t* word, uint64_t value)
    int atomic_swap_if_equal(uint64_t* word, uint64_t* expected, uint64_t desired)
    uint64_t monotonic_us()

cdef enum:
    MAGIC = 0x736572616873      # "shares"
    LINE = 64
    RUNNING = 0                 # where in a word the two counts begin
    QUEUED = 32
    WINDOW_US = 100000          # a window of samples is at least so long
    WINDOW_SAMPLES = 10
    WINDOWS = 50                # between two measurements of the baseline
    FIRST_LIMIT = 20            # before anything is known
    PROBES = 32                 # places in which the spare entry of a limit may lie
    STEADY = 0                  # phases
    DRAINING = 1
    MEASURING = 2

cdef int64_t ONE_WAITING = <int64_t>1 << QUEUED
cdef double TOLERANCE = 1.2
cdef double SMOOTHING = 0.2


cdef inline size_t up(size_t value, size_t unit) noexcept:
    return (value + unit - 1) // unit * unit


cdef inline size_t stride_of(uint64_t slots) noexcept:
    return up(sizeof(Learned) + slots * sizeof(uint64_t), LINE)


cdef inline size_t set_size(uint64_t stride) noexcept:
    return SHARE_WAYS * (sizeof(uint64_t) + stride)


cdef inline unsigned char* touched(Shares* shares) noexcept:
    """A byte a set: whether it was ever used. What was not is not even read: its pages never come into being."""
    return <unsigned char*>shares + sizeof(Shares)


cdef inline uint64_t* keys_of(Shares* shares, uint64_t number) noexcept:
    return <uint64_t*>(touched(shares) + up(2 * shares.sets, LINE) + number * set_size(shares.stride))


cdef inline unsigned char* spare_of(Shares* shares, uint64_t number) noexcept:
    return <unsigned char*>keys_of(shares, 2 * shares.sets) + number * shares.stride


cdef inline uint64_t* words_of(unsigned char* entry) noexcept:
    return <uint64_t*>(entry + sizeof(Learned))


cdef class Concurrency(ShareCounter):
    """At most ``max`` requests of a key at once, over all workers."""

    def __init__(
        self, max, *, queue=0, minimum=None, Region region=None, int slot=0, entries=1024, str name not None="",
        chosen=False
    ):
        cdef bytes label = name.encode("utf-8", "surrogateescape")
        if not 1 <= max < 1 << 31:
            raise ValueError(f"max must be a whole number from 1 to {(1 << 31) - 1}, not {max!r}")
        if not 0 <= queue < 1 << 31:
            raise ValueError(f"queue must be a whole number from 0 to {(1 << 31) - 1}, not {queue!r}")
        if minimum is not None and not 1 <= minimum <= max:
            raise ValueError(f"minimum must be a whole number from 1 to max, not {minimum!r}")
        if region is None:
            region = own_region("shares", SHARES_LAYOUT, shares_size(entries, 1))
            prepare_shares(region)
        if not 0 <= slot < region.slots:
            raise IndexError(f"slot {slot} of {region.slots}")
        self.region = region
        self.shares = shares_of(region)
        self.slot = slot
        self.max = max
        self.queue = queue
        self.minimum = 0 if minimum is None else minimum
        self.chosen = chosen
        siphash_derive(self.secret, region.secret, PyBytes_AS_STRING(label), PyBytes_GET_SIZE(label))
        self.tag = (<uint32_t*>self.secret)[0]
        self.spare = find_spare(self.shares, (<uint64_t*>self.secret)[0] | 1)

    cdef uint64_t key_of(self, const void* text, size_t length) noexcept:
        return siphash(self.secret, text, length)

    cdef unsigned char* entry_of(self, uint64_t number, int way) noexcept:
        return <unsigned char*>(keys_of(self.shares, number) + SHARE_WAYS) + way * self.shares.stride

    cdef uint64_t set_of(self, uint64_t key) noexcept:
        return ((key >> 32) * self.shares.sets >> 32) + (self.shares.sets if self.chosen else 0)

    cdef Stripe* stripe_of(self, uint64_t number) noexcept:
        return &self.shares.stripes[number % STRIPES]

    cdef Stripe* stripe_at(self, unsigned char* entry) noexcept:
        """The lock of an entry: that of its set; of spare ones each has its own."""
        cdef unsigned char* spares = spare_of(self.shares, 0)
        if entry >= spares:
            return self.stripe_of(<uint64_t>(entry - spares) // self.shares.stride)
        return self.stripe_of(
            <uint64_t>(entry - <unsigned char*>keys_of(self.shares, 0)) // set_size(self.shares.stride)
        )

    cdef unsigned char* hold(self, uint64_t key, Stripe** stripe) noexcept:
        """The entry that a key counts in, its lock taken."""
        cdef uint64_t number = self.set_of(key)
        cdef unsigned char* entry
        stripe[0] = self.stripe_of(number)
        shared_lock(stripe[0].lock)
        entry = self.place(number, key, True)
        if entry == NULL:
            shared_unlock(stripe[0].lock)
            entry = spare_of(self.shares, self.spare)
            stripe[0] = self.stripe_of(self.spare)
            shared_lock(stripe[0].lock)
        return entry

    cdef int64_t count(self, unsigned char* entry, int shift) noexcept:
        """What all workers have RUNNING or QUEUED."""
        cdef uint64_t* words = words_of(entry)
        cdef uint64_t slot
        cdef int64_t total = 0
        for slot in range(self.shares.slots):
            total += (atomic_load_relaxed(&words[slot]) >> shift) & 0xffffffffULL
        return total

    cdef unsigned char* place(self, uint64_t number, uint64_t key, bint claiming) noexcept:
        """The entry of a key in its set. Where it has none, if one is to be claimed: a free one, else that of the key
        of this limit that has least under way. NULL when there is none of these. Under the lock.
        """
        cdef uint64_t* keys = keys_of(self.shares, number)
        cdef unsigned char* entry
        cdef unsigned char* best = NULL
        cdef unsigned char* mate = NULL
        cdef uint64_t oldest = 0
        cdef int64_t held, fewest = 0
        cdef int way, chosen = 0
        for way in range(SHARE_WAYS):
            if keys[way] == key:
                return self.entry_of(number, way)
        if not claiming:
            return NULL
        touched(self.shares)[number] = 1
        # Of the entries that nobody holds one that never was in use, or what was learned longest ago.
        for way in range(SHARE_WAYS):
            entry = self.entry_of(number, way)
            held = self.count(entry, RUNNING) + self.count(entry, QUEUED) if keys[way] != 0 else 0
            if held:
                if (<Learned*>entry).owner == self.tag and (mate == NULL or held < fewest):
                    mate = entry
                    fewest = held
            elif best == NULL or (<Learned*>entry).begun < oldest:
                best = entry
                oldest = (<Learned*>entry).begun
                chosen = way
        if best == NULL:
            atomic_store_relaxed(&self.stripe_of(number).lost, self.stripe_of(number).lost + 1)
            return mate
        atomic_store_release(&keys[chosen], 0)
        memset(best, 0, sizeof(Learned))
        (<Learned*>best).owner = self.tag
        atomic_store_release(&keys[chosen], key)
        return best

    cdef int64_t bound(self, unsigned char* entry) noexcept:
        """How many may run at once now."""
        cdef Learned* learned = <Learned*>entry
        cdef double limit
        if self.minimum == 0:
            return self.max
        limit = learned.limit if learned.limit > 0 else FIRST_LIMIT
        if learned.phase != STEADY:
            limit /= 2
        return min(self.max, max(self.minimum, <int64_t>limit))

    cdef bint admit(self, unsigned char* entry, int64_t amount, int64_t change) noexcept:
        """Changes the own word if there is room for an amount. Under the lock."""
        cdef Learned* learned = <Learned*>entry
        cdef uint64_t* word = &words_of(entry)[self.slot]
        cdef int64_t running = self.count(entry, RUNNING)
        if running + amount > self.bound(entry) and (amount == 1 or running != 0):
            return False
        atomic_store_release(word, word[0] + <uint64_t>change)
        if self.minimum and running + amount > learned.peak:
            learned.peak = <uint32_t>(running + amount)
        return True

    cdef int acquire(self, uint64_t key, int64_t amount, void** place) noexcept:
        cdef Stripe* stripe
        cdef unsigned char* entry = self.hold(key or 1, &stripe)
        cdef int admitted = self.admit(entry, amount, amount)
        place[0] = &words_of(entry)[self.slot] if admitted else NULL
        shared_unlock(stripe.lock)
        return admitted

    cdef int enter_queue(self, uint64_t key, void** place) noexcept:
        cdef Stripe* stripe
        cdef unsigned char* entry
        cdef uint64_t* word
        place[0] = NULL
        if self.queue == 0:
            return 0
        entry = self.hold(key or 1, &stripe)
        if self.count(entry, QUEUED) < self.queue:
            word = &words_of(entry)[self.slot]
            atomic_store_release(word, word[0] + <uint64_t>ONE_WAITING)
            place[0] = word
        shared_unlock(stripe.lock)
        return place[0] != NULL

    cdef int enter(self, uint64_t key, int64_t amount, bint behind, void** place) noexcept:
        if not behind and self.acquire(key, amount, place):
            return ADMITTED
        return WAITING if self.enter_queue(key, place) else REFUSED

    cdef int promote(self, void* place, int64_t amount) noexcept:
        cdef unsigned char* entry = <unsigned char*>(<uint64_t*>place - self.slot) - sizeof(Learned)
        cdef Stripe* stripe = self.stripe_at(entry)
        cdef int admitted
        # The entry cannot go to another key: this one is waiting in it.
        shared_lock(stripe.lock)
        admitted = self.admit(entry, amount, amount - ONE_WAITING)
        shared_unlock(stripe.lock)
        return admitted

    cdef void leave(self, void* place, int64_t amount) noexcept:
        cdef uint64_t* word = <uint64_t*>place
        atomic_store_release(word, word[0] - <uint64_t>amount)

    cdef void leave_queue(self, void* place) noexcept:
        cdef uint64_t* word = <uint64_t*>place
        atomic_store_release(word, word[0] - <uint64_t>ONE_WAITING)

    cdef void sample(self, void* place, uint64_t now_us, uint64_t latency_us, bint dropped) noexcept:
        cdef unsigned char* entry
        cdef Learned* learned
        cdef Stripe* stripe
        if self.minimum == 0:
            return
        entry = <unsigned char*>(<uint64_t*>place - self.slot) - sizeof(Learned)
        learned = <Learned*>entry
        stripe = self.stripe_at(entry)
        shared_lock(stripe.lock)
        if learned.limit <= 0:
            learned.limit = min(<double>self.max, max(<double>self.minimum, <double>FIRST_LIMIT))
        if learned.begun == 0:
            learned.begun = now_us
        if dropped:
            learned.dropped += 1
        else:
            learned.samples += 1
            learned.latencies += latency_us
        # The clock of another worker may be a little ahead: then the window is young.
        if learned.samples + learned.dropped >= WINDOW_SAMPLES and now_us >= learned.begun + WINDOW_US:
            self.close_window(learned, now_us)
        shared_unlock(stripe.lock)

    cdef void close_window(self, Learned* learned, uint64_t now_us) noexcept:
        cdef double short_term, gradient
        cdef bint measured = learned.phase == MEASURING or (
            learned.phase == STEADY and learned.peak * 2 <= learned.limit
        )
        if learned.samples and learned.phase != DRAINING:
            short_term = max(<double>learned.latencies / learned.samples, 1.0)
            if learned.baseline <= 0 or (measured and short_term < learned.baseline):
                learned.baseline = short_term
            elif measured:
                learned.baseline += (short_term - learned.baseline) / 2
            if not measured:
                gradient = min(1.0, max(0.5, TOLERANCE * learned.baseline / short_term))
                learned.limit += SMOOTHING * (learned.limit * gradient + sqrt(learned.limit) - learned.limit)
        if learned.dropped:
            learned.limit *= 0.9
        learned.limit = min(<double>self.max, max(<double>self.minimum, learned.limit))
        if learned.phase == DRAINING:
            learned.phase = MEASURING
        elif measured:
            learned.phase = STEADY
            learned.windows = 0
        else:
            learned.windows += 1
            if learned.windows >= WINDOWS:
                learned.phase = DRAINING
        learned.begun = now_us
        learned.latencies = 0
        learned.samples = learned.dropped = 0
        learned.peak = 0

    # For Python.

    cdef Share share(self, void* place, int64_t amount, str state):
        cdef Share share = Share.__new__(Share)
        share.home = self
        share.place = place
        share.amount = amount
        share.state = state
        return share

    def take(self, key, amount=1):
        """One more request of this key: its Share, or None when there are as many as there may be."""
        cdef void* place
        if self.acquire(hashed(self, key), amount_of(amount), &place):
            return self.share(place, amount, "running")
        return None

    def wait(self, key, amount=1):
        """A place in the queue of this key, a Share that promote() turns into a running one; None when it is full."""
        cdef void* place
        amount_of(amount)
        if self.enter_queue(hashed(self, key), &place):
            return self.share(place, amount, "waiting")
        return None

    def running(self, key) -> int:
        """How much of this key is under way in all workers."""
        return _look(self, key, RUNNING)

    def waiting(self, key) -> int:
        """How many requests of this key wait in all workers."""
        return _look(self, key, QUEUED)

    def limit(self, key) -> int:
        """How many requests of this key may be under way at once now."""
        return _look(self, key, -1)


cdef uint64_t hashed(Concurrency limit, key) except? 0:
    cdef bytes text = key if type(key) is bytes else (<str?>key).encode("utf-8", "surrogateescape")
    return limit.key_of(PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text)) or 1


cdef int64_t amount_of(amount) except -1:
    if amount != int(amount) or not 1 <= amount < 1 << 31:
        raise ValueError(f"an amount is a whole number from 1 to {(1 << 31) - 1}, not {amount!r}")
    return int(amount)


cdef int64_t _look(Concurrency limit, key, int shift) except -1:
    cdef uint64_t number_key = hashed(limit, key)
    cdef uint64_t number = limit.set_of(number_key)
    cdef Stripe* stripe = limit.stripe_of(number)
    cdef unsigned char* entry
    cdef int64_t found = 0
    cdef Learned nothing
    shared_lock(stripe.lock)
    entry = limit.place(number, number_key, False)
    if shift < 0:
        memset(&nothing, 0, sizeof(nothing))
        found = limit.bound(entry if entry != NULL else <unsigned char*>&nothing)
    elif entry != NULL:
        found = limit.count(entry, shift)
    shared_unlock(stripe.lock)
    return found


cdef class Share:
    """One request that runs or waits under a limit. Belongs to the worker that took it."""

    def __init__(self):
        raise TypeError("use Concurrency.take() to get a Share")

    def promote(self) -> bool:
        """Whether what waited is running now."""
        if self.state != "waiting":
            raise ValueError(f"this share is {self.state}")
        if not self.home.promote(self.place, self.amount):
            return False
        self.state = "running"
        return True

    def release(self, latency=None, *, bint dropped=False, now_ns=None) -> None:
        """Ends it, once: the request or the waiting. ``latency`` in seconds is what an adaptive limit learns from."""
        cdef uint64_t now = monotonic_us() if now_ns is None else now_ns // 1000
        if self.state == "running":
            if latency is not None or dropped:
                self.home.sample(self.place, now, <uint64_t>((latency or 0) * 1000000.0), dropped)
            self.home.leave(self.place, self.amount)
        elif self.state == "waiting":
            self.home.leave_queue(self.place)
        self.state = "released"

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.release()


def shares_size(uint64_t entries, uint64_t slots) -> int:
    """Bytes of the region ``shares`` for so many keys at once, twice, and a memory of so many slots."""
    cdef uint64_t sets = 2 * (((entries or 1) + SHARE_WAYS - 1) // SHARE_WAYS)
    return sizeof(Shares) + up(sets, LINE) + sets * set_size(stride_of(slots)) + SPARES * stride_of(slots)


def prepare_shares(Region region not None) -> None:
    """Makes the region of a new memory ready. To be called once, by its creator, before others use it."""
    cdef Shares* shares = <Shares*>region.open("shares", SHARES_LAYOUT, 0)
    cdef size_t size = region.size
    cdef uint64_t stride = stride_of(region.slots)
    if size == 0:
        return
    if size < sizeof(Shares) + LINE + 2 * set_size(stride) + SPARES * stride:
        raise ValueError(f"{size} bytes are too few for limits of concurrency over {region.slots} slots")
    if shares.magic == MAGIC:
        return
    size -= sizeof(Shares) + SPARES * stride
    shares.sets = size // (2 * (set_size(stride) + 1))
    while up(2 * shares.sets, LINE) + 2 * shares.sets * set_size(stride) > size:
        shares.sets -= 1
    shares.slots = region.slots
    shares.stride = stride
    prepare_stripes(shares.stripes)
    atomic_store_release(&shares.magic, MAGIC)


cdef Shares* shares_of(Region region) except NULL:
    cdef Shares* shares = <Shares*>region.open("shares", SHARES_LAYOUT, sizeof(Shares))
    if atomic_load_acquire(&shares.magic) != MAGIC:
        raise SegmentError("the region 'shares' was not prepared")
    return shares


def release_slot(Region region not None, int slot) -> None:
    """Gives back all that the worker of this slot held or waited for. To be called when its process is gone."""
    cdef Shares* shares
    cdef unsigned char* entry
    cdef uint64_t number
    cdef int way, spare
    if not 0 <= slot < region.slots:
        raise IndexError(f"slot {slot} of {region.slots}")
    if region.size == 0:
        return
    shares = shares_of(region)
    for number in range(2 * shares.sets):
        if touched(shares)[number]:
            for way in range(SHARE_WAYS):
                entry = <unsigned char*>(keys_of(shares, number) + SHARE_WAYS) + way * shares.stride
                atomic_store_release(&words_of(entry)[slot], 0)
    for spare in range(SPARES):
        if atomic_load_relaxed(&shares.spares[spare]) != 0:
            atomic_store_release(&words_of(spare_of(shares, spare))[slot], 0)


def merged(Region region not None) -> int:
    """How many requests were counted together with those of other keys, because there was no room for their own."""
    cdef Shares* shares
    cdef uint64_t total = 0
    cdef int number
    if region.size:
        shares = shares_of(region)
        for number in range(STRIPES):
            total += atomic_load_relaxed(&shares.stripes[number].lost)
    return total


cdef uint64_t find_spare(Shares* shares, uint64_t name) noexcept:
    """The number of the spare entry of the limit with this name; where there are too many, another one shares it."""
    cdef uint64_t number, taken
    cdef int step
    for step in range(PROBES):
        number = (name + step) % SPARES
        taken = 0
        if atomic_swap_if_equal(&shares.spares[number], &taken, name) or taken == name:
            return number
    return name % SPARES
