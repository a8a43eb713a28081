# Bodies whose length is not known before they end. Included by cache_store.pyx.
#
# Theory of operation. A *stream* is a record of its own, laid out for the most that the body may have, with the parts
# of a chain that are opened one after the other as it grows. It is never in the index: who reads along finds it by its
# place, and sees `filled` grow and, at last, `ended`. Its segments are *scratch*: each slot counts its own, and all
# together have at most an eighth of the store.
#
# When the body is whole a record of exactly its length is stored under the key. It has the number of the stream, so
# that a clear() in between holds for it, and so that of two fetches the one that began later stays.
#
# * What lies in the record itself (a small body, or the tail of a larger one) is copied, and the
#   scratch segment that had it is given back. Who reads along and has pinned it reads on there; who has not finds its
#   bytes gone (`body_at` says NULL) and goes on at the same position of the record that was published.
# * The other parts of a larger one are handed over: the new record leads to them, and they are ordinary parts of a body
#   from then on. Who reads along need not notice.
#
# The record of the stream stays as it is until its segment is freed, with the final count; nothing of another life can
# be read through it, since each of its parts carries the generation of its segment, and the count bounds it. Where the
# body is whole but could not be stored it ends in the same way; its parts stay for who reads along, until others need
# them. What was abandoned says so.


cdef inline uint64_t most_scratch(const Store* s) noexcept nogil:
    return max(s.segments // 8, 1)


cdef uint64_t scratch_of_all(const Store* s) noexcept nogil:
    cdef uint64_t sum = 0
    cdef uint32_t slot
    for slot in range(s.slots):
        if atomic_load_relaxed(&s.slot_rows[slot].starts):
            sum += atomic_load_relaxed(&s.slot_rows[slot].scratch)
    return sum


cdef void set_scratch(Store* s, uint64_t count) noexcept nogil:
    """How many this process has is in its own memory: the word of its slot is for the others."""
    s.scratch = count
    atomic_store_relaxed(&s.slot_rows[s.slot].scratch, count)
    atomic_fence_full()


cdef bint take_scratch(Store* s, Filling* filling) noexcept nogil:
    """Whether one more segment may be used for streams. Of two processes that take the last one both may be refused."""
    set_scratch(s, s.scratch + 1)
    if scratch_of_all(s) <= most_scratch(s):
        filling.scratch += 1
        return True
    set_scratch(s, s.scratch - 1)
    return False


cdef void return_scratch(Store* s, Filling* filling) noexcept nogil:
    if filling.scratch:
        set_scratch(s, s.scratch - filling.scratch)
        filling.scratch = 0


cdef bint begin_stream(Store* s, const Entry* e, uint64_t most, uint64_t now, Filling* filling) noexcept nogil:
    cdef Entry entry = e[0]
    cdef uint64_t front = sizeof(CacheRecord) + 8 + e.key_length + e.fields_length + <uint64_t>e.head_length
    cdef int class_
    filling.active = False
    filling.scratch = 0
    # A count of bytes may not look like FILLED_ABANDONED.
    most = min(min(most, most_scratch(s) * s.segment_size), <uint64_t>FILLED_ABANDONED - 1)
    front += 8 * parts_of(most, s.segment_size)
    if s.slot < 0 or front > s.largest or e.key_length > 0xffff or e.fields_length > 0xffff:
        s.counts.too_large += 1
        return False
    if scratch_of_all(s) >= most_scratch(s):
        return refuse(s)
    make_room(s, 2 * <int64_t>front, now)
    entry.body_length = <uint32_t>most
    class_ = class_for(s, e.hash)
    if not lay_out(s, &entry, KIND_CHAIN | KIND_FILLED | KIND_STREAM, class_, 0, now, &filling.view):
        return refuse(s)
    committed(
        s, class_, record_bytes(&filling.view.record, s.segment_size), filling.view.record.number, e.dies
    )
    if not pin_segment(s, filling.view.segment, filling.view.generation):
        return refuse(s)
    filling.hash = e.hash
    filling.filled = 0
    filling.main = is_main(class_)
    filling.active = True
    return True


cdef bint publish_stream(
    Store* s, Filling* filling, const Entry* e, uint64_t now, uint64_t* place, uint64_t* generation
) noexcept nogil:
    cdef View* stream = &filling.view
    cdef View view
    cdef bint stored
    if not filling.active or not stream.record.kind & KIND_STREAM:
        return False
    filling.active = False
    stored = store_stream(s, filling, e, now, &view)
    # Whoever sees the end sees all of the body, and where it is stored once he is told.
    atomic_store_half(stream.filled + 1, 1)
    if stored:
        seal_parts(s, &view)
        drop_parts(s, stream, view.parts)
    else:
        leave_parts(s, stream, filling.filled)
    return_scratch(s, filling)
    unpin_segment(s, stream.segment)
    if stored:
        s.counts.stores += 1
        s.counts.stored_bytes += filling.filled
        place[0] = place_of(&view)
        generation[0] = view.generation
    return stored


cdef bint store_stream(Store* s, Filling* filling, const Entry* e, uint64_t now, View* view) noexcept nogil:
    """Makes the record of what is whole, and links it."""
    cdef View* stream = &filling.view
    cdef Entry entry = e[0]
    cdef uint32_t part, segment
    cdef uint64_t generation
    cdef int kind, class_ = CLASS_MAIN if filling.main else CLASS_PROBATION
    entry.body_length = filling.filled
    kind = kind_for(s, &entry)
    if kind < 0:
        s.counts.too_large += 1
        return False
    if e.hash != filling.hash or not has_key(stream, e.key, e.key_length):
        return False
    make_room(s, 2 * (sizeof(CacheRecord) + <int64_t>e.key_length + e.head_length), now)
    if not lay_out(s, &entry, kind, class_, stream.record.number, now, view):
        return refuse(s)
    for part in range(view.parts):
        if not part_segment(s, stream, part, &segment, &generation):
            s.counts.lost += 1
            return False
        # For the record as it is now: its end may be another one than was known when the part was opened.
        raise_end(s, segment, generation, entry.dies, view.record.number)
        atomic_store_relaxed(&view.chain[part], atomic_load_relaxed(&stream.chain[part]))
    if view.body != NULL and not copy_body(
        s, stream, view.parts * s.segment_size, <char*>view.body,
        <uint32_t>inline_bytes(&view.record, s.segment_size)
    ):
        s.counts.lost += 1
        return False
    committed(s, class_, record_bytes(&view.record, s.segment_size), view.record.number, view.record.dies)
    return link(s, view, e.hash, False)
