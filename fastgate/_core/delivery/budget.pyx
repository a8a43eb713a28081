"""Retry budget: retries are a share of first tries, for all workers together.

Theory of operation. A first try costs one plain addition to a word of the worker's own in shared memory; the words are
never zeroed, so their sum over the slots is the number of first tries ever. A retry looks at the sum, books what was
added since the last look, and takes a token:

    tokens    bits 0-33 the sum that was booked last, 34-63 thousandths of a token, less the START that it begins with
    recent    bits 0-33 a sum, 34-63 the time of it in tenths of a second: from 0 to SPAN ago, where somebody looks
    earlier   the same, from SPAN to twice SPAN ago

Balance and sum are one word, so that booking and taking are one compare-and-swap: no first try is booked twice or
forgotten, no token is given twice, and a process that dies has taken its token or has not. There is no lock. All
quantities are whole thousandths: 1000 first tries at 0.2 are 200 tokens to the last digit.

The budget holds at most what the first tries of SPAN seconds add, which is reckoned from the rate since `earlier`, as
if they had come evenly; never less than START. The two marks are turned at most once in SPAN, by one swap; one that
is missed because a process died is made up for by the next, and meanwhile the rate is that of a longer time.

Zeros in the row mean: not in use yet. The first look at such a row (making the object is one) books the sum without
deposits and starts with START, so that a budget which comes with a reload does not begin with the past.

Sums and times are kept modulo 2**34 and 2**30 (seventeen thousand million tries, three years), differences are taken
modulo the same; a longer silence costs deposits, never adds any. A sum smaller than the one booked is that of a
process that was overtaken: it books nothing. START + 2**29 thousandths, half a million tokens, is the most.

Cost: a load for each slot, and one compare-and-swap; only for a request that is to be tried again.
"""

from libc.stdint cimport int64_t, uint64_t

from fastgate._core.memory.store cimport Budget
from fastgate._core.memory.target_row cimport (
    State,
    atomic_load_acquire,
    atomic_load_relaxed,
    atomic_store_release,
    atomic_swap_if_equal,
)
from fastgate._core.memory.targets cimport TargetRows

cdef extern from "memory/atomics.h" nogil:
    uint64_t monotonic_ms()

cdef enum:
    TOKEN = 1000
    START = 3000                    # what there is at first, and the least that is held
    SPAN = 100                      # tenths of a second
    SUM_BITS = 34
    TIME_MASK = 1073741823          # 30 bits
    MOST = 536870911                # tokens beyond START

cdef uint64_t SUM_MASK = (<uint64_t>1 << SUM_BITS) - 1


cdef inline uint64_t mark_of(uint64_t now, uint64_t tries) noexcept:
    """A time and a sum in one word, which is not 0."""
    cdef uint64_t time = now // 100 & TIME_MASK
    return (time if time else 1) << SUM_BITS | tries


