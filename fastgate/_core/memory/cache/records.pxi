# Records: how one is proved, found, read and kept. Included by cache_store.pyx.


cdef uint64_t hash_key(const Store* s, const char* key, size_t length) noexcept nogil:
    return siphash(s.key, key, length)


cdef void begin_hash(const Store* s, const char* beginning, size_t length, SipHash* begun) noexcept nogil:
    siphash_begin(begun, s.key, beginning, length)


cdef uint64_t hash_from(const SipHash* begun, size_t beginning, const char* key, size_t length) noexcept nogil:
    return siphash_from(begun, beginning, key, length)


cdef uint64_t check_of(
    const Store* s, uint64_t generation, uint32_t segment, uint32_t offset, const CacheRecord* record
) noexcept nogil:
    cdef uint64_t place = <uint64_t>segment << 32 | offset
    return quick_hash(s.cookie ^ mix64(generation ^ s.cookie) + place, &record.number, 64)


cdef bint open_record(
    Store* s, uint32_t segment, uint32_t offset, uint64_t generation, View* view
) noexcept nogil:
    """Copies what a record says of itself, and proves that it is one of this life of its segment, and lies inside."""
    cdef unsigned char* base
    if segment >= s.segments or offset > s.segment_size - sizeof(CacheRecord) or offset % UNIT:
        return False
    base = s.data + <size_t>segment * s.segment_size + offset
    prefetch(base + 64)
    prefetch(base + 128)
    memcpy(&view.record, base, sizeof(CacheRecord))
    # The copy is what is looked at from here on, never the memory again.
    compiler_fence()
    if view.record.check != check_of(s, generation, segment, offset, &view.record):
        return False
    if record_bytes(&view.record, s.segment_size) > s.segment_size - offset:
        return False
    set_place(s, segment, offset, generation, view)
    return True


cdef inline void set_place(Store* s, uint32_t segment, uint32_t offset, uint64_t generation, View* view) noexcept nogil:
    """Where the parts of the record are that ``view.record`` is a copy of, which lies inside of its segment."""
    cdef unsigned char* base = s.data + <size_t>segment * s.segment_size + offset
    view.segment = segment
    view.offset = offset
    view.generation = generation
    view.base = base
    view.entry = NULL
    view.word = 0
    view.filled = NULL
    view.chain = NULL
    view.parts = 0
    view.body = <const char*>base + front_bytes(&view.record, s.segment_size)
    view.fields = view.body - view.record.fields_length
    view.head = view.fields - view.record.head_length
    view.key = view.head - view.record.key_length
    base += sizeof(CacheRecord)
    if view.record.kind & KIND_FILLED:
        view.filled = <uint32_t*>base
        base += 8
    if view.record.kind & KIND_CHAIN:
        view.chain = <uint64_t*>base
        view.parts = <uint32_t>record_parts(&view.record, s.segment_size)
        if not view.record.kind & KIND_TAIL:
            view.body = NULL


cdef bint resolve(Store* s, uint64_t word, View* view) noexcept nogil:
    """The record that a word of the index leads to; False: to none, or to one of an earlier life."""
    cdef uint32_t segment = segment_in(word)
    cdef uint64_t state
    if segment >= s.segments:
        return False
    state = atomic_load_acquire(&s.states[segment])
    if (generation_of(state) ^ word >> 40) & 0xff:
        return False
    if state_of(state) == SEGMENT_FREE or state_of(state) >= SEGMENT_DRAIN:
        return False
    if open_record(s, segment, offset_in(word), generation_of(state), view):
        return True
    if generation_of(atomic_load_acquire(&s.states[segment])) == generation_of(state):
        s.counts.damaged += 1
    return False


cdef inline bint has_key(const View* view, const char* key, size_t length) noexcept nogil:
    return view.record.key_length == length and memcmp(view.key, key, length) == 0


cdef inline uint64_t* bucket_of(Store* s, uint64_t hash, int half) noexcept nogil:
    return &s.index[BUCKET * (second_bucket(hash, s.buckets) if half else first_bucket(hash, s.buckets))]


