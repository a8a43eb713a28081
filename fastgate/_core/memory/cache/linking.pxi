# The index: words that lead to records. Included by cache_store.pyx.


cdef void unlinked(Store* s, const View* view, bint with_body) noexcept nogil:
    """Nothing leads to a record any more: it does not count, and the segments of its body are freed."""
    add_live(s, view.segment, view.generation, -1, -<int64_t>record_bytes(&view.record, s.segment_size))
    if with_body:
        drop_parts(s, view, 0)


cdef void drop_parts(Store* s, const View* view, uint32_t first) noexcept nogil:
    cdef uint32_t part, segment
    cdef uint64_t generation, word
    for part in range(first, view.parts):
        if part_segment(s, view, part, &segment, &generation):
            word = atomic_load_acquire(&s.states[segment])
            # One that is being reclaimed is found to lead nowhere by who does it.
            if generation_of(word) == generation and (
                state_of(word) == SEGMENT_SEALED or state_of(word) == SEGMENT_OPEN and owner_of(word) == s.slot + 1
            ):
                drain_segment(s, segment, word)


cdef inline bint is_newer(const CacheRecord* one, const CacheRecord* other) noexcept nogil:
    if one.purge != other.purge:
        return one.purge > other.purge
    return one.number > other.number


cdef bint leads_nowhere(Store* s, uint64_t word) noexcept nogil:
    """Whether a word of the index is left from an earlier life of its segment: a place that is free."""
    cdef uint64_t state
    if segment_in(word) >= s.segments:
        return True
    state = atomic_load_acquire(&s.states[segment_in(word)])
    return ((generation_of(state) ^ word >> 40) & 0xff) != 0 or state_of(state) == SEGMENT_FREE


cdef uint64_t* place_for(Store* s, uint64_t* const* buckets, uint64_t* word) noexcept nogil:
    """A free place of the index in the emptier of two buckets: one that is empty, else one that is left from an earlier
    life of its segment; else the least used, oldest one.
    """
    cdef uint64_t* bucket
    cdef uint64_t* free[2]
    cdef uint64_t free_word[2]
    cdef uint64_t* worst = NULL
    cdef uint64_t found, rank, least = UINT64_MAX, worst_word = 0
    cdef unsigned int empty[2]
    cdef int half, number
    cdef int count[2]
    cdef View view
    for half in range(2):
        empty[half] = words_with_tag(buckets[half], 0)
    if empty[0] | empty[1]:
        half = bits_of_eight(empty[1]) > bits_of_eight(empty[0])
        word[0] = 0
        return &buckets[half][lowest_bit(empty[half])]
    for half in range(2):
        bucket = buckets[half]
        free[half] = NULL
        count[half] = 0
        for number in range(BUCKET):
            found = atomic_load_acquire(&bucket[number])
            if found == 0 or leads_nowhere(s, found):
                count[half] += 1
                if free[half] == NULL:
                    free[half] = &bucket[number]
                    free_word[half] = found
    half = count[1] > count[0]
    if free[half] != NULL:
        word[0] = free_word[half]
        return free[half]
    for half in range(2):
        bucket = buckets[half]
        for number in range(BUCKET):
            found = atomic_load_acquire(&bucket[number])
            rank = 0
            if resolve(s, found, &view):
                rank = <uint64_t>view.record.frequency << 56 | view.record.number
            if rank < least:
                least = rank
                worst = &bucket[number]
                worst_word = found
    word[0] = worst_word
    return worst


