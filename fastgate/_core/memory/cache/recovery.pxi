# What a dead process left. Included by cache_store.pyx.


cdef void unlink_all(Store* s, uint32_t segment, uint64_t generation) noexcept nogil:
    """Unlinks what the index still leads to in a segment that is being freed."""
    cdef uint64_t used = atomic_load_acquire(&s.rows[segment].used), word, expected
    cdef uint64_t* bucket
    cdef uint32_t cursor = 0, end = 0
    cdef int half, number
    cdef View view
    if used >> 24 == generation:
        end = min(<uint32_t>(used & 0xffffff), s.segment_size)
    while cursor < end and open_record(s, segment, cursor, generation, &view):
        view.hash = hash_key(s, view.key, view.record.key_length)
        word = index_word(view.hash, generation, segment, cursor)
        for half in range(2):
            bucket = bucket_of(s, view.hash, half)
            for number in range(BUCKET):
                expected = word
                if atomic_load_acquire(&bucket[number]) == word and atomic_swap_if_equal(&bucket[number], &expected, 0):
                    unlinked(s, &view, True)
        cursor += <uint32_t>record_bytes(&view.record, s.segment_size)


cdef void recover_slot(Store* s, int slot) noexcept nogil:
    cdef uint64_t word, used
    cdef uint32_t segment, held
    cdef uint32_t* pins = &s.pins[<size_t>slot * s.pin_stride]
    # A process that never came so far as to count itself has no segment and no pin, and the words of its pins no page.
    cdef uint32_t count = s.segments if atomic_load_relaxed(&s.slot_rows[slot].starts) else 0
    for segment in range(count):
        word = atomic_load_acquire(&s.states[segment])
        if owner_of(word) == slot + 1 and state_of(word) == SEGMENT_OPEN:
            used = atomic_load_acquire(&s.rows[segment].used)
            if used >> 24 == generation_of(word) and (used & 0xffffff):
                seal_segment(s, segment, word, class_of(word))
            else:
                drain_segment(s, segment, word)
        elif owner_of(word) == slot + 1 and state_of(word) == SEGMENT_RECLAIM:
            # What was moved is not linked here any more; the rest is as it was. It stays as old as it is.
            atomic_swap_if_equal(
                &s.states[segment], &word, with_state(word, class_of(word), 0, SEGMENT_SEALED)
            )
        held = atomic_load_half(&pins[segment])
        if held:
            word = atomic_load_acquire(&s.states[segment])
            if not is_body(class_of(word)) and (
                state_of(word) == SEGMENT_RECLAIM or state_of(word) == SEGMENT_DRAIN
            ):
                # A finished fill may have been linked when this had been gone through.
                unlink_all(s, segment, generation_of(word))
            atomic_store_half(&pins[segment], 0)
            free_drained(s, segment)
    if count:
        atomic_store_relaxed(&s.slot_rows[slot].scratch, 0)
    atomic_store_release(&s.slot_rows[slot].pid, 0)
