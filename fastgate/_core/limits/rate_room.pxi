# Which key is forgotten where there is no room for a new one: see the theory of operation in rate.pyx.

cdef enum:
    MARK_BITS = 16                  # of a key: the number of its limit, and the kind
    MARK_MASK = 65535
    PROBES = 32                     # places in which the allowance of a limit may lie

# What it costs to forget a key.
cdef enum:
    NOTHING
    FORGOTTEN                       # it still counted for something
    LIFTED                          # it was at its limit

# Entries that are all alive, one of which has to go.
cdef struct Candidates:
    int count                       # at most EVICTION_MOST
    uint16_t limits[EVICTION_MOST]  # their numbers
    double used[EVICTION_MOST]      # shares of their allowances
    uint64_t expires[EVICTION_MOST]


cdef double[EVICTION_MOST + 2] HALVES       # 2 ** -n
for _n in range(EVICTION_MOST + 2):
    HALVES[_n] = 0.5 ** _n


cdef uint64_t enroll(Allowance* allowances, uint64_t name) noexcept:
    """The number of the limit with this name, in every process the same."""
    cdef uint64_t number, taken
    cdef int step
    for step in range(PROBES):
        number = (name + step) % ALLOWANCES
        taken = 0
        if atomic_swap_if_equal(&allowances[number].limit, &taken, name) or taken == name:
            return number
    # Too many limits: this one shares the number of another.
    return name % ALLOWANCES


cdef inline void allow(Allowance* allowance, uint64_t whole, uint64_t admits) noexcept:
    """Says how large the allowance is by which the entries of a limit are weighed."""
    if atomic_load_relaxed(&allowance.whole) != whole or atomic_load_relaxed(&allowance.admits) != admits:
        atomic_store_relaxed(&allowance.whole, whole)
        atomic_store_relaxed(&allowance.admits, admits)


cdef inline double share_of(Allowance* allowance, uint64_t used) noexcept:
    cdef uint64_t whole = atomic_load_relaxed(&allowance.whole)
    return 1.0 if used >= whole else <double><int64_t>used / <double><int64_t>whole


cdef inline int cost_of(Allowance* allowance, uint64_t used) noexcept:
    """What it costs to forget a key that has used so much."""
    return LIFTED if used > atomic_load_relaxed(&allowance.admits) else FORGOTTEN


cdef inline void count_loss(Stripe* stripe, int cost) noexcept:
    """Under the lock."""
    if cost != NOTHING:
        atomic_store_relaxed(&stripe.lost, stripe.lost + 1)
    if cost == LIFTED:
        atomic_store_relaxed(&stripe.lifted, stripe.lifted + 1)


cdef inline uint16_t limit_of(uint64_t key) noexcept:
    return <uint16_t>((key & MARK_MASK) >> 2)


cdef int least_used(Candidates* found, uint64_t key, double* worth) noexcept:
    """Of several entries the one that makes room for this key, and what it is worth.

    That is the share of its allowance that is used, halved for each other entry of the same limit, the new one among
    them. Of equals the one that expires first; of equals in that too, one by chance.
    """
    cdef uint16_t[EVICTION_MOST] count
    cdef double each
    cdef int turn, index, best = -1
    cdef int begin = <int>((key >> MARK_BITS) % <uint64_t>found.count)
    for index in range(found.count, EVICTION_MOST):
        found.limits[index] = ALLOWANCES
    eviction_fellows(found.limits, limit_of(key), count)
    worth[0] = 0
    for turn in range(found.count):
        index = begin + turn if begin + turn < found.count else begin + turn - found.count
        each = found.used[index] * HALVES[count[index]]
        if best < 0 or each < worth[0] or (each == worth[0] and found.expires[index] < found.expires[best]):
            best = index
            worth[0] = each
    return best
