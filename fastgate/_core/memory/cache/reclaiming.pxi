# Freeing segments: which, and what becomes of what is in them. Included by cache_store.pyx.


cdef int choose(Store* s, uint64_t now) noexcept nogil:
    """The segment that is to be freed next; -1: there is none. One that is pinned would not be free."""
    cdef uint64_t oldest[2]
    cdef int found[2]
    cdef uint32_t segment, probation = 0
    cdef uint64_t word, generation, order, cleared = atomic_load_relaxed(&s.header.cleared)
    cdef int kind
    oldest[0] = oldest[1] = FOREVER + 1
    found[0] = found[1] = -1
    for segment in range(s.segments):
        word = atomic_load_relaxed(&s.states[segment])
        if state_of(word) != SEGMENT_OPEN and state_of(word) != SEGMENT_SEALED:
            continue
        kind = is_main(class_of(word))
        probation += not kind
        if state_of(word) == SEGMENT_OPEN:
            continue
        generation = generation_of(word)
        order = unstamped(atomic_load_relaxed(&s.orders[segment]), generation, 0)
        if unstamped(atomic_load_relaxed(&s.ends[segment]), generation, FOREVER) <= now or (
            cleared and atomic_load_relaxed(&s.rows[segment].newest) <= cleared
        ):
            # Nothing in it is of use any more.
            if not is_pinned(s, segment):
                return segment
        elif order < oldest[kind] and not is_pinned(s, segment):
            oldest[kind] = order
            found[kind] = segment
    kind = probation * PROBATION <= s.segments
    return found[kind] if found[kind] >= 0 else found[1 - kind]


cdef bint begin_victim(Store* s, uint64_t now) noexcept nogil:
    """Takes the next segment that is to be freed. Parts of bodies are dealt with at once."""
    cdef uint64_t word, used
    cdef int segment, tries
    for tries in range(BUCKET):
        segment = choose(s, now)
        if segment < 0:
            return False
        word = atomic_load_acquire(&s.states[segment])
        if state_of(word) != SEGMENT_SEALED or not atomic_swap_if_equal(
            &s.states[segment], &word, with_state(word, class_of(word), s.slot + 1, SEGMENT_RECLAIM)
        ):
            continue
        word = with_state(word, class_of(word), s.slot + 1, SEGMENT_RECLAIM)
        if is_body(class_of(word)):
            judge_part(s, segment, word, now)
            if count_free(s) and not s.pressed:
                return False
            continue
        used = atomic_load_acquire(&s.rows[segment].used)
        s.victim.segment = segment
        s.victim.word = word
        s.victim.cursor = 0
        s.victim.kept = 0
        s.victim.end = <uint32_t>(used & 0xffffff) if used >> 24 == generation_of(word) else 0
        s.victim.end = min(s.victim.end, s.segment_size)
        return True
    return False


cdef void judge_part(Store* s, uint32_t segment, uint64_t word, uint64_t now) noexcept nogil:
    """Whether a part of a body stays. The first one decides for the object; one without an object goes."""
    cdef uint64_t generation = generation_of(word), entry, hash, part, expected
    cdef uint64_t* bucket
    cdef int half, number
    cdef View view
    hash = atomic_load_relaxed(&s.rows[segment].hash)
    part = atomic_load_relaxed(&s.rows[segment].part)
    entry = generation << 24 | segment
    if part >> 24 != generation:
        drain_segment(s, segment, word)
        return
    part &= 0xffffff
    for half in range(2):
        bucket = bucket_of(s, hash, half)
        for number in range(BUCKET):
            expected = atomic_load_acquire(&bucket[number])
            if expected >> 48 != tag_of(hash) or not resolve(s, expected, &view) or part >= view.parts:
                continue
            if atomic_load_acquire(&view.chain[part]) != entry:
                continue
            view.hash = hash
            if view.record.dies <= now or not is_valid(s, &view):
                if atomic_swap_if_equal(&bucket[number], &expected, 0):
                    s.counts.expired += 1
                    unlinked(s, &view, True)
                drain_if_gone(s, segment, word, &bucket[number])
            elif part or view.record.frequency:
                raise_end(s, segment, generation, view.record.dies, view.record.number)
                if part:
                    # Only one whose object is gone is older than the first one of its object; this one was overtaken.
                    seal_segment(s, segment, word, class_of(word))
                    return
                set_frequency(s, &view, view.record.frequency - 1)
                seal_segment(s, segment, word, CLASS_BODY_MAIN)
                keep_parts(s, &view)
                s.counts.kept += 1
            else:
                if atomic_swap_if_equal(&bucket[number], &expected, 0):
                    s.counts.evictions += 1
                    if not is_main(class_of(word)):
                        throw_out(s, hash)
                    unlinked(s, &view, True)
                drain_if_gone(s, segment, word, &bucket[number])
            return
    drain_segment(s, segment, word)


cdef void keep_parts(Store* s, const View* view) noexcept nogil:
    """The other parts follow the first one: into the main part, and behind it."""
    cdef uint32_t part, segment
    cdef uint64_t generation, word
    for part in range(1, view.parts):
        if part_segment(s, view, part, &segment, &generation):
            word = atomic_load_acquire(&s.states[segment])
            if generation_of(word) == generation and state_of(word) == SEGMENT_SEALED:
                atomic_store_relaxed(&s.orders[segment], stamped(generation, next_order(s)))
                atomic_swap_if_equal(
                    &s.states[segment], &word, with_state(word, CLASS_BODY_MAIN, 0, SEGMENT_SEALED)
                )


