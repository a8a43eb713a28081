# The table of token buckets and fixed windows: see the theory of operation in rate.pyx.

cdef enum:
    WAYS = 8                        # entries of a bucket: two cache lines, the first of which fills first
    TABLE_MAGIC = 0x7374696d696c    # "limits"
    FREE = 0                        # the kinds, in the low two bits of a key
    ARRIVAL = 1
    WINDOW = 2
    LOG = 3
    COUNT_BITS = 28
    COUNT_MASK = (1 << 28) - 1
    UNIT_NS = 16000000              # in which the end of a window is told
    SPREAD = 0x9e3779b97f4a7c15     # 2**64 divided by the golden ratio

cdef inline Entry* first_bucket(const EntryRoom* room, uint64_t key) noexcept:
    return room.entries + ((key >> 32) * room.buckets >> 32) * WAYS


cdef inline Entry* second_bucket(const EntryRoom* room, uint64_t key) noexcept:
    return room.entries + ((key * <uint64_t>SPREAD >> 32) * room.buckets >> 32) * WAYS


cdef inline Entry* find_entry(const EntryRoom* room, uint64_t key) noexcept:
    cdef Entry* one = first_bucket(room, key)
    cdef Entry* other = second_bucket(room, key)
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


cdef inline Entry* read_entry(const EntryRoom* room, uint64_t key, uint64_t* state) noexcept:
    """The entry of a key with a state that was this key's; NULL when there is none."""
    cdef Entry* entry
    while True:
        entry = find_entry(room, key)
        if entry == NULL:
            return NULL
        state[0] = atomic_load_acquire(&entry.state)
        if atomic_load_acquire(&entry.key) == key:
            return entry


cdef inline uint64_t expiry(uint64_t key, uint64_t state) noexcept:
    """When an entry says nothing more than its absence would: nanoseconds, rounded up. 0 = free."""
    if key & 3 == ARRIVAL:
        return state // UNITS + 1
    if key & 3 == WINDOW:
        return (state >> COUNT_BITS) * UNIT_NS
    return 0


cdef inline uint64_t used_of(uint64_t key, uint64_t state, uint64_t now_ns) noexcept:
    """How much of its allowance an entry has used, in the units of that."""
    if key & 3 == WINDOW:
        return state & COUNT_MASK
    return state - now_ns * UNITS if state > now_ns * UNITS else 0


cdef Entry* make_room(
    const EntryRoom* room, uint64_t key, uint64_t now_ns, Entry* found, int* cost
) noexcept:
    """The entry that a new key takes, what was read there, and what that costs."""
    cdef Entry* buckets[2]
    cdef Entry* places[2 * WAYS]
    cdef Entry* best = NULL
    cdef Entry* place
    cdef Entry[2 * WAYS] read
    cdef Candidates candidates
    cdef int side, way, free, chosen = 0, count = 0, most = 0
    cdef uint64_t used
    cdef double worth
    buckets[0] = first_bucket(room, key)
    buckets[1] = second_bucket(room, key)
    cost[0] = NOTHING
    for side in range(1 if buckets[0] == buckets[1] else 2):
        place = NULL
        free = 0
        for way in range(WAYS):
            places[count] = &buckets[side][way]
            read[count].key = atomic_load_acquire(&places[count].key)
            read[count].state = atomic_load_acquire(&places[count].state)
            candidates.expires[count] = expiry(read[count].key, read[count].state)
            if candidates.expires[count] == 0:
                free += 1
                if place == NULL:
                    place = places[count]
            elif candidates.expires[count] < candidates.expires[chosen]:
                chosen = count
            count += 1
        # Of two buckets with free entries the emptier one: so both choices stay open for longest.
        if free > most:
            most = free
            best = place
    if best != NULL:
        found.key = found.state = 0
        return best
    if candidates.expires[chosen] > now_ns:
        candidates.count = count
        for way in range(count):
            candidates.limits[way] = limit_of(read[way].key)
            used = used_of(read[way].key, read[way].state, now_ns)
            candidates.used[way] = share_of(&room.table.allowances[candidates.limits[way]], used)
        chosen = least_used(&candidates, key, &worth)
        used = used_of(read[chosen].key, read[chosen].state, now_ns)
        cost[0] = cost_of(&room.table.allowances[candidates.limits[chosen]], used)
    found[0] = read[chosen]
    return places[chosen]


cdef int enter(const EntryRoom* room, uint64_t key, uint64_t state, uint64_t now_ns) noexcept:
    """Enters a new key with its first state. Returns 0, and does nothing, when another process has just done so."""
    cdef Stripe* stripe = &room.table.stripes[(key >> 20) % STRIPES]
    cdef Entry* entry
    cdef Entry found
    cdef int cost, entered = 0
    shared_lock(stripe.lock)
    while find_entry(room, key) == NULL:
        entry = make_room(room, key, now_ns, &found, &cost)
        # Fails when the entry has changed since it was read: then something else may be the best one.
        if atomic_swap_pair_if_equal(&entry.key, found.key, found.state, key, state):
            count_loss(stripe, cost)
            entered = 1
            break
    shared_unlock(stripe.lock)
    return entered


cdef int prepare_table(unsigned char* region, size_t size) except -1:
    cdef Table* table = <Table*>region
    if size < sizeof(Table) + 2 * WAYS * sizeof(Entry):
        raise ValueError(f"{size} bytes are too few for a table of limits")
    if table.magic == TABLE_MAGIC:
        return 0
    table.buckets = min((size - sizeof(Table)) // (2 * WAYS * sizeof(Entry)), <uint64_t>1 << 32)
    table.wall = wall_offset_ns()
    prepare_stripes(table.stripes)
    atomic_store_release(&table.magic, TABLE_MAGIC)
    return 0


cdef EntryRoom entry_room(Region region, bint chosen) except *:
    """The half of the table that a limit counts in."""
    cdef EntryRoom room
    room.table = <Table*>region.open("limits", LIMITS_LAYOUT, sizeof(Table))
    if atomic_load_acquire(&room.table.magic) != TABLE_MAGIC:
        raise SegmentError("the region 'limits' was not prepared")
    room.buckets = room.table.buckets
    room.entries = <Entry*>(<unsigned char*>room.table + sizeof(Table))
    if chosen:
        room.entries += room.buckets * WAYS
    return room
