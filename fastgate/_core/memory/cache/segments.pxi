# Segments: their lives, who has which, pins. Included by cache_store.pyx.


cdef inline uint64_t next_order(Store* s) noexcept nogil:
    return (atomic_add_relaxed(&s.header.order, 1) + 1) & FOREVER


cdef inline uint64_t stamped(uint64_t generation, uint64_t value) noexcept nogil:
    """48 bits that belong to one life of a segment."""
    return generation << 48 | value


cdef inline uint64_t unstamped(uint64_t word, uint64_t generation, uint64_t otherwise) noexcept nogil:
    """What `stamped` put in; something else when it is of another life."""
    return word & FOREVER if word >> 48 == (generation & 0xffff) else otherwise


cdef bint is_pinned(const Store* s, uint32_t segment) noexcept nogil:
    cdef uint32_t slot
    for slot in range(s.slots):
        # The words of a slot that never had a process are not looked at: reading would allocate their page.
        if atomic_load_relaxed(&s.slot_rows[slot].starts) and atomic_load_half(
            &s.pins[<size_t>slot * s.pin_stride + segment]
        ):
            return True
    return False


cdef bint free_drained(Store* s, uint32_t segment) noexcept nogil:
    """DRAIN → FREE, a generation later, if nobody has a pin on it. Any process may do it."""
    cdef uint64_t word = atomic_load_acquire(&s.states[segment])
    if state_of(word) != SEGMENT_DRAIN:
        return False
    # Whose pin is not seen from here on sees the word, which is DRAIN.
    atomic_fence_full()
    if is_pinned(s, segment):
        return False
    if not atomic_swap_if_equal(
        &s.states[segment], &word, segment_word(generation_of(word) + 1, 0, 0, SEGMENT_FREE)
    ):
        return False
    s.counts.freed += 1
    return True


cdef uint32_t count_free(Store* s) noexcept nogil:
    """How many segments are free, after what waited for its last pin was looked at. Sets whether there are too few."""
    cdef uint32_t segment, free = 0
    cdef uint64_t word, wanted = s.reserve + (4 if s.has_two else 2) + s.slots // 4
    cdef uint64_t wish = atomic_load_relaxed(&s.header.wish)
    for segment in range(s.segments):
        word = atomic_load_relaxed(&s.states[segment])
        if state_of(word) == SEGMENT_FREE:
            free += 1
        elif state_of(word) == SEGMENT_DRAIN:
            free += free_drained(s, segment)
    s.free = free
    if wish > s.segments // 8:
        wish = s.segments // 8
    # Half of it: each part that finds none makes room for itself once more.
    s.pressed = free < wanted + wish // 2
    return free


cdef int open_segment(Store* s, int kind, bint from_reserve, uint64_t* opened) noexcept nogil:
    """FREE → OPEN; -1: there is none, or only those that are kept for what is moved."""
    cdef uint32_t step, segment = s.hint
    cdef uint64_t word, mine
    if count_free(s) <= (0 if from_reserve else s.reserve):
        return -1
    for step in range(s.segments):
        segment = segment + 1 if segment + 1 < s.segments else 0
        word = atomic_load_acquire(&s.states[segment])
        if state_of(word) != SEGMENT_FREE:
            continue
        mine = segment_word(generation_of(word), s.slot + 1, kind, SEGMENT_OPEN)
        if not atomic_swap_if_equal(&s.states[segment], &word, mine):
            continue
        # A reader that sees a byte of what is written from now on sees the word too.
        atomic_fence_full()
        s.hint = segment
        s.free -= 1
        atomic_store_relaxed(&s.rows[segment].newest, 0)
        atomic_store_relaxed(&s.rows[segment].live, (generation_of(mine) & 0xffffff) << 40)
        atomic_store_relaxed(&s.ends[segment], stamped(generation_of(mine), 0))
        atomic_store_release(&s.rows[segment].used, generation_of(mine) << 24)
        opened[0] = mine
        return segment
    return -1


cdef void note_starved(Store* s) noexcept nogil:
    """No segment was to be had, also after some work."""
    cdef uint64_t* count = &s.slot_rows[s.slot].starved
    atomic_store_relaxed(count, atomic_load_relaxed(count) + 1)


cdef uint64_t starved_of_all(const Store* s) noexcept nogil:
    cdef uint64_t sum = 0
    cdef uint32_t slot
    for slot in range(s.slots):
        if atomic_load_relaxed(&s.slot_rows[slot].starts):
            sum += atomic_load_relaxed(&s.slot_rows[slot].starved)
    return sum


cdef inline uint64_t with_state(uint64_t word, int kind, int owner, int state) noexcept nogil:
    return segment_word(generation_of(word), owner, kind, state)


cdef bint seal_segment(Store* s, uint32_t segment, uint64_t word, int kind) noexcept nogil:
    """OPEN or RECLAIM → SEALED, behind all that were sealed before."""
    atomic_store_relaxed(&s.orders[segment], stamped(generation_of(word), next_order(s)))
    return atomic_swap_if_equal(&s.states[segment], &word, with_state(word, kind, 0, SEGMENT_SEALED))


cdef void seal(Store* s, OpenSegment* open) noexcept nogil:
    if open.segment >= 0:
        seal_segment(s, open.segment, open.word, class_of(open.word))
        open.segment = -1


cdef bint drain_segment(Store* s, uint32_t segment, uint64_t word) noexcept nogil:
    """→ DRAIN, of what nothing in the index leads to any more; and on to FREE if nobody has a pin on it."""
    if not atomic_swap_if_equal(
        &s.states[segment], &word, with_state(word, class_of(word), 0, SEGMENT_DRAIN)
    ):
        return False
    free_drained(s, segment)
    return True


