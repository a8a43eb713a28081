# The table of token buckets and fixed windows: see the theory of operation in limiter.pyx.

cdef enum:
    WAYS = 8                        # entries of a bucket: two cache lines, the first of which fills first
    TABLE_MAGIC = 0x7374696d696c    # "limits"
    FREE = 0                        # the kinds, in the low two bits of an entry's key
    ARRIVAL = 1
    WINDOW = 2
    COUNT_BITS = 28
    COUNT_MASK = (1 << 28) - 1
    UNIT_NS = 16000000              # in which the end of a window is told


cdef inline Entry* first_bucket(Table* table, uint64_t key) noexcept:
    cdef uint64_t number = ((key >> 32) * table.buckets) >> 32
    return <Entry*>(<unsigned char*>table + sizeof(Table)) + number * WAYS


cdef inline Entry* second_bucket(Table* table, uint64_t key) noexcept:
    cdef uint64_t number = (((key >> 2) & 0x3fffffff) * table.buckets) >> 30
    return <Entry*>(<unsigned char*>table + sizeof(Table)) + number * WAYS


cdef inline Entry* find_entry(Table* table, uint64_t key) noexcept:
    cdef Entry* one = first_bucket(table, key)
    cdef Entry* other = second_bucket(table, key)
    cdef int way
    # The first lines of both come at once, where the processor has to fetch them.
    __builtin_prefetch(other)
    for way in range(WAYS):
        if atomic_load_acquire(&one[way].key) == key:
            return &one[way]
    for way in range(WAYS):
        if atomic_load_acquire(&other[way].key) == key:
            return &other[way]
    return NULL


cdef inline Entry* read_entry(Table* table, uint64_t key, uint64_t* state) noexcept:
    """The entry of a key with a state that was this key's; NULL when there is none."""
    cdef Entry* entry
    while True:
        entry = find_entry(table, key)
        if entry == NULL:
            return NULL
        state[0] = atomic_load_acquire(&entry.state)
        if atomic_load_acquire(&entry.key) == key:
            return entry


cdef inline uint64_t expiry(uint64_t key, uint64_t state) noexcept:
    """When an entry says nothing more than its absence would: nanoseconds, rounded up. 0 = free."""
    if key & 3 == ARRIVAL:
        return (state >> 4) + 1
    if key & 3 == WINDOW:
        return (state >> COUNT_BITS) * UNIT_NS
    return 0


cdef Entry* make_room(Table* table, uint64_t key, Entry* found) noexcept:
    """The entry that a new key takes, and what was read there: of sixteen the one that expires first."""
    cdef Entry* bucket = first_bucket(table, key)
    cdef Entry* best = NULL
    cdef Entry* place
    cdef Entry entry
    cdef uint64_t soonest = 0, expires
    cdef int way, free, most = 0
    for _ in range(2):
        place = NULL
        free = 0
        for way in range(WAYS):
            entry.key = atomic_load_acquire(&bucket[way].key)
            entry.state = atomic_load_acquire(&bucket[way].state)
            expires = expiry(entry.key, entry.state)
            if expires == 0:
                free += 1
                if place == NULL:
                    place = &bucket[way]
            elif best == NULL or expires < soonest:
                best = &bucket[way]
                soonest = expires
                found[0] = entry
        # Of two buckets with free entries the emptier one: so both choices stay open for longest.
        if free > most:
            most = free
            best = place
            soonest = 0
            found.key = found.state = 0
        bucket = second_bucket(table, key)
    return best


cdef int enter(Table* table, uint64_t key, uint64_t state, uint64_t now_ns) noexcept:
    """Enters a new key with its first state. Returns 0, and does nothing, when another process has just done so."""
    cdef Stripe* stripe = &table.stripes[(key >> 20) % STRIPES]
    cdef Entry* entry
    cdef Entry found
    cdef int entered = 0
    shared_lock(stripe.lock)
    while find_entry(table, key) == NULL:
        entry = make_room(table, key, &found)
        # Fails when the entry has changed since it was read: then something else may be the best one.
        if atomic_swap_pair_if_equal(&entry.key, found.key, found.state, key, state):
            if expiry(found.key, found.state) > now_ns:
                atomic_store_relaxed(&stripe.lost, stripe.lost + 1)
            entered = 1
            break
    shared_unlock(stripe.lock)
    return entered


cdef int prepare_table(unsigned char* region, size_t size) except -1:
    cdef Table* table = <Table*>region
    if size < sizeof(Table) + WAYS * sizeof(Entry):
        raise ValueError(f"{size} bytes are too few for a table of limits")
    if table.magic == TABLE_MAGIC:
        return 0
    table.buckets = min((size - sizeof(Table)) // (WAYS * sizeof(Entry)), <uint64_t>1 << 30)
    table.wall = wall_offset_ns()
    prepare_stripes(table.stripes)
    atomic_store_release(&table.magic, TABLE_MAGIC)
    return 0


cdef Table* table_of(Segment segment) except NULL:
    cdef Table* table = <Table*>segment.region(REGION_LIMITS)
    if segment.region_size(REGION_LIMITS) < sizeof(Table) or atomic_load_acquire(&table.magic) != TABLE_MAGIC:
        raise SegmentError("the segment was not prepared for rate limits")
    return table
