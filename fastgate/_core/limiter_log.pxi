# The sliding logs: see the theory of operation in limiter.pyx.

cdef enum:
    LOGS_MAGIC = 0x73676f6c         # "logs"

# Where one block was found last, so that its neighbours need no second search.
cdef struct Bookmark:
    uint64_t tag                    # 0 = nowhere
    BlockSet* set
    int way


cdef inline HeadSet* head_sets(Logs* logs) noexcept:
    return <HeadSet*>(<unsigned char*>logs + sizeof(Logs))


cdef inline BlockSet* block_sets(Logs* logs) noexcept:
    return <BlockSet*>(<unsigned char*>(head_sets(logs) + logs.sets))


cdef inline uint64_t set_number(Logs* logs, uint64_t key) noexcept:
    return ((key >> 32) * logs.sets) >> 32


cdef Head* find_head(HeadSet* heads, uint64_t key) noexcept:
    cdef int way
    for way in range(HEAD_WAYS):
        if heads.keys[way] == key:
            return &heads.heads[way]
    return NULL


cdef Head* claim_head(HeadSet* heads, uint64_t key, uint64_t now_ns, Stripe* stripe) noexcept:
    """A head for a key that has none: a free one or the one that expires first. Under the set's lock."""
    cdef int way, best = 0
    cdef Head* head
    for way in range(HEAD_WAYS):
        if heads.keys[way] == 0:
            best = way
            break
        if heads.heads[way].expires < heads.heads[best].expires:
            best = way
    head = &heads.heads[best]
    if heads.keys[best] != 0 and head.expires > now_ns:
        atomic_store_relaxed(&stripe.lost, stripe.lost + 1)
    atomic_store_release(&heads.keys[best], 0)
    head.count = head.last = head.expires = head.oldest = 0
    atomic_store_release(&heads.keys[best], key)
    return head


