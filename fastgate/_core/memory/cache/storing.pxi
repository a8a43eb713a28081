# Storing: in one go, in pieces, another head for a body that stays. Included by cache_store.pyx.


cdef bint lay_out(
    Store* s, const Entry* e, int kind, int class_, uint64_t number, uint64_t now, View* view
) noexcept nogil:
    """Makes room for a record and writes all of it but its body. It is whole when it is committed. 0 = a new number."""
    cdef CacheRecord* record = &view.record
    cdef uint64_t front, size, generation
    cdef uint32_t segment, offset
    cdef unsigned char* target
    cdef unsigned char* at
    cdef int word
    record.retry_low = record.retry_high = record.frequency = record.reserved = 0
    record.key_length = <uint16_t>e.key_length
    record.fields_length = <uint16_t>e.fields_length
    record.head_length = e.head_length
    record.body_length = e.body_length
    record.flags = e.flags
    record.kind = <uint16_t>kind
    record.purge = e.purge
    record.dies = min(e.dies, FOREVER)
    for word in range(RECORD_WORDS):
        record.words[word] = e.words[word]
    record.checked = e.checked
    front = front_bytes(record, s.segment_size)
    size = record_bytes(record, s.segment_size)
    target = allocate(s, class_, size, False, &segment, &offset, &generation)
    if target == NULL:
        # All are taken: once more, after some work.
        make_room(s, MOST_EXAMINED, now)
        target = allocate(s, class_, size, False, &segment, &offset, &generation)
        if target == NULL:
            note_starved(s)
            return False
    record.number = number if number else atomic_add_relaxed(&s.header.number, 1) + 1
    record.check = check_of(s, generation, segment, offset, record)
    at = target + sizeof(CacheRecord)
    if kind & KIND_FILLED:
        memset(at, 0, 8)
        at += 8
    if kind & KIND_CHAIN:
        memset(at, 0, 8 * record_parts(record, s.segment_size))
    at = target + front - e.fields_length
    memcpy(at, e.fields, e.fields_length)
    at -= e.head_length
    memcpy(at, e.head, e.head_length)
    at -= e.key_length
    memcpy(at, e.key, e.key_length)
    memcpy(target, record, sizeof(CacheRecord))
    set_place(s, segment, offset, generation, view)
    view.hash = e.hash
    return True


cdef inline int class_for(Store* s, uint64_t hash) noexcept nogil:
    if was_thrown_out(s, hash):
        s.counts.returned += 1
        return CLASS_MAIN
    return CLASS_PROBATION


cdef int kind_for(Store* s, const Entry* e) noexcept nogil:
    """Where the body goes; -1: it is too large."""
    if fits(s, e, 0):
        return 0
    if e.body_length >= s.segment_size and fits(s, e, KIND_CHAIN | KIND_TAIL):
        return KIND_CHAIN | KIND_TAIL
    return KIND_CHAIN if fits(s, e, KIND_CHAIN) else -1


cdef bint fits(const Store* s, const Entry* e, int kind) noexcept nogil:
    """Whether a record of this kind is not too large for a segment, and has not too many others for its body."""
    cdef CacheRecord record
    cdef uint64_t size = sizeof(CacheRecord) + 8 + e.key_length + e.fields_length + <uint64_t>e.head_length, parts
    record.kind = <uint16_t>kind
    record.body_length = e.body_length
    parts = record_parts(&record, s.segment_size)
    size += 8 * parts + inline_bytes(&record, s.segment_size)
    return (
        size <= s.largest and parts <= s.segments // 4 and e.key_length <= 0xffff and e.fields_length <= 0xffff
    )


cdef uint64_t open_part(Store* s, View* view, uint32_t part, bint main, uint64_t now) noexcept nogil:
    """A segment for a part of a body, which the record leads to from then on; 0: there is none."""
    cdef uint64_t word, entry
    cdef int kind = CLASS_BODY_MAIN if main else CLASS_BODY_PROBATION
    cdef int segment = open_segment(s, kind, False, &word)
    cdef uint64_t wish
    if segment < 0:
        make_room(s, MOST_EXAMINED, now)
        segment = open_segment(s, kind, False, &word)
    if segment < 0:
        note_starved(s)
        wish = part + 1 if view.record.kind & KIND_STREAM else view.parts
        if atomic_load_relaxed(&s.header.wish) < wish:
            # Others make so much room from now on.
            atomic_store_relaxed(&s.header.wish, wish)
        return 0
    atomic_store_relaxed(&s.rows[segment].hash, view.hash)
    atomic_store_relaxed(&s.rows[segment].part, generation_of(word) << 24 | part)
    atomic_store_relaxed(&s.rows[segment].newest, view.record.number)
    note_end(s, segment, generation_of(word), view.record.dies)
    entry = generation_of(word) << 24 | <uint64_t>segment
    atomic_store_release(&view.chain[part], entry)
    return entry


