"""Rate limits: how many a key may have in a span of time, exact over all workers.

Theory of operation
-------------------
A limit is asked with a key (64 bits of a keyed hash over its name and, say, a client's address), an amount and the
time. What it knows lies in a region of shared memory, so that all processes count as one. Whoever dies at whatever
instruction leaves it usable and exact.

**Token bucket**, as GCRA (the generic cell rate algorithm of ATM): of each key only the theoretical arrival time is
kept, the time at which the bucket will be full again. A request is admitted when that lies at most ``(burst - 1) * per
/ rate`` ahead of now, and moves it on by ``per / rate`` from where it is, or from now if that is later. So over any
span at most ``burst + rate * span`` are admitted. An amount is as many steps at once. Times are in 1/16 ns: with the
lattice of gcra.h that is exact for every rate up to 1e9 a second, and no rounding adds up (whole microseconds are 33 %
off at 3e6 a second).

**Fixed window**: the end of the window, in units of 16 ms, and how many were admitted in it. Windows begin at
multiples of their length of the wall clock as it was when the region was prepared; that it is set later changes
nothing. A caller whose clock was read before a border that another has passed is counted behind it, where it now is.

**The table** of both. An entry is two words, 16 bytes: the key, and the state. The low 16 bits of a key say which limit
it belongs to, by a number, and of which kind that is. So it can be told from these alone when an entry expires, that
is, says nothing more than its absence would; and, with the allowance of the limit, which stands beside the table, how
much of it is used. A key has two buckets (of eight entries, two cache lines), so a check reads one line or a few that
are fetched at once. With buckets of one line it is no faster, and a table that is three quarters full forgets 0.7 % of
its keys, not 0.001 %.

* An update swaps both words with one 16-byte compare-and-swap: an entry that was given to another key in between
  fails it. A refusal only reads, state and then key again, so a flood of one key is answered from a shared line.
* A new key is entered under one of 64 locks, chosen by the key, after looking again: two processes cannot both enter
  it, which would double its burst. The entry itself is swapped in: other locks serve other keys of the bucket.
* Of the sixteen entries the new key takes a free one, else one that has expired (nothing is lost), else the one that
  is worth least.

**What is forgotten** where there is no room. A flood of new keys must not lift the limit of a key that has used up its
allowance. So

* keys that clients choose (fields, cookies, parameters of paths) have a table of their own: whatever they invent, it
  costs no address and no identity its count;
* an entry is worth the share of its allowance that is used: at its limit 1, after the first of 10,000 requests
  1/10,000, however long its `per` is. To push one out, a flood has to use as large a share with each of its own keys;
* that worth is halved for each other entry of the same limit among the sixteen (the new key is one of them). Otherwise
  a limit with a burst of 1, whose every new key is at its limit at once, would empty the table of all others; so it
  pushes out its own.

What a flood can win is thereby bounded. First it has to fill the table with keys that are at their limit, under the
same limit and before their allowances are given back. Then each request that it wins for some other key costs it the
allowances of a sixteenth as many keys as the table has entries (65,536 by default), and a key that is at its limit
already those of all. Under other limits it wins nothing, unless it has more than a few of them to use, or the key has
used less than about 1/10,000. What is too much for a table is counted: keys that were forgotten, and those among them
that were at their limit.

The alternative, where all sixteen are at their limits, is to refuse the new key, or to count it together with others.
That would make the bound absolute, and let a flood of 300 requests a second (as many in an hour as there are entries)
close a limit of one an hour to every client. The damage of forgetting is in proportion to the flood, and small beside
what the flood itself is admitted to.

**Sliding log**: the time stamps of the last ``rate`` admissions. Admissions of a key are numbered; number n is
admitted when number ``n - rate`` was at least ``per`` ago. A head for each key holds the next number; the stamps lie
in blocks of 32, each found by the hash of key and number // 32, so a key has as many as it needs, anywhere. Nothing
depends on ``rate`` but which stamp is looked at: it can change at any time.

* A key's turn is under the lock of its head's set; a block is written and changes hands under the lock of its own
  set, taken second. Stamps are read without it: the tag is read again, and only the holder of the key's lock makes
  its tags.
* The stamp is written first, then the number is raised, with one store: that is the commit. A process that is killed
  between the two leaves a stamp that no one counts and the next admission overwrites. There is nothing to repair.
* A recorded stamp is never before the last one, and what is compared is the caller's own time: a worker whose clock was
  read a little earlier than another's is held to the stricter side.
* Heads and blocks expire ``per`` after the last stamp in them and make room as the entries of the table do: heads
  among the sixteen, blocks among the eight of their set. A block is worth what its key's head is; a key never takes one
  of its own while there are others. How much a key has used is known as of its last admission.

**Amounts.** An amount is admitted as a whole or not at all; a request is an amount of one. One that is larger than the
whole limit is admitted alone, where nothing of the limit is used, and uses all of it: otherwise it would wait for ever.
Who does not know an amount in advance takes what he expects and corrects it when he knows (`correct`). What turns out
to be less is given back; what turns out to be more is used at once, also where the limit does not allow it, and
whoever comes next waits for it: a token bucket that is empty owes up to its ``overdraft``, a
window is full until it ends, a log until enough of it has left. A correction belongs to the time of the admission.

**Changed settings** apply to what is there. A state that only other settings can have written (an arrival time more
than ten seconds and the overdraft beyond what these allow, the end of a window that is too far off) is cut down to
these.

Cost: token bucket and fixed window, O(1), one or two cache lines, one swap when admitted. Sliding log: two locks, one
stamp read and one written for each of the amount, so it is for requests, not for tokens; how many remain is told by
where the oldest one was, O(log rate) stamps from there. A new key: one lock and the entries of both buckets; where one
of these has to go, their allowances too. The number of a limit is looked for when it is made.
"""