cdef inline bint find_same(
    Store* s, uint64_t hash, const char* key, size_t length, uint64_t except_word, View* view
) noexcept nogil:
    """An object of this key, of use or not; not the one that this word leads to."""
    cdef uint64_t* first = bucket_of(s, hash, 0)
    cdef uint64_t* second = bucket_of(s, hash, 1)
    cdef unsigned int alike
    prefetch(second)
    alike = words_with_tag(first, tag_of(hash)) | words_with_tag(second, tag_of(hash)) << BUCKET
    return alike != 0 and find_among(s, first, second, alike, hash, key, length, except_word, view)


cdef bint find_among(
    Store* s, uint64_t* first, uint64_t* second, unsigned int alike, uint64_t hash, const char* key, size_t length,
    uint64_t except_word, View* view
) noexcept nogil:
    """The same, where these words of the two buckets have the tag."""
    cdef uint64_t tag = tag_of(hash), word
    cdef uint64_t* place
    cdef int number, tries
    cdef bint moved
    for tries in range(MOST_SWAPS):
        moved = False
        while alike:
            number = lowest_bit(alike)
            alike &= alike - 1
            place = &first[number] if number < BUCKET else &second[number - BUCKET]
            word = atomic_load_acquire(place)
            if word >> 48 != tag or word == except_word:
                continue
            if resolve(s, word, view) and has_key(view, key, length):
                view.entry = place
                view.word = word
                view.hash = hash
                return True
            # Perhaps it was moved meanwhile, and is where the word leads now.
            if atomic_load_acquire(place) != word:
                moved = True
        if not moved:
            return False
        alike = words_with_tag(first, tag) | words_with_tag(second, tag) << BUCKET
    return False


cdef bint look(
    Store* s, uint64_t hash, const char* key, size_t key_length, uint64_t now, View* view
) noexcept nogil:
    return (
        find_same(s, hash, key, key_length, 0, view)
        and (now == 0 or view.record.dies > now) and is_valid(s, view)
    )


cdef inline bint is_valid(const Store* s, const View* view) noexcept nogil:
    """Whether it was stored after the last clear()."""
    return view.record.number > atomic_load_relaxed(&s.header.cleared)


cdef bint look_at(Store* s, uint64_t place, uint64_t generation, View* view) noexcept nogil:
    cdef uint64_t segment = place >> 32, state
    if segment >= s.segments:
        return False
    state = atomic_load_acquire(&s.states[segment])
    if generation_of(state) != generation or state_of(state) == SEGMENT_FREE or state_of(state) >= SEGMENT_DRAIN:
        return False
    if not open_record(s, <uint32_t>segment, <uint32_t>place, generation, view):
        return False
    view.hash = hash_key(s, view.key, view.record.key_length)
    return is_valid(s, view)


cdef uint64_t place_of(const View* view) noexcept nogil:
    return <uint64_t>view.segment << 32 | view.offset


cdef bint same_life(const Store* s, uint32_t segment, uint64_t generation) noexcept nogil:
    atomic_fence_acquire()
    return generation_of(atomic_load_relaxed(&s.states[segment])) == generation


cdef bint still(const Store* s, const View* view) noexcept nogil:
    return same_life(s, view.segment, view.generation)


cdef uint32_t filled_of(const View* view) noexcept nogil:
    cdef uint32_t filled
    if view.filled == NULL:
        return view.record.body_length
    filled = atomic_load_half(view.filled)
    atomic_fence_acquire()
    if filled == FILLED_ABANDONED:
        return filled
    return min(filled, view.record.body_length)


cdef uint32_t progress_of(const View* view, bint* ended) noexcept nogil:
    cdef uint32_t filled
    cdef bint is_final = False
    if view.record.kind & KIND_STREAM and view.filled != NULL:
        # In this order: what is read after the end was seen is all.
        is_final = atomic_load_half(view.filled + 1) != 0
        atomic_fence_acquire()
    filled = filled_of(view)
    ended[0] = is_final or filled == FILLED_ABANDONED or (
        filled == view.record.body_length and not view.record.kind & KIND_STREAM
    )
    return filled


# ---- the parts of a body