cdef void used_part(Store* s, uint64_t entry, uint32_t size) noexcept nogil:
    """How much of a part is there."""
    cdef uint64_t generation = entry >> 24
    cdef uint32_t segment = <uint32_t>(entry & 0xffffff)
    cdef uint64_t used = atomic_load_relaxed(&s.rows[segment].used)
    add_live(s, segment, generation, 0, <int64_t>size - <int64_t>(used & 0xffffff))
    atomic_store_release(&s.rows[segment].used, generation << 24 | size)


cdef void seal_parts(Store* s, View* view) noexcept nogil:
    """What is linked may be freed from now on. One that was dropped meanwhile is sealed no more."""
    cdef uint32_t part, segment
    cdef uint64_t generation, word
    for part in range(view.parts):
        if part_segment(s, view, part, &segment, &generation):
            word = atomic_load_acquire(&s.states[segment])
            if generation_of(word) == generation and state_of(word) == SEGMENT_OPEN and owner_of(word) == s.slot + 1:
                seal_segment(s, segment, word, class_of(word))


cdef void leave_parts(Store* s, View* view, uint32_t filled) noexcept nogil:
    """No record leads to a body that is whole: its parts stay for who reads along, and are freed like any others when
    their turn comes.
    """
    drop_parts(s, view, <uint32_t>parts_of(filled, s.segment_size))
    seal_parts(s, view)


cdef bint refuse(Store* s) noexcept nogil:
    s.counts.refused += 1
    s.pressed = True
    return False


cdef bint put(Store* s, const Entry* e, uint64_t now) noexcept nogil:
    cdef View view
    cdef Filling filling
    cdef int kind = kind_for(s, e), class_
    if s.slot < 0 or kind < 0:
        s.counts.too_large += 1
        return False
    if kind & KIND_CHAIN:
        # While its parts are found, other records are moved, and its segment may be sealed: it needs the pin.
        if not begin_filling(s, e, now, &filling) or not append(s, &filling, e.body, e.body_length, now):
            return False
        publish(s, &filling)
        return True
    if s.pressed or s.victim.segment >= 0:
        make_room(s, 2 * (sizeof(CacheRecord) + <int64_t>e.key_length + e.head_length + e.body_length), now)
    class_ = class_for(s, e.hash)
    if not lay_out(s, e, kind, class_, 0, now, &view):
        return refuse(s)
    memcpy(<char*>view.body, e.body, e.body_length)
    committed(s, class_, record_bytes(&view.record, s.segment_size), view.record.number, view.record.dies)
    s.counts.stores += 1
    s.counts.stored_bytes += e.body_length
    link(s, &view, e.hash, e.is_new)
    return True


# ---- in pieces

cdef bint begin_filling(Store* s, const Entry* e, uint64_t now, Filling* filling) noexcept nogil:
    cdef int kind = kind_for(s, e), class_
    filling.active = False
    if s.slot < 0 or kind < 0:
        s.counts.too_large += 1
        return False
    make_room(s, 2 * (sizeof(CacheRecord) + <int64_t>e.key_length + e.head_length), now)
    class_ = class_for(s, e.hash)
    if not lay_out(s, e, kind | KIND_FILLED, class_, 0, now, &filling.view):
        return refuse(s)
    committed(
        s, class_, record_bytes(&filling.view.record, s.segment_size), filling.view.record.number, e.dies
    )
    if not pin_segment(s, filling.view.segment, filling.view.generation):
        return refuse(s)
    filling.hash = e.hash
    filling.filled = filling.scratch = 0
    filling.main = is_main(class_)
    filling.active = True
    return True


cdef uint64_t part_for(Store* s, Filling* filling, uint32_t part, uint64_t now) noexcept nogil:
    """The segment for a part of the body: one that was opened beforehand, or another one; 0: there is none."""
    cdef View* view = &filling.view
    cdef uint64_t generation, word
    cdef uint32_t segment
    if part_segment(s, view, part, &segment, &generation):
        word = atomic_load_acquire(&s.states[segment])
        if generation_of(word) == generation and state_of(word) == SEGMENT_OPEN and owner_of(word) == s.slot + 1:
            return generation << 24 | segment
        return 0
    if view.record.kind & KIND_STREAM and not take_scratch(s, filling):
        return 0
    return open_part(s, view, part, filling.main, now)


cdef bint reserve(Store* s, Filling* filling, uint64_t size, uint64_t now) noexcept nogil:
    cdef uint32_t part
    if not filling.active:
        return False
    for part in range(min(<uint32_t>parts_of(size, s.segment_size), filling.view.parts)):
        if part_for(s, filling, part, now) == 0:
            refuse(s)
            abandon(s, filling)
            return False
    return True