from fractions import Fraction

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.math cimport INFINITY
from libc.stdint cimport int64_t, uint16_t, uint64_t

from fastgate._core.memory.hashing cimport mix64, siphash, siphash_derive
from fastgate._core.memory.locks cimport STRIPES, Stripe, prepare_stripes, shared_lock, shared_unlock
from fastgate._core.memory.region cimport LIMITS_LAYOUT, LOGS_LAYOUT, Region, own_region
from fastgate._core.memory.store cimport RateCounter, Verdict

from fastgate._core.memory.region import SegmentError

cdef extern from "memory/atomics.h" nogil:
    uint64_t atomic_load_relaxed(const uint64_t* word)
    uint64_t atomic_load_acquire(const uint64_t* word)
    void atomic_store_relaxed(uint64_t* word, uint64_t value)
    void atomic_store_release(uint64_t* word, uint64_t value)
    int atomic_swap_if_equal(uint64_t* word, uint64_t* expected, uint64_t desired)
    int atomic_swap_pair_if_equal(
        uint64_t* pair, uint64_t first, uint64_t second, uint64_t new_first, uint64_t new_second
    )
    uint64_t monotonic_ns()
    uint64_t wall_offset_ns()
    void __builtin_prefetch(const void* address)

cdef extern from "limits/eviction.h" nogil:
    enum:
        EVICTION_MOST
    void eviction_fellows(const uint16_t* limits, uint16_t newcomer, uint16_t* count) noexcept

cdef extern from "limits/gcra.h" nogil:
    uint64_t gcra_step(uint64_t time, const GcraPace* pace)
    uint64_t gcra_advance(uint64_t time, uint64_t count, const GcraPace* pace, uint64_t most)
    uint64_t gcra_retreat(uint64_t time, uint64_t count, const GcraPace* pace)
    uint64_t gcra_steps(uint64_t span, const GcraPace* pace)

cdef enum:
    UNITS = 16                      # of an arrival time in a nanosecond
    LOOK_BACK = 1024                # how many later admissions correct() passes in a sliding log
    MOST_AT_ONCE = 2147483647       # of an amount