cdef inline uint64_t tag_of(uint64_t key, uint64_t number) noexcept:
    return mix64(key ^ mix64(number // STAMPS + 1)) | 1


cdef inline int way_of(BlockSet* blocks, uint64_t tag) noexcept:
    cdef int way
    for way in range(BLOCK_WAYS):
        if atomic_load_acquire(&blocks.tags[way]) == tag:
            return way
    return -1


cdef bint find_block(Logs* logs, uint64_t tag, Bookmark* mark) noexcept:
    cdef int side
    for side in range(2):
        mark.set = block_sets(logs) + set_number(logs, tag if side == 0 else tag << 32)
        mark.way = way_of(mark.set, tag)
        if mark.way >= 0:
            mark.tag = tag
            return True
    mark.tag = 0
    return False


cdef uint64_t read_stamp(Logs* logs, uint64_t key, uint64_t number, Bookmark* mark) noexcept:
    """When the admission of this number was; 0 when its block is gone."""
    cdef uint64_t tag = tag_of(key, number)
    cdef uint64_t stamp
    if mark.tag != tag and not find_block(logs, tag, mark):
        return 0
    stamp = atomic_load_acquire(&mark.set.stamps[mark.way][number % STAMPS])
    # Who takes a block for another key changes its tag first.
    if atomic_load_acquire(&mark.set.tags[mark.way]) == tag:
        return stamp
    mark.tag = 0
    return 0


cdef void choose_set(Logs* logs, uint64_t tag, Bookmark* mark) noexcept:
    """Of the two sets in which a new block may lie the one with more room, else with the block that expires first."""
    cdef BlockSet* blocks
    cdef uint64_t soonest, earliest = 0
    cdef int side, way, free, most = 0
    for side in range(2):
        blocks = block_sets(logs) + set_number(logs, tag if side == 0 else tag << 32)
        free = 0
        soonest = UINT64_MAX
        for way in range(BLOCK_WAYS):
            if atomic_load_acquire(&blocks.tags[way]) == 0:
                free += 1
            else:
                soonest = min(soonest, atomic_load_relaxed(&blocks.expires[way]))
        if side == 0 or free > most or (free == 0 and most == 0 and soonest < earliest):
            mark.set = blocks
            most = free
            earliest = soonest


cdef int claim_block(BlockSet* blocks, uint64_t tag, uint64_t now_ns, Stripe* stripe) noexcept:
    """A block for a tag that has none: a free one or the one that expires first. Under the set's lock."""
    cdef int way, number, best = 0
    for way in range(BLOCK_WAYS):
        if blocks.tags[way] == 0:
            best = way
            break
        if blocks.expires[way] < blocks.expires[best]:
            best = way
    if blocks.tags[best] != 0 and blocks.expires[best] > now_ns:
        atomic_store_relaxed(&stripe.lost, stripe.lost + 1)
    atomic_store_release(&blocks.tags[best], 0)
    for number in range(STAMPS):
        atomic_store_release(&blocks.stamps[best][number], 0)
    atomic_store_relaxed(&blocks.expires[best], 0)
    atomic_store_release(&blocks.tags[best], tag)
    return best


cdef void write_stamp(
    Logs* logs, uint64_t key, uint64_t number, uint64_t stamp, uint64_t expires, uint64_t now_ns, Bookmark* mark
) noexcept:
    cdef uint64_t tag = tag_of(key, number)
    cdef Stripe* stripe
    if mark.tag != tag and not find_block(logs, tag, mark):
        choose_set(logs, tag, mark)
    stripe = &logs.blocks[<uint64_t>(mark.set - block_sets(logs)) % STRIPES]
    shared_lock(stripe.lock)
    # Looked for again: until now the block could be taken for another key.
    mark.way = way_of(mark.set, tag)
    if mark.way < 0:
        mark.way = claim_block(mark.set, tag, now_ns, stripe)
    mark.tag = tag
    atomic_store_relaxed(&mark.set.stamps[mark.way][number % STAMPS], stamp)
    atomic_store_relaxed(&mark.set.expires[mark.way], max(mark.set.expires[mark.way], expires))
    shared_unlock(stripe.lock)


cdef uint64_t oldest_inside(
    Logs* logs, uint64_t key, uint64_t low, uint64_t count, uint64_t since, Bookmark* mark
) noexcept:
    """The number of the oldest admission from ``low`` on that was after ``since``; ``count`` when there is none.

    Stamps only grow. Most often it is ``low``; so in longer and longer steps from there, then by bisection.
    """
    cdef uint64_t high = count, step = 1, middle
    while low < high:
        middle = low + min(step, high - low) - 1
        if read_stamp(logs, key, middle, mark) > since:
            high = middle
            break
        low = middle + 1
        step *= 2
    while low < high:
        middle = (low + high) // 2
        if read_stamp(logs, key, middle, mark) > since:
            high = middle
        else:
            low = middle + 1
    return low


cdef int prepare_logs(unsigned char* region, size_t size) except -1:
    cdef Logs* logs = <Logs*>region
    if size < sizeof(Logs) + sizeof(HeadSet) + sizeof(BlockSet):
        raise ValueError(f"{size} bytes are too few for sliding logs")
    if logs.magic == LOGS_MAGIC:
        return 0
    logs.sets = min((size - sizeof(Logs)) // (sizeof(HeadSet) + sizeof(BlockSet)), <uint64_t>1 << 32)
    prepare_stripes(logs.heads)
    prepare_stripes(logs.blocks)
    atomic_store_release(&logs.magic, LOGS_MAGIC)
    return 0


cdef Logs* logs_of(Segment segment) except NULL:
    cdef Logs* logs = <Logs*>segment.region(REGION_LOGS)
    if segment.region_size(REGION_LOGS) < sizeof(Logs) or atomic_load_acquire(&logs.magic) != LOGS_MAGIC:
        raise SegmentError("the segment was not prepared for sliding logs")
    return logs