cdef bint link(Store* s, View* mine, uint64_t hash, bint is_new) noexcept nogil:
    """Makes the index lead to a whole record, in place of an older one of its key. False: there is a newer one.

    ``is_new``: there was none a moment ago. If there is one by now, `one_of_each` finds it.
    """
    cdef uint64_t word = index_word(hash, mine.generation, mine.segment, mine.offset)
    cdef uint64_t expected
    cdef uint64_t* buckets[2]
    cdef uint64_t* place
    cdef View other
    cdef int tries
    cdef bint replaces
    buckets[0] = bucket_of(s, hash, 0)
    buckets[1] = bucket_of(s, hash, 1)
    mine.hash = hash
    mine.word = word
    mine.entry = NULL
    add_live(s, mine.segment, mine.generation, 1, record_bytes(&mine.record, s.segment_size))
    for tries in range(MOST_SWAPS):
        replaces = not is_new and find_same(s, hash, mine.key, mine.record.key_length, word, &other)
        if replaces:
            if is_newer(&other.record, &mine.record):
                break
            place = other.entry
            expected = other.word
        else:
            place = place_for(s, buckets, &expected)
        if not atomic_swap_if_equal(place, &expected, word):
            continue
        mine.entry = place
        if replaces:
            s.counts.replaced += 1
            unlinked(s, &other, True)
        elif expected != 0 and resolve(s, expected, &other):
            s.counts.crowded_out += 1
            other.hash = hash_key(s, other.key, other.record.key_length)
            unlinked(s, &other, True)
        one_of_each(s, mine, buckets)
        return True
    unlinked(s, mine, False)
    return False


cdef void one_of_each(Store* s, View* mine, uint64_t* const* buckets) noexcept nogil:
    """Two processes that store one key at once may use two places: of the two the newer one stays."""
    cdef View other
    cdef uint64_t expected, tag = tag_of(mine.hash)
    cdef unsigned int alike
    cdef int tries
    # Who links the other one looks here after he has done so: one of the two sees both.
    atomic_fence_full()
    alike = words_with_tag(buckets[0], tag) | words_with_tag(buckets[1], tag) << BUCKET
    if not alike & (alike - 1) and atomic_load_acquire(mine.entry) == mine.word:
        # The only one with this tag is the one that was just linked.
        return
    for tries in range(MOST_SWAPS):
        if not find_same(s, mine.hash, mine.key, mine.record.key_length, mine.word, &other):
            return
        if other.record.number == mine.record.number:
            # It is mine, and was moved.
            return
        if is_newer(&other.record, &mine.record):
            expected = mine.word
            if atomic_swap_if_equal(mine.entry, &expected, 0):
                unlinked(s, mine, True)
            return
        expected = other.word
        if atomic_swap_if_equal(other.entry, &expected, 0):
            unlinked(s, &other, True)


cdef bint remove(Store* s, uint64_t hash, const char* key, size_t key_length) noexcept nogil:
    cdef View view
    cdef uint64_t expected
    cdef int tries
    cdef bint found = False
    for tries in range(MOST_SWAPS):
        if not find_same(s, hash, key, key_length, 0, &view):
            break
        expected = view.word
        if atomic_swap_if_equal(view.entry, &expected, 0):
            found = found or is_valid(s, &view)
            s.counts.deleted += 1
            unlinked(s, &view, True)
    return found


cdef bint remove_this(Store* s, const View* view) noexcept nogil:
    cdef uint64_t expected = view.word
    if view.entry == NULL or not atomic_swap_if_equal(view.entry, &expected, 0):
        return False
    s.counts.deleted += 1
    unlinked(s, view, True)
    return True


# ---- what probation has thrown out of late: fingerprint:20 | when:12, in sixty-fourths of a turn of the whole store

cdef inline uint32_t* ghost_of(Store* s, uint64_t hash) noexcept nogil:
    return &s.ghost[(hash >> 32) * s.ghosts >> 32]


cdef inline uint32_t ghost_time(const Store* s) noexcept nogil:
    """It counts segments that were sealed: what was stored, that is."""
    return <uint32_t>(atomic_load_relaxed(&s.header.order) * 64 // s.segments) & 0xfff


cdef void throw_out(Store* s, uint64_t hash) noexcept nogil:
    """Notes that a key had to make place in probation."""
    atomic_store_half(ghost_of(s, hash), (<uint32_t>hash | 1) << 12 | ghost_time(s))


cdef bint was_thrown_out(Store* s, uint64_t hash) noexcept nogil:
    """Whether a key was, not longer ago than all of the store was written once; it is forgotten by that."""
    cdef uint32_t* place = ghost_of(s, hash)
    cdef uint32_t ghost = atomic_load_half(place)
    if ghost >> 12 != (<uint32_t>hash | 1) & 0xfffff:
        return False
    atomic_store_half(place, 0)
    return ((ghost_time(s) - ghost) & 0xfff) <= 64