_DAY = 86400
_NS = 1_000_000_000


include "rate_room.pxi"
include "rate_table.pxi"
include "rate_log.pxi"


cdef inline int64_t milliseconds(uint64_t ns) noexcept:
    return <int64_t>((ns + 999999) // 1000000)


cdef class Limit(RateCounter):
    """What the three kinds of limit have in common. Made by its subclasses only."""

    def __init__(self):
        raise TypeError("use TokenBucket, FixedWindow or SlidingWindowLog")

    cdef int settle(self, Region region, rate, per, str name, bint chosen) except -1:
        """What every kind has, checked."""
        cdef bytes label = name.encode("utf-8", "surrogateescape")
        if rate != int(rate) or not 1 <= rate < 1 << 31:
            raise ValueError(f"rate must be a whole number from 1 to {(1 << 31) - 1}, not {rate!r}")
        if not 0 < per <= 366 * _DAY:
            raise ValueError(f"per must be more than 0 s and at most 366 days in seconds, not {per!r}")
        self.region = region
        self.chosen = chosen
        self.rate = int(rate)
        self.per_ns = round(Fraction(per) * _NS)
        if <uint64_t>self.rate > self.per_ns:
            raise ValueError("rate must be at most one request per nanosecond")
        siphash_derive(self.secret, region.secret, PyBytes_AS_STRING(label), PyBytes_GET_SIZE(label))
        return 0

    cdef int number(self, Allowance* allowances, int kind) except -1:
        """Finds the limit's number: that of its name and kind."""
        cdef uint64_t number = enroll(allowances, mix64((<uint64_t*>self.secret)[0] + kind) | 1)
        self.allowance = &allowances[number]
        self.mark = number << 2 | kind
        return 0

    cdef uint64_t key_of(self, const void* text, size_t length) noexcept:
        return siphash(self.secret, text, length)

    cdef int foresee(self, uint64_t key, int64_t amount, uint64_t now_ns, Verdict* verdict) noexcept:
        return 0

    @property
    def per(self):
        """The span of time that ``rate`` refers to, in seconds."""
        return self.per_ns / _NS

    def take(self, key, amount=1, *, now_ns=None):
        """Takes an amount for this key, if the limit admits it."""
        return self.decide(key, amount, now_ns, True)

    def peek(self, key, amount=1, *, now_ns=None):
        """What take() would say, taking nothing: ``remaining`` still contains what would be taken."""
        return self.decide(key, amount, now_ns, False)

    def put_back(self, key, amount=1, *, now_ns=None) -> None:
        """Undoes an admission of take() at this time."""
        self.adjust(key, amount, 0, taken_ns=now_ns, now_ns=now_ns)

    def adjust(self, key, taken, actual, *, taken_ns=None, now_ns=None) -> None:
        """What take() admitted at a time turned out to be another amount."""
        cdef bytes text = text_of(key)
        cdef uint64_t now = time_of(now_ns)
        self.correct(
            self.key_of(PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text)), amount_of(taken),
            amount_of(actual) if actual != 0 else 0, now if taken_ns is None else time_of(taken_ns), now,
        )

    cdef Decision decide(self, key, amount, now_ns, bint taking):
        cdef Decision decision = Decision.__new__(Decision)
        cdef bytes text = text_of(key)
        cdef uint64_t now = time_of(now_ns)
        cdef uint64_t hashed = self.key_of(PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))
        cdef Verdict verdict
        if taking:
            self.check(hashed, amount_of(amount), now, &verdict)
        else:
            self.foresee(hashed, amount_of(amount), now, &verdict)
        decision.admitted = verdict.admitted
        decision.remaining = verdict.remaining
        decision.reset = verdict.reset_ms / 1000.0
        decision.retry_after = verdict.retry_ms / 1000.0
        return decision