cdef bint part_segment(
    Store* s, const View* view, uint32_t part, uint32_t* segment, uint64_t* generation
) noexcept nogil:
    """Which segment has a part of the body, in which life; False: none. One in DRAIN is good for who has a pin."""
    cdef uint64_t entry, state
    if part >= view.parts:
        return False
    entry = atomic_load_acquire(&view.chain[part])
    segment[0] = <uint32_t>(entry & 0xffffff)
    generation[0] = entry >> 24
    if entry == 0 or segment[0] >= s.segments:
        return False
    state = atomic_load_acquire(&s.states[segment[0]])
    return (
        generation_of(state) == generation[0] and is_body(class_of(state))
        and state_of(state) != SEGMENT_FREE
        and atomic_load_relaxed(&s.rows[segment[0]].hash) == view.hash
        and atomic_load_relaxed(&s.rows[segment[0]].part) == (generation[0] << 24 | part)
    )


cdef const char* body_at(
    Store* s, const View* view, uint32_t position, uint32_t* length, uint32_t* segment, uint64_t* generation
) noexcept nogil:
    cdef uint32_t offset, filled = filled_of(view)
    # What is behind the filled part of a segment is of an earlier life.
    if filled == FILLED_ABANDONED or position >= filled:
        return NULL
    length[0] = filled - position
    if view.body != NULL and position // s.segment_size >= view.parts:
        segment[0] = view.segment
        generation[0] = view.generation
        return view.body + (position - view.parts * s.segment_size)
    if not part_segment(s, view, position // s.segment_size, segment, generation):
        return NULL
    offset = position % s.segment_size
    length[0] = min(length[0], s.segment_size - offset)
    return <const char*>s.data + <size_t>segment[0] * s.segment_size + offset


cdef bint copy_body(Store* s, const View* view, uint32_t position, char* target, uint32_t length) noexcept nogil:
    cdef uint32_t piece, segment
    cdef uint64_t generation
    cdef const char* source
    if position > view.record.body_length or length > view.record.body_length - position:
        return False
    while length:
        source = body_at(s, view, position, &piece, &segment, &generation)
        if source == NULL:
            return False
        piece = min(piece, length)
        memcpy(target, source, piece)
        if not same_life(s, segment, generation):
            return False
        target += piece
        position += piece
        length -= piece
    return still(s, view)


# ---- pins

cdef bint pin(Store* s, const View* view) noexcept nogil:
    """Keeps an object as it is: its record, and all parts of its body, until unpin()."""
    cdef uint32_t part, segment
    cdef uint64_t generation
    if not pin_segment(s, view.segment, view.generation):
        return False
    for part in range(view.parts):
        if not part_segment(s, view, part, &segment, &generation) or not pin_segment(s, segment, generation):
            unpin_parts(s, view, part)
            unpin_segment(s, view.segment)
            return False
    return True


cdef void unpin_parts(Store* s, const View* view, uint32_t count) noexcept nogil:
    cdef uint32_t part
    for part in range(count):
        unpin_segment(s, <uint32_t>(view.chain[part] & 0xffffff))


cdef void unpin(Store* s, const View* view) noexcept nogil:
    unpin_parts(s, view, view.parts)
    unpin_segment(s, view.segment)


# ---- what is written again, under a pin: without one a process that was stopped here would write into the next life

cdef void touch(Store* s, const View* view) noexcept nogil:
    cdef CacheRecord* record = <CacheRecord*>view.base
    if view.record.frequency < FREQUENCY_MOST and pin_segment(s, view.segment, view.generation):
        if record.frequency < FREQUENCY_MOST:
            record.frequency += 1
        unpin_segment(s, view.segment)


cdef void set_checked(Store* s, const View* view, uint64_t checked) noexcept nogil:
    if pin_segment(s, view.segment, view.generation):
        atomic_store_relaxed(&(<CacheRecord*>view.base).checked, checked)
        unpin_segment(s, view.segment)


cdef void set_retry_at(Store* s, const View* view, uint64_t retry_at) noexcept nogil:
    cdef CacheRecord* record = <CacheRecord*>view.base
    if pin_segment(s, view.segment, view.generation):
        record.retry_low = <uint32_t>retry_at
        record.retry_high = <uint16_t>(retry_at >> 32)
        unpin_segment(s, view.segment)


cdef uint64_t retry_at(const View* view) noexcept nogil:
    return <uint64_t>view.record.retry_high << 32 | view.record.retry_low