cdef void add_live(Store* s, uint32_t segment, uint64_t generation, int objects, int64_t size) noexcept nogil:
    """Counts what the index leads to. A process that dies in between leaves it wrong for one life of the segment."""
    cdef uint64_t* place = &s.rows[segment].live
    cdef uint64_t word = atomic_load_relaxed(place)
    cdef int64_t count, total
    cdef int tries
    for tries in range(MOST_SWAPS):
        if word >> 40 != (generation & 0xffffff):
            return
        count = <int64_t>(word >> 24 & 0xffff) + objects
        total = <int64_t>(word & 0xffffff) + size
        count = min(max(count, 0), 0xffff)
        total = min(max(total, 0), 0xffffff)
        if atomic_swap_if_equal(place, &word, word >> 40 << 40 | <uint64_t>count << 24 | <uint64_t>total):
            return


# ---- room for records

cdef inline bint has_room(Store* s, OpenSegment* open, uint64_t size) noexcept nogil:
    if open.segment >= 0 and atomic_load_relaxed(&s.states[open.segment]) != open.word:
        # It is not ours any more: somebody took this process for dead.
        open.segment = -1
    return open.segment >= 0 and open.used + size <= s.segment_size


cdef void choose_open(Store* s, int kind, uint64_t size) noexcept nogil:
    """Makes that the open segment of a class which this fits into best; it is none where a new one has to be opened.

    What is large leaves room at the end of a segment, which the small ones fill, while the large go on in the other.
    """
    cdef OpenSegment one = s.open[kind], two = s.beside[kind]
    cdef bint first = has_room(s, &one, size), second = has_room(s, &two, size)
    if first and (not second or one.used >= two.used):
        pass
    elif second or (s.has_two and two.segment < 0) or (two.segment >= 0 and two.used > one.used):
        one, two = two, one
        if not second:
            seal(s, &one)
    else:
        seal(s, &one)
    s.open[kind] = one
    s.beside[kind] = two


cdef unsigned char* allocate(
    Store* s, int kind, uint64_t size, bint from_reserve, uint32_t* segment, uint32_t* offset, uint64_t* generation
) noexcept nogil:
    """Room in an own open segment of a class, which `committed` makes part of it; NULL: there is none."""
    cdef OpenSegment* open = &s.open[kind]
    cdef int found
    if size > s.segment_size:
        return NULL
    choose_open(s, kind, size)
    if open.segment < 0:
        found = open_segment(s, kind, from_reserve, &open.word)
        if found < 0:
            return NULL
        open.segment = found
        open.used = 0
    segment[0] = open.segment
    offset[0] = open.used
    generation[0] = generation_of(open.word)
    return s.data + <size_t>open.segment * s.segment_size + open.used


cdef void committed(Store* s, int kind, uint64_t size, uint64_t number, uint64_t dies) noexcept nogil:
    """What was written into the room that `allocate` gave is a whole record."""
    cdef OpenSegment* open = &s.open[kind]
    cdef uint32_t segment = open.segment
    cdef uint64_t generation = generation_of(open.word)
    open.used += <uint32_t>size
    if number > atomic_load_relaxed(&s.rows[segment].newest):
        atomic_store_relaxed(&s.rows[segment].newest, number)
    note_end(s, segment, generation, dies)
    atomic_store_release(&s.rows[segment].used, generation << 24 | open.used)


cdef inline void note_end(Store* s, uint32_t segment, uint64_t generation, uint64_t dies) noexcept nogil:
    if dies > FOREVER:
        dies = FOREVER
    if dies > unstamped(atomic_load_relaxed(&s.ends[segment]), generation, 0):
        atomic_store_relaxed(&s.ends[segment], stamped(generation, dies))


cdef void raise_end(Store* s, uint32_t segment, uint64_t generation, uint64_t dies, uint64_t number) noexcept nogil:
    """For a part whose object got another record: as long as that is of use, so is the part. Any process may do it."""
    cdef uint64_t word = atomic_load_relaxed(&s.ends[segment])
    cdef uint64_t newest = atomic_load_relaxed(&s.rows[segment].newest)
    cdef int tries
    for tries in range(MOST_SWAPS):
        if unstamped(word, generation, FOREVER) >= dies or atomic_swap_if_equal(
            &s.ends[segment], &word, stamped(generation, min(dies, FOREVER))
        ):
            break
    # One that comes too late makes a segment look newer than it is: it is then not among the first to go after clear().
    for tries in range(MOST_SWAPS):
        if newest >= number or atomic_swap_if_equal(&s.rows[segment].newest, &newest, number):
            break


# ---- pins

cdef bint pin_segment(Store* s, uint32_t segment, uint64_t generation) noexcept nogil:
    """Keeps a segment as it is; False: it is of another life, or about to be."""
    cdef uint64_t word
    if s.slot < 0 or segment >= s.segments:
        return False
    atomic_store_half(&s.own_pins[segment], atomic_load_half(&s.own_pins[segment]) + 1)
    atomic_fence_full()
    word = atomic_load_acquire(&s.states[segment])
    if (
        generation_of(word) == generation
        and (state_of(word) == SEGMENT_OPEN or state_of(word) == SEGMENT_SEALED or state_of(word) == SEGMENT_RECLAIM)
    ):
        s.pinned += 1
        return True
    atomic_store_half(&s.own_pins[segment], atomic_load_half(&s.own_pins[segment]) - 1)
    return False


cdef void unpin_segment(Store* s, uint32_t segment) noexcept nogil:
    cdef uint32_t count
    if segment < s.segments and s.pinned:
        count = atomic_load_half(&s.own_pins[segment])
        s.pinned -= 1
        if count:
            atomic_store_half(&s.own_pins[segment], count - 1)