cdef bytes text_of(key):
    return key if type(key) is bytes else (<str?>key).encode("utf-8", "surrogateescape")


cdef int64_t amount_of(amount) except -1:
    if amount != int(amount) or not 1 <= amount <= MOST_AT_ONCE:
        raise ValueError(f"an amount is a whole number from 1 to {MOST_AT_ONCE}, not {amount!r}")
    return int(amount)


cdef uint64_t time_of(now_ns) except? 0:
    if now_ns is None:
        return monotonic_ns()
    if not 0 <= now_ns < 1 << 58:
        raise ValueError("now_ns must be a time of CLOCK_MONOTONIC in nanoseconds")
    return now_ns


cdef class TokenBucket(Limit):
    """``burst`` at one instant from idle, then one every ``per / rate`` seconds."""

    def __init__(
        self, rate, per=1.0, burst=None, *, overdraft=0, Region region=None, entries=65536, str name not None="",
        chosen=False
    ):
        self.settle(_own_table(entries) if region is None else region, rate, per, name, chosen)
        if burst is None:
            burst = rate
        if burst != int(burst) or not 1 <= burst < 1 << 31:
            raise ValueError(f"burst must be a whole number from 1 to {(1 << 31) - 1}, not {burst!r}")
        if overdraft != int(overdraft) or not 0 <= overdraft < 1 << 31:
            raise ValueError(f"overdraft must be a whole number from 0 to {(1 << 31) - 1}, not {overdraft!r}")
        if (burst + overdraft) * self.per_ns > self.rate * 3660 * _DAY * _NS:
            raise ValueError("burst and overdraft must fill within ten years at this rate")
        self.burst = int(burst)
        self.room = entry_room(self.region, chosen)
        self.number(self.room.table.allowances, ARRIVAL)
        self.pace.per = self.per_ns * UNITS
        self.pace.rate = self.rate
        self.pace.whole = self.pace.per // self.pace.rate
        self.pace.rest = self.pace.per % self.pace.rate
        # The sum of several steps may be two units off where a step is no whole number of them.
        self.slack = 2 if self.pace.rest else 0
        self.tolerance = (self.burst - 1) * int(self.pace.per) // self.rate + self.slack
        self.depth = (self.burst + int(overdraft)) * int(self.pace.per) // self.rate + self.slack
        self.foreign = self.depth - self.tolerance + 10 * _NS * UNITS

    cdef inline uint64_t ahead(self, int64_t amount) noexcept:
        """How far ahead of now the arrival time may lie where this amount is admitted."""
        if amount == 1:
            return self.tolerance
        if amount >= self.burst:
            return self.slack
        return gcra_advance(0, self.burst - amount, &self.pace, self.tolerance) + self.slack

    cdef inline uint64_t moved(self, uint64_t since, int64_t amount, uint64_t now) noexcept:
        """The arrival time after an amount: moved on by as many steps, until all is used and owed that may be."""
        return max(min(since + gcra_advance(since, amount, &self.pace, self.depth), now + self.depth), since)

    cdef int check(self, uint64_t key, int64_t amount, uint64_t now_ns, Verdict* verdict) noexcept:
        cdef uint64_t word = (key & ~<uint64_t>MARK_MASK) | self.mark
        cdef uint64_t now = now_ns * UNITS
        cdef uint64_t bound = now + self.tolerance
        cdef uint64_t found, before, after
        cdef Entry* entry
        while True:
            entry = read_entry(&self.room, word, &found)
            if entry == NULL:
                after = now + gcra_step(now, &self.pace) if amount == 1 else self.moved(now, amount, now)
                allow(self.allowance, self.tolerance + self.pace.whole, self.tolerance)
                if enter(&self.room, word, after, now_ns):
                    break
                continue
            if found > bound + self.foreign:
                # Written under other settings: under these the bucket is empty.
                atomic_swap_pair_if_equal(&entry.key, word, found, word, bound + gcra_step(bound, &self.pace))
                continue
            if found > (bound if amount == 1 else now + self.ahead(amount)):
                self.tell(found, now, amount, 0, verdict)
                return 0
            before = max(found, now)
            after = before + gcra_step(before, &self.pace) if amount == 1 else self.moved(before, amount, now)
            if atomic_swap_pair_if_equal(&entry.key, word, found, word, after):
                break
        self.tell(after, now, amount, 1, verdict)
        return 1

    cdef int foresee(self, uint64_t key, int64_t amount, uint64_t now_ns, Verdict* verdict) noexcept:
        cdef uint64_t now = now_ns * UNITS
        cdef uint64_t bound = now + self.tolerance
        cdef uint64_t found = 0
        read_entry(&self.room, (key & ~<uint64_t>MARK_MASK) | self.mark, &found)
        if found > bound + self.foreign:
            found = bound + gcra_step(bound, &self.pace)
        self.tell(found, now, amount, found <= now + self.ahead(amount), verdict)
        return verdict.admitted

    cdef void correct(self, uint64_t key, int64_t taken, int64_t actual, uint64_t taken_ns, uint64_t now_ns) noexcept:
        cdef uint64_t word = (key & ~<uint64_t>MARK_MASK) | self.mark
        cdef uint64_t now = now_ns * UNITS
        cdef uint64_t found = 0, after
        cdef Entry* entry
        while actual != taken:
            entry = read_entry(&self.room, word, &found)
            if entry == NULL:
                # The bucket is full, or forgotten.
                if actual < taken or enter(&self.room, word, self.moved(now, actual - taken, now), now_ns):
                    return
                continue
            if actual < taken:
                after = found - gcra_retreat(found, taken - actual, &self.pace)
            else:
                after = self.moved(max(found, now), actual - taken, now)
            if atomic_swap_pair_if_equal(&entry.key, word, found, word, after):
                return

    cdef inline void tell(
        self, uint64_t arrival, uint64_t now, int64_t amount, int admitted, Verdict* verdict
    ) noexcept:
        cdef uint64_t bound = now + self.tolerance
        verdict.admitted = admitted
        verdict.reset_ms = milliseconds((arrival - now + UNITS - 1) // UNITS) if arrival > now else 0
        verdict.retry_ms = 0
        verdict.remaining = 0
        if arrival <= bound:
            verdict.remaining = min(
                self.burst, <int64_t>gcra_steps(bound - max(arrival, now), &self.pace) + 1
            )
        if not admitted:
            verdict.retry_ms = milliseconds((arrival - now - self.ahead(amount) + UNITS - 1) // UNITS)


cdef class FixedWindow(Limit):
    """At most ``rate`` in each window of ``per`` seconds; windows follow one another without a gap."""

    def __init__(
        self, rate, per=1.0, *, Region region=None, entries=65536, str name not None="", chosen=False
    ):
        self.settle(_own_table(entries) if region is None else region, rate, per, name, chosen)
        if self.per_ns < 50000000:
            raise ValueError("per must be at least 0.05 s for a fixed window")
        if self.rate > COUNT_MASK:
            raise ValueError(f"rate must be at most {COUNT_MASK} for a fixed window")
        self.room = entry_room(self.region, chosen)
        self.number(self.room.table.allowances, WINDOW)
        self.units = (self.per_ns + UNIT_NS - 1) // UNIT_NS

    cdef uint64_t current(self, uint64_t found, uint64_t now_ns, uint64_t* end_ns) noexcept:
        """What was found as it counts now: end of the window, in units, and count. The end is also told exactly."""
        cdef uint64_t ours, theirs = found >> COUNT_BITS
        end_ns[0] = ((now_ns + self.room.table.wall) // self.per_ns + 1) * self.per_ns - self.room.table.wall
        ours = (end_ns[0] + UNIT_NS - 1) // UNIT_NS
        if theirs == ours:
            return found
        if theirs > ours and theirs - ours <= self.units:
            # A worker whose clock was read later has begun the next window: there is no way back.
            end_ns[0] += self.per_ns
            return found
        if theirs < ours and (found == 0 or (theirs - 1) * UNIT_NS < now_ns):
            return ours << COUNT_BITS
        # A window of another length that has not ended: `per` was changed. What it counted goes on.
        return ours << COUNT_BITS | (found & COUNT_MASK)

    cdef int check(self, uint64_t key, int64_t amount, uint64_t now_ns, Verdict* verdict) noexcept:
        cdef uint64_t word = (key & ~<uint64_t>MARK_MASK) | self.mark
        cdef uint64_t found, state, count, end_ns = 0
        cdef Entry* entry
        while True:
            entry = read_entry(&self.room, word, &found)
            if entry == NULL:
                state = self.current(0, now_ns, &end_ns)
                count = min(<uint64_t>amount, <uint64_t>COUNT_MASK)
                allow(self.allowance, self.rate, self.rate - 1)
                if enter(&self.room, word, state + count, now_ns):
                    break
                continue
            state = self.current(found, now_ns, &end_ns)
            count = state & COUNT_MASK
            if count + <uint64_t>amount > <uint64_t>self.rate and count != 0:
                self.tell(count, end_ns - now_ns, 0, verdict)
                return 0
            count = min(count + <uint64_t>amount, <uint64_t>COUNT_MASK)
            if atomic_swap_pair_if_equal(&entry.key, word, found, word, (state & ~<uint64_t>COUNT_MASK) | count):
                break
        self.tell(count, end_ns - now_ns, 1, verdict)
        return 1

    cdef int foresee(self, uint64_t key, int64_t amount, uint64_t now_ns, Verdict* verdict) noexcept:
        cdef uint64_t found = 0, end_ns = 0, count
        if read_entry(&self.room, (key & ~<uint64_t>MARK_MASK) | self.mark, &found) == NULL:
            found = 0
        count = self.current(found, now_ns, &end_ns) & COUNT_MASK
        self.tell(count, end_ns - now_ns, count == 0 or count + <uint64_t>amount <= <uint64_t>self.rate, verdict)
        return verdict.admitted

    cdef void correct(self, uint64_t key, int64_t taken, int64_t actual, uint64_t taken_ns, uint64_t now_ns) noexcept:
        cdef uint64_t word = (key & ~<uint64_t>MARK_MASK) | self.mark
        cdef uint64_t found, end_ns = 0
        cdef uint64_t window = self.current(0, taken_ns, &end_ns)
        cdef int64_t count
        cdef Entry* entry
        # Nothing to correct once a later window has begun.
        while actual != taken and now_ns < end_ns:
            entry = read_entry(&self.room, word, &found)
            if entry == NULL:
                # Forgotten: there was no room for all keys.
                count = min(actual - taken, <int64_t>COUNT_MASK)
                if actual < taken or enter(&self.room, word, window + <uint64_t>count, now_ns):
                    return
                continue
            if found >> COUNT_BITS != window >> COUNT_BITS:
                return
            count = min(max(<int64_t>(found & COUNT_MASK) + actual - taken, <int64_t>0), <int64_t>COUNT_MASK)
            if atomic_swap_pair_if_equal(&entry.key, word, found, word, window + <uint64_t>count):
                return

    cdef inline void tell(self, uint64_t count, uint64_t wait_ns, int admitted, Verdict* verdict) noexcept:
        verdict.admitted = admitted
        verdict.remaining = max(self.rate - <int64_t>count, 0)
        verdict.reset_ms = milliseconds(wait_ns)
        verdict.retry_ms = 0 if admitted else verdict.reset_ms


cdef class SlidingWindowLog(Limit):
    """At most ``rate`` in any span of ``per`` seconds, wherever it begins."""

    def __init__(
        self, rate, per=1.0, *, Region region=None, stamps=65536, str name not None="", chosen=False
    ):
        self.settle(_own_logs(stamps) if region is None else region, rate, per, name, chosen)
        self.room = log_room(self.region, chosen)
        self.number(self.room.logs.allowances, LOG)

    cdef int check(self, uint64_t key, int64_t amount, uint64_t now_ns, Verdict* verdict) noexcept:
        return self.look(key, amount, now_ns, True, verdict)

    cdef int foresee(self, uint64_t key, int64_t amount, uint64_t now_ns, Verdict* verdict) noexcept:
        return self.look(key, amount, now_ns, False, verdict)

    cdef int look(self, uint64_t key, int64_t amount, uint64_t now_ns, bint taking, Verdict* verdict) noexcept:
        cdef uint64_t rate = self.rate, count = 0, stamp = 0, low
        # More than the whole limit at one time leaves it together: it is no more than all of it.
        cdef uint64_t wanted = min(<uint64_t>amount, rate)
        cdef LogRoom* room = &self.room
        cdef Head* head
        cdef Stripe* stripe
        cdef Bookmark mark
        key = (key & ~<uint64_t>MARK_MASK) | self.mark
        mark.tag = 0
        stripe = head_stripe(room, key)
        verdict.admitted = 1
        verdict.retry_ms = 0
        shared_lock(stripe.lock)
        head = find_head(heads_of(room, key), key)
        if head != NULL:
            count = head.count
        if count + wanted > rate:
            stamp = read_stamp(room, key, count + wanted - rate - 1, &mark)
            if stamp != 0 and now_ns < stamp + self.per_ns:
                verdict.admitted = 0
                verdict.retry_ms = milliseconds(stamp + self.per_ns - now_ns)
        if taking and verdict.admitted:
            head = self.append(head, key, count, wanted, now_ns, stripe, &mark)
            count += wanted
        low = count - rate if count > rate else 0
        # One that is refused alone says that all of the limit is used.
        if head != NULL and (verdict.admitted or wanted > 1):
            low = max(low, min(head.oldest, count))
            if now_ns >= head.last + self.per_ns:
                low = count
            elif now_ns >= self.per_ns:
                low = oldest_inside(room, key, low, count, now_ns - self.per_ns, &mark)
            head.oldest = low
        stamp = read_stamp(room, key, low, &mark) if low < count else 0
        shared_unlock(stripe.lock)
        verdict.remaining = max(self.rate - <int64_t>(count - low), 0)
        verdict.reset_ms = milliseconds(stamp + self.per_ns - now_ns) if stamp + self.per_ns > now_ns and stamp else 0
        return verdict.admitted

    cdef Head* append(
        self, Head* head, uint64_t key, uint64_t count, uint64_t amount, uint64_t now_ns, Stripe* stripe,
        Bookmark* mark
    ) noexcept:
        """So many stamps of one time behind ``count`` that are there. The head, which is claimed where there is none.
        Under the lock.
        """
        cdef uint64_t stamp, number
        if head == NULL:
            allow(self.allowance, self.rate, self.rate - 1)
            head = claim_head(&self.room, key, now_ns, stripe)
        stamp = max(max(now_ns, head.last), <uint64_t>1)
        for number in range(count, count + amount):
            write_stamp(&self.room, key, number, stamp, stamp + self.per_ns, now_ns, mark)
        head.last = stamp
        head.expires = max(head.expires, stamp + self.per_ns)
        atomic_store_release(&head.count, count + amount)
        return head

    cdef void correct(self, uint64_t key, int64_t taken, int64_t actual, uint64_t taken_ns, uint64_t now_ns) noexcept:
        cdef int64_t more = min(actual, self.rate) - min(taken, self.rate)
        cdef uint64_t count = 0, stamp, at, less
        cdef LogRoom* room = &self.room
        cdef Head* head
        cdef Stripe* stripe
        cdef Bookmark mark
        if more == 0 or now_ns >= taken_ns + self.per_ns:
            return
        key = (key & ~<uint64_t>MARK_MASK) | self.mark
        mark.tag = 0
        stripe = head_stripe(room, key)
        shared_lock(stripe.lock)
        head = find_head(heads_of(room, key), key)
        if head != NULL:
            count = head.count
        if more > 0:
            self.append(head, key, count, more, taken_ns, stripe, &mark)
        elif count != 0:
            less = min(<uint64_t>-more, count)
            # Admissions of other workers may have come after those that are undone: they move down. A death on the
            # way leaves some stamps twice, which are too many for a while, never too few.
            at = count - less
            while at > 0 and count - less - at < LOOK_BACK and read_stamp(room, key, at - 1, &mark) >= taken_ns:
                at -= 1
            # Where more was used than is allowed, older ones than this count again; the next look finds out.
            head.oldest = count - less - self.rate if count - less > <uint64_t>self.rate else 0
            while at + less < count:
                stamp = read_stamp(room, key, at + less, &mark)
                write_stamp(room, key, at, stamp, stamp + self.per_ns, now_ns, &mark)
                at += 1
            atomic_store_release(&head.count, count - less)
        shared_unlock(stripe.lock)


cdef class Decision:
    """What a limit said. True when it admitted."""

    def __bool__(self):
        return self.admitted

    def __repr__(self):
        return (
            f"<Decision {'admitted' if self.admitted else 'refused'} remaining={self.remaining}"
            f" reset={self.reset} retry_after={self.retry_after}>"
        )


def limits_size(uint64_t entries) -> int:
    """Bytes of the region ``limits``: so many keys of token buckets and fixed windows, twice (see `prepare`)."""
    return sizeof(Table) + 2 * (((entries or 1) + WAYS - 1) // WAYS * WAYS * sizeof(Entry))


def logs_size(uint64_t stamps) -> int:
    """Bytes of the region ``logs``: so many time stamps of sliding logs, twice."""
    cdef uint64_t sets = ((stamps or 1) + BLOCK_WAYS * STAMPS - 1) // (BLOCK_WAYS * STAMPS)
    return sizeof(Logs) + 2 * sets * (sizeof(HeadSet) + sizeof(BlockSet))


def prepare(Region region not None) -> None:
    """Makes the region ``limits`` or ``logs`` of a new memory ready. To be called once, by its creator."""
    if region.size == 0:
        return
    if region.name == "logs":
        prepare_logs(region.open("logs", LOGS_LAYOUT, 0), region.size)
    else:
        prepare_table(region.open("limits", LIMITS_LAYOUT, 0), region.size)


def evictions(Region region not None) -> int:
    """How many keys were forgotten before their time for want of room."""
    return losses(region)[0]


def lifted(Region region not None) -> int:
    """How many of them were at their limit."""
    return losses(region)[1]


cdef tuple losses(Region region):
    cdef uint64_t lost = 0, lifted = 0
    cdef unsigned char* base
    if region.size == 0:
        return 0, 0
    if region.name == "logs":
        base = region.open("logs", LOGS_LAYOUT, sizeof(Logs))
        add_losses((<Logs*>base).heads, &lost, &lifted)
        add_losses((<Logs*>base).blocks, &lost, &lifted)
    else:
        base = region.open("limits", LIMITS_LAYOUT, sizeof(Table))
        add_losses((<Table*>base).stripes, &lost, &lifted)
    return lost, lifted


cdef void add_losses(const Stripe* stripes, uint64_t* lost, uint64_t* lifted) noexcept:
    cdef int number
    for number in range(STRIPES):
        lost[0] += atomic_load_relaxed(&stripes[number].lost)
        lifted[0] += atomic_load_relaxed(&stripes[number].lifted)


cdef Region _own_table(entries):
    region = own_region("limits", LIMITS_LAYOUT, limits_size(entries))
    prepare(region)
    return region


cdef Region _own_logs(stamps):
    region = own_region("logs", LOGS_LAYOUT, logs_size(stamps))
    prepare(region)
    return region