cdef bint append(Store* s, Filling* filling, const char* data, uint32_t length, uint64_t now) noexcept nogil:
    """False: longer than its length, or the store is full: it is abandoned."""
    cdef View* view = &filling.view
    cdef uint32_t offset = 0, piece
    cdef unsigned char* target
    cdef bint is_part
    if not filling.active:
        return False
    if length > view.record.body_length - filling.filled:
        abandon(s, filling)
        return False
    make_room(s, 2 * <int64_t>length, now)
    while length:
        piece = length
        is_part = filling.filled // s.segment_size < view.parts
        if not is_part:
            target = <unsigned char*>view.body + (filling.filled - view.parts * s.segment_size)
        else:
            offset = filling.filled % s.segment_size
            if offset == 0:
                filling.part = part_for(s, filling, filling.filled // s.segment_size, now)
                if filling.part == 0:
                    refuse(s)
                    abandon(s, filling)
                    return False
            piece = min(length, s.segment_size - offset)
            target = s.data + <size_t>(filling.part & 0xffffff) * s.segment_size + offset
        memcpy(target, data, piece)
        if is_part:
            used_part(s, filling.part, offset + piece)
        filling.filled += piece
        data += piece
        length -= piece
        atomic_store_half(view.filled, filling.filled)
    return True


cdef bint publish(Store* s, Filling* filling) noexcept nogil:
    """What is whole is found from now on. False: it is not whole, or there is a newer one, or it came too late."""
    cdef View* view = &filling.view
    cdef uint64_t word, expected
    cdef bint stored
    if not filling.active:
        return False
    if filling.filled != view.record.body_length or view.record.kind & KIND_STREAM:
        abandon(s, filling)
        return False
    filling.active = False
    stored = link(s, view, filling.hash, False)
    if stored:
        # Whoever frees the segment has gone through it before or after: if he may have done so before, it is unlinked.
        atomic_fence_full()
        word = atomic_load_acquire(&s.states[view.segment])
        if state_of(word) != SEGMENT_OPEN and state_of(word) != SEGMENT_SEALED:
            expected = view.word
            if view.entry != NULL and atomic_swap_if_equal(view.entry, &expected, 0):
                unlinked(s, view, False)
                s.counts.lost += 1
                stored = False
    if stored:
        seal_parts(s, view)
        s.counts.stores += 1
        s.counts.stored_bytes += view.record.body_length
    else:
        leave_parts(s, view, filling.filled)
    unpin_segment(s, view.segment)
    return stored


cdef void abandon(Store* s, Filling* filling) noexcept nogil:
    """It is not stored; who reads along sees that."""
    if not filling.active:
        return
    filling.active = False
    atomic_store_half(filling.view.filled, FILLED_ABANDONED)
    drop_parts(s, &filling.view, 0)
    return_scratch(s, filling)
    unpin_segment(s, filling.view.segment)


# ---- another head

cdef bint replace_head(Store* s, const View* old, const Entry* e, uint64_t now) noexcept nogil:
    """False: what was found is not there any more, or the store is full; the object stays as it is."""
    cdef Entry entry = e[0]
    cdef View view
    cdef View found
    cdef int tries, kind
    cdef uint32_t part, segment
    cdef uint64_t expected, word, generation
    if s.slot < 0 or old.entry == NULL:
        return False
    entry.hash = old.hash
    entry.key = old.key
    entry.key_length = old.record.key_length
    entry.body_length = old.record.body_length
    make_room(s, 2 * <int64_t>(sizeof(CacheRecord) + entry.key_length + entry.head_length), now)
    kind = old.record.kind & (KIND_CHAIN | KIND_TAIL)
    if not fits(s, &entry, kind) or not lay_out(s, &entry, kind, CLASS_MAIN, 0, now, &view):
        return refuse(s)
    for part in range(old.parts):
        view.chain[part] = old.chain[part]
    if view.body != NULL:
        memcpy(<char*>view.body, old.body, inline_bytes(&view.record, s.segment_size))
    (<CacheRecord*>view.base).frequency = old.record.frequency
    committed(s, CLASS_MAIN, record_bytes(&view.record, s.segment_size), view.record.number, entry.dies)
    # A clear() before this line is seen here; one that comes later holds for the number of the new record too.
    if not still(s, old) or not is_valid(s, old):
        return False
    for part in range(old.parts):
        if part_segment(s, old, part, &segment, &generation):
            raise_end(s, segment, generation, entry.dies, view.record.number)
    word = index_word(view.hash, view.generation, view.segment, view.offset)
    add_live(s, view.segment, view.generation, 1, record_bytes(&view.record, s.segment_size))
    found = old[0]
    for tries in range(MOST_SWAPS):
        expected = found.word
        if atomic_swap_if_equal(found.entry, &expected, word):
            unlinked(s, &found, False)
            return True
        # It may have been moved, and is then the same object in another place.
        if not find_same(s, view.hash, view.key, view.record.key_length, 0, &found):
            break
        if found.record.number != old.record.number:
            break
    add_live(s, view.segment, view.generation, -1, -<int64_t>record_bytes(&view.record, s.segment_size))
    return False
