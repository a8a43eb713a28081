# The sliding logs: see the theory of operation in rate.pyx.

cdef enum:
    LOGS_MAGIC = 0x73676f6c         # "logs"

# A block that can make room for another one.
cdef struct Spare:
    BlockSet* set                   # NULL = not looked for yet
    int way
    uint64_t tag                    # that was read there
    uint64_t owner
    double worth                    # 0 = nothing is lost; less: the set has so many free ones


cdef inline uint64_t set_number(const LogRoom* room, uint64_t key) noexcept:
    return ((key >> 32) * room.sets) >> 32


cdef inline HeadSet* heads_of(const LogRoom* room, uint64_t key) noexcept:
    return room.heads + set_number(room, key)


cdef inline Stripe* head_stripe(const LogRoom* room, uint64_t key) noexcept:
    return &room.logs.heads[set_number(room, key) % STRIPES]


cdef Head* find_head(HeadSet* heads, uint64_t key) noexcept:
    cdef int way
    for way in range(HEAD_WAYS):
        if atomic_load_acquire(&heads.keys[way]) == key:
            return &heads.heads[way]
    return NULL


cdef inline uint64_t counted(const Head* head) noexcept:
    """How many admissions of a key were in its span when it was last asked."""
    cdef uint64_t count = atomic_load_relaxed(&head.count)
    cdef uint64_t oldest = atomic_load_relaxed(&head.oldest)
    return count - oldest if count > oldest else 0


cdef inline Allowance* allowance_of(const LogRoom* room, uint64_t key) noexcept:
    return &room.logs.allowances[limit_of(key)]


cdef Head* claim_head(const LogRoom* room, uint64_t key, uint64_t now_ns, Stripe* stripe) noexcept:
    """A head for a key that has none, in place of one that nobody needs, or else of another key's. Under the lock."""
    cdef HeadSet* heads = heads_of(room, key)
    cdef Candidates candidates
    cdef Head* head
    cdef int way, best = 0
    cdef double worth
    for way in range(HEAD_WAYS):
        if heads.keys[way] == 0:
            best = way
            break
        if heads.heads[way].expires < heads.heads[best].expires:
            best = way
    if heads.keys[best] != 0 and heads.heads[best].expires > now_ns:
        candidates.count = HEAD_WAYS
        for way in range(HEAD_WAYS):
            candidates.limits[way] = limit_of(heads.keys[way])
            candidates.expires[way] = heads.heads[way].expires
            candidates.used[way] = share_of(allowance_of(room, heads.keys[way]), counted(&heads.heads[way]))
        best = least_used(&candidates, key, &worth)
        count_loss(stripe, cost_of(allowance_of(room, heads.keys[best]), counted(&heads.heads[best])))
    head = &heads.heads[best]
    atomic_store_release(&heads.keys[best], 0)
    head.count = head.last = head.expires = head.oldest = 0
    atomic_store_release(&heads.keys[best], key)
    return head