cdef void drain_if_gone(Store* s, uint32_t segment, uint64_t word, uint64_t* place) noexcept nogil:
    """After an attempt to unlink its object: what was linked in its place meanwhile may have the same body."""
    if atomic_load_acquire(place) == 0:
        drain_segment(s, segment, word)
    else:
        seal_segment(s, segment, word, class_of(word))


cdef void set_frequency(Store* s, const View* view, uint8_t frequency) noexcept nogil:
    if pin_segment(s, view.segment, view.generation):
        (<CacheRecord*>view.base).frequency = frequency
        unpin_segment(s, view.segment)


cdef bint move(Store* s, View* view, uint64_t* place, uint64_t word, uint8_t frequency) noexcept nogil:
    """Copies a record into the own open main segment, then links it there: never the other way round."""
    cdef uint64_t size = record_bytes(&view.record, s.segment_size), generation, expected = word, moved
    cdef uint32_t segment, offset
    cdef unsigned char* target = allocate(s, CLASS_MAIN, size, True, &segment, &offset, &generation)
    cdef CacheRecord* record = <CacheRecord*>target
    if target == NULL:
        return False
    memcpy(target + sizeof(CacheRecord), view.base + sizeof(CacheRecord), size - sizeof(CacheRecord))
    # The copy that was proved, not what may be in its place by now.
    memcpy(target, &view.record, sizeof(CacheRecord))
    record.frequency = frequency
    record.check = check_of(s, generation, segment, offset, record)
    committed(s, CLASS_MAIN, size, view.record.number, view.record.dies)
    add_live(s, segment, generation, 1, size)
    moved = index_word(view.hash, generation, segment, offset)
    if atomic_swap_if_equal(place, &expected, moved):
        unlinked(s, view, False)
        s.counts.kept += 1
        s.counts.kept_bytes += size
        s.victim.kept += <uint32_t>size
    else:
        add_live(s, segment, generation, -1, -<int64_t>size)
    return True


cdef void judge_record(Store* s, View* view, uint64_t now) noexcept nogil:
    """Moves or unlinks a record of the segment that is being reclaimed, if the index leads to it."""
    cdef uint64_t word, expected
    cdef uint64_t* bucket
    cdef uint64_t* place = NULL
    cdef int half, number
    cdef uint8_t used = view.record.frequency
    cdef bint main = is_main(class_of(s.victim.word))
    view.hash = hash_key(s, view.key, view.record.key_length)
    word = index_word(view.hash, view.generation, view.segment, view.offset)
    for half in range(2):
        bucket = bucket_of(s, view.hash, half)
        for number in range(BUCKET):
            if atomic_load_acquire(&bucket[number]) == word:
                place = &bucket[number]
    if place == NULL:
        return
    expected = word
    if view.record.dies <= now or not is_valid(s, view):
        if atomic_swap_if_equal(place, &expected, 0):
            s.counts.expired += 1
            unlinked(s, view, True)
        return
    if view.chain != NULL:
        # What becomes of it is decided with the first part of its body.
        if move(s, view, place, word, used):
            return
    elif used and (not main or s.free > s.reserve // 2 or s.victim.kept < s.segment_size // 2):
        # Where all of the main part was used and stores wait, half of it has to go.
        if move(s, view, place, word, used - 1 if main else 0):
            return
    if atomic_swap_if_equal(place, &expected, 0):
        s.counts.evictions += 1
        if not main:
            throw_out(s, view.hash)
        unlinked(s, view, True)


cdef void make_room(Store* s, int64_t budget, uint64_t now) noexcept nogil:
    """Examines about so many bytes of segments that are to be freed, if there are too few free ones."""
    cdef View view
    cdef uint64_t size
    cdef int steps = 0
    if s.free <= s.reserve + 1:
        # The pace was too slow: too much of what was examined had been used.
        budget *= 4
    if budget > MOST_EXAMINED:
        budget = MOST_EXAMINED
    while budget > 0 and steps < MOST_STEPS:
        if s.victim.segment < 0:
            if not s.pressed or not begin_victim(s, now):
                return
            # Which one, was found by looking at all.
            budget -= s.segments + 1024
        if s.victim.cursor >= s.victim.end:
            finish_victim(s)
            continue
        steps += 1
        if not open_record(
            s, s.victim.segment, s.victim.cursor, generation_of(s.victim.word), &view
        ):
            # Where the next one begins is not known: what still leads to it leads nowhere when the segment is free.
            s.counts.damaged += 1
            s.victim.cursor = s.victim.end
            continue
        size = record_bytes(&view.record, s.segment_size)
        if steps > 1 and <int64_t>size > max(budget, <int64_t>65536):
            # What is large is moved by a call that has done nothing else.
            return
        judge_record(s, &view, now)
        s.victim.cursor += <uint32_t>size
        budget -= <int64_t>size


cdef void finish_victim(Store* s) noexcept nogil:
    cdef uint32_t segment = s.victim.segment
    s.victim.segment = -1
    drain_segment(s, segment, s.victim.word)
    count_free(s)