cdef inline uint64_t tenths_since(uint64_t mark, uint64_t now) noexcept:
    """Tenths of a second between a mark and a time; 0 when the mark is ahead."""
    cdef uint64_t passed = (now // 100 - (mark >> SUM_BITS)) & TIME_MASK
    return passed if passed <= TIME_MASK >> 1 else 0


cdef inline uint64_t tries_since(uint64_t sum, uint64_t tries) noexcept:
    """First tries between two sums; 0 when the first one is ahead."""
    cdef uint64_t more = (tries - sum) & SUM_MASK
    return more if more <= SUM_MASK >> 1 else 0


# The balance in thousandths; bits 34-63 are a signed number.
cdef inline int64_t balance_of(uint64_t tokens) noexcept:
    return (<int64_t>tokens >> SUM_BITS) + START


cdef class RetryBudget(Budget):
    """How many retries an upstream may get from all workers together: a share ``budget`` of its first tries."""

    def __cinit__(self, TargetRows memory not None, str upstream not None, double budget=0.2, *, now=None):
        if not 0.0 <= budget <= 1000.0:
            raise ValueError("a retry budget must be a share of first tries, 0 to 1000")
        self.memory = memory
        self.name = upstream
        self.row = memory.row(f"{upstream}\0")
        self.state = <State*>memory.state(self.row)
        self.deposit = <uint64_t>(budget * TOKEN + 0.5)
        self.settle(monotonic_ms() if now is None else now)

    cdef uint64_t tries(self) noexcept:
        """First tries of all workers."""
        cdef int slot
        cdef uint64_t total = 0
        for slot in range(self.memory.slots):
            total += atomic_load_relaxed(self.memory.first_tries(self.row, slot))
        return total & SUM_MASK

    cdef bint spend(self, uint64_t now, int64_t amount) except -1:
        return self.look(now, amount * TOKEN)

    cdef int restore(self, uint64_t now, int64_t amount) except -1:
        self.look(now, -amount * TOKEN)
        return 0

    cpdef void settle(self, uint64_t now) noexcept:
        """Books the first tries so far."""
        self.look(now, 0)

    cdef bint look(self, uint64_t now, int64_t wanted) noexcept:
        """Books, and takes what is wanted where there is as much; less than nothing is put back."""
        cdef uint64_t found = atomic_load_acquire(&self.state.tokens)
        cdef uint64_t tries = self.tries()
        cdef uint64_t booked
        cdef int64_t balance
        cdef bint given
        if atomic_load_acquire(&self.state.recent) == 0:
            # Not in use yet. Each step is the same for whoever takes it, and what somebody else has done stays.
            booked = 0
            atomic_swap_if_equal(&self.state.tokens, &booked, tries)
            booked = 0
            atomic_swap_if_equal(&self.state.earlier, &booked, mark_of(now, tries))
            booked = 0
            atomic_swap_if_equal(&self.state.recent, &booked, mark_of(now, tries))
            found = atomic_load_acquire(&self.state.tokens)
        while True:
            booked = found & SUM_MASK
            balance = balance_of(found) + <int64_t>(tries_since(booked, tries) * self.deposit)
            if wanted < 0:
                balance -= wanted
            balance = min(balance, <int64_t>self.most(now, tries))
            given = wanted > 0 and balance >= wanted
            if given:
                balance -= wanted
            if tries_since(booked, tries):
                booked = tries
            if atomic_swap_if_equal(&self.state.tokens, &found, <uint64_t>(balance - START) << SUM_BITS | booked):
                break
        self.turn(now, booked)
        return given

    cdef void turn(self, uint64_t now, uint64_t tries) noexcept:
        """Moves the marks once in SPAN."""
        cdef uint64_t mark = atomic_load_acquire(&self.state.recent)
        cdef uint64_t former = mark
        if tenths_since(mark, now) >= SPAN:
            if atomic_swap_if_equal(&self.state.recent, &former, mark_of(now, tries)):
                atomic_store_release(&self.state.earlier, mark)

    cdef uint64_t most(self, uint64_t now, uint64_t tries) noexcept:
        """What is held at most: the deposits of SPAN, at the rate since the earlier mark."""
        cdef uint64_t mark = atomic_load_acquire(&self.state.earlier)
        cdef uint64_t passed = tenths_since(mark, now)
        cdef uint64_t deposits = tries_since(mark & SUM_MASK, tries) * self.deposit
        if passed > SPAN:
            deposits = <uint64_t>(<double>deposits * SPAN / passed)
        return min(max(deposits, <uint64_t>START), <uint64_t>(START + MOST))

    # For Python.

    def take(self, uint64_t now, int amount=1) -> bool:
        """Takes so many retries, if they are there."""
        return self.spend(now, amount)

    def give_back(self, uint64_t now, int amount=1) -> None:
        """So many retries were not made."""
        self.restore(now, amount)

    @property
    def first_tries(self) -> int:
        """The first tries of all workers so far, modulo 2**34."""
        return self.tries()

    @property
    def tokens(self) -> float:
        """The retries that may be taken, as of the last ``take()`` or ``settle()``."""
        return balance_of(atomic_load_acquire(&self.state.tokens)) / 1000.0

    def __repr__(self) -> str:
        return f"<RetryBudget of {self.name!r}: {self.tokens:.1f}>"