cdef inline uint64_t tag_of(uint64_t key, uint64_t number) noexcept:
    return mix64(key ^ mix64(number // STAMPS + 1)) | 1


cdef inline BlockSet* blocks_of(const LogRoom* room, uint64_t tag, int side) noexcept:
    """One of the two sets that a block may lie in."""
    return room.blocks + set_number(room, tag if side == 0 else tag << 32)


cdef inline int way_of(BlockSet* blocks, uint64_t tag) noexcept:
    cdef int way
    for way in range(BLOCK_WAYS):
        if atomic_load_acquire(&blocks.tags[way]) == tag:
            return way
    return -1


cdef bint find_block(const LogRoom* room, uint64_t tag, Bookmark* mark) noexcept:
    cdef int side
    for side in range(2):
        mark.set = blocks_of(room, tag, side)
        mark.way = way_of(mark.set, tag)
        if mark.way >= 0:
            mark.tag = tag
            return True
    mark.tag = 0
    return False


cdef uint64_t read_stamp(const LogRoom* room, uint64_t key, uint64_t number, Bookmark* mark) noexcept:
    """When the admission of this number was; 0 when its block is gone."""
    cdef uint64_t tag = tag_of(key, number)
    cdef uint64_t stamp
    if mark.tag != tag and not find_block(room, tag, mark):
        return 0
    stamp = atomic_load_acquire(&mark.set.stamps[mark.way][number % STAMPS])
    # Who takes a block for another key changes its tag first.
    if atomic_load_acquire(&mark.set.tags[mark.way]) == tag:
        return stamp
    mark.tag = 0
    return 0


cdef Spare spare_block(const LogRoom* room, BlockSet* blocks, uint64_t key, uint64_t now_ns) noexcept:
    """The block of a set that makes room for one of this key.

    A block counts for as much as its key has used, for nothing when that is forgotten, and for more than any other in
    the key's own eyes.
    """
    cdef Candidates candidates
    cdef Spare spare
    cdef Head* head
    cdef uint64_t owner
    cdef int way
    spare.set = blocks
    spare.way = 0
    spare.tag = 0
    spare.owner = 0
    spare.worth = 0
    for way in range(BLOCK_WAYS - 1, -1, -1):
        if atomic_load_acquire(&blocks.tags[way]) == 0:
            spare.way = way         # the first at last: it is found soonest
            spare.worth -= 1
    if spare.worth < 0:
        return spare
    candidates.count = BLOCK_WAYS
    for way in range(BLOCK_WAYS):
        candidates.expires[way] = atomic_load_relaxed(&blocks.expires[way])
        if candidates.expires[way] <= now_ns:
            break
    else:
        for way in range(BLOCK_WAYS):
            owner = atomic_load_relaxed(&blocks.owners[way])
            candidates.limits[way] = limit_of(owner)
            candidates.used[way] = INFINITY
            if owner != key:
                head = find_head(heads_of(room, owner), owner)
                if head == NULL:
                    break
                candidates.used[way] = share_of(allowance_of(room, owner), counted(head))
        else:
            way = least_used(&candidates, key, &spare.worth)
    spare.way = way
    spare.tag = atomic_load_acquire(&blocks.tags[way])
    spare.owner = atomic_load_relaxed(&blocks.owners[way])
    return spare


cdef int claim_block(const LogRoom* room, const Spare* spare, uint64_t tag, uint64_t key, Stripe* stripe) noexcept:
    """Gives a block to a tag that has none. Under the set's lock."""
    cdef BlockSet* blocks = spare.set
    cdef int number, way = spare.way
    cdef Head* head
    if spare.worth > 0:
        head = find_head(heads_of(room, spare.owner), spare.owner)
        if head != NULL:
            count_loss(stripe, cost_of(allowance_of(room, spare.owner), counted(head)))
    atomic_store_release(&blocks.tags[way], 0)
    for number in range(STAMPS):
        atomic_store_release(&blocks.stamps[way][number], 0)
    atomic_store_relaxed(&blocks.expires[way], 0)
    atomic_store_relaxed(&blocks.owners[way], key)
    atomic_store_release(&blocks.tags[way], tag)
    return way


cdef void write_stamp(
    const LogRoom* room, uint64_t key, uint64_t number, uint64_t stamp, uint64_t expires, uint64_t now_ns,
    Bookmark* mark
) noexcept:
    cdef uint64_t tag = tag_of(key, number)
    cdef Spare spare, other
    cdef Stripe* stripe
    spare.set = NULL
    if mark.tag != tag and not find_block(room, tag, mark):
        # Of the two sets in which a new block may lie the one that loses less by it.
        spare = spare_block(room, blocks_of(room, tag, 0), key, now_ns)
        other = spare_block(room, blocks_of(room, tag, 1), key, now_ns)
        if other.worth < spare.worth:
            spare = other
        mark.set = spare.set
    stripe = &room.logs.blocks[<uint64_t>(mark.set - room.blocks) % STRIPES]
    shared_lock(stripe.lock)
    # Looked for again: until now the block could be taken for another key.
    mark.way = way_of(mark.set, tag)
    if mark.way < 0:
        if spare.set == NULL or mark.set.tags[spare.way] != spare.tag:
            spare = spare_block(room, mark.set, key, now_ns)
        mark.way = claim_block(room, &spare, tag, key, stripe)
    mark.tag = tag
    atomic_store_relaxed(&mark.set.stamps[mark.way][number % STAMPS], stamp)
    atomic_store_relaxed(&mark.set.expires[mark.way], max(mark.set.expires[mark.way], expires))
    shared_unlock(stripe.lock)


cdef uint64_t oldest_inside(
    const LogRoom* room, uint64_t key, uint64_t low, uint64_t count, uint64_t since, Bookmark* mark
) noexcept:
    """The number of the oldest admission from ``low`` on that was after ``since``; ``count`` when there is none.

    Stamps only grow. Most often it is ``low``; so in longer and longer steps from there, then by bisection.
    """
    cdef uint64_t high = count, step = 1, middle
    while low < high:
        middle = low + min(step, high - low) - 1
        if read_stamp(room, key, middle, mark) > since:
            high = middle
            break
        low = middle + 1
        step *= 2
    while low < high:
        middle = (low + high) // 2
        if read_stamp(room, key, middle, mark) > since:
            high = middle
        else:
            low = middle + 1
    return low


cdef int prepare_logs(unsigned char* region, size_t size) except -1:
    cdef Logs* logs = <Logs*>region
    if size < sizeof(Logs) + 2 * (sizeof(HeadSet) + sizeof(BlockSet)):
        raise ValueError(f"{size} bytes are too few for sliding logs")
    if logs.magic == LOGS_MAGIC:
        return 0
    logs.sets = min((size - sizeof(Logs)) // (2 * (sizeof(HeadSet) + sizeof(BlockSet))), <uint64_t>1 << 32)
    prepare_stripes(logs.heads)
    prepare_stripes(logs.blocks)
    atomic_store_release(&logs.magic, LOGS_MAGIC)
    return 0


cdef LogRoom log_room(Region region, bint chosen) except *:
    """The half of the logs that a limit counts in."""
    cdef LogRoom room
    cdef unsigned char* half
    room.logs = <Logs*>region.open("logs", LOGS_LAYOUT, sizeof(Logs))
    if atomic_load_acquire(&room.logs.magic) != LOGS_MAGIC:
        raise SegmentError("the region 'logs' was not prepared")
    room.sets = room.logs.sets
    half = <unsigned char*>room.logs + sizeof(Logs)
    if chosen:
        half += room.sets * (sizeof(HeadSet) + sizeof(BlockSet))
    room.heads = <HeadSet*>half
    room.blocks = <BlockSet*>(room.heads + room.sets)
    return room
