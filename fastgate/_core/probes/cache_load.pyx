"""Uses the store of the response cache as hard as a process can, for tests that kill such processes.

Theory of operation. `use` reads (copied and pinned), stores in one go and in pieces, replaces heads and deletes, in one
loop without Python, so that a kill falls into the store nearly always, and a process that loses the processor in the
middle of a read finds segments in another life. Each body begins with a hash of the rest of it, and names its key: one
that is not whole, or is of another key, is seen. What was found is counted in words that outlive the process.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.string cimport memcmp, memcpy, memset

from fastgate._core.memory.cache.cache_store cimport (
    CacheStore,
    Entry,
    Filling,
    Store,
    View,
    abandon,
    append,
    begin_filling,
    begin_stream,
    body_at,
    copy_body,
    hash_key,
    look,
    look_at,
    make_room,
    pin,
    pin_segment,
    place_of,
    progress_of,
    publish,
    publish_stream,
    put,
    remove,
    replace_head,
    set_checked,
    set_retry_at,
    still,
    touch,
    unpin,
    unpin_segment,
)
from fastgate._core.memory.cache.layout cimport FILLED_ABANDONED, FOREVER, KIND_STREAM
from fastgate._core.memory.hashing cimport mix64, quick_hash

cdef extern from "memory/atomics.h" nogil:
    uint64_t atomic_add_relaxed(uint64_t* word, uint64_t amount)
    uint64_t atomic_load_relaxed(const uint64_t* word)
    void atomic_store_relaxed(uint64_t* word, uint64_t value)
    uint64_t boottime_ms()

cdef extern from "<time.h>" nogil:
    int CLOCK_THREAD_CPUTIME_ID
    struct timespec:
        long tv_sec
        long tv_nsec
    int clock_gettime(int, timespec*)

cdef extern from "<sched.h>" nogil:
    int sched_yield()

COUNTS = (
    "copied", "pinned", "stored", "filled", "replaced", "deleted", "refused", "followed", "gone",
    "wrong_copied", "wrong_pinned", "wrong_head", "streamed", "read_along", "wrong_along", "wrong_place",
)

cdef enum:
    COPIED
    PINNED
    STORED
    FILLED
    REPLACED
    DELETED
    REFUSED
    FOLLOWED
    GONE
    WRONG_COPIED
    WRONG_PINNED
    WRONG_HEAD
    STREAMED
    READ_ALONG
    WRONG_ALONG
    WRONG_PLACE
    COUNTED
    BOARD = 8                       # words in which each slot says what it streams
    HELD = 3                        # pins at a time
    BODY_MOST = 131072

assert len(COUNTS) == COUNTED


cdef struct Load:
    Store* store
    uint64_t* counts
    uint64_t* boards                # NULL: no process streams
    uint64_t random
    uint64_t now
    char body[BODY_MOST]
    char copy[BODY_MOST]
    char key[32]
    char head[32]


cdef inline uint64_t draw(Load* load) noexcept nogil:
    load.random += 0x9e3779b97f4a7c15u
    return mix64(load.random)


cdef uint64_t make_key(Load* load, Entry* e, uint32_t keys) noexcept nogil:
    """A key, most often one of the first; its head is made of it."""
    cdef uint64_t number = draw(load) % keys
    number = draw(load) % (number + 1)
    memset(e, 0, sizeof(Entry))
    e.key = load.key
    e.key_length = snprintf(load.key, sizeof(load.key), "key %llu", <unsigned long long>number)
    e.head = load.head
    e.head_length = snprintf(load.head, sizeof(load.head), "head of %llu", <unsigned long long>number)
    e.fields = load.key
    e.fields_length = e.key_length
    e.hash = hash_key(load.store, e.key, e.key_length)
    e.dies = FOREVER if draw(load) % 4 else load.now + draw(load) % 200
    return number


cdef void make_body(Load* load, Entry* e, uint64_t number) noexcept nogil:
    cdef uint64_t length = draw(load) % 24, place
    cdef uint64_t salt = draw(load)
    if draw(load) % 4 == 0:
        length = 24 + draw(load) % 1000
    elif draw(load) % 4 == 0:
        length = draw(load) % (BODY_MOST // 8 - 3)
    memcpy(load.body + 8, &number, 8)
    for place in range(length):
        salt += 0x9e3779b97f4a7c15u
        memcpy(load.body + 16 + 8 * place, &salt, 8)
    e.body = load.body
    e.body_length = <uint32_t>(16 + 8 * length)
    salt = quick_hash(e.body_length, load.body + 8, e.body_length - 8)
    memcpy(load.body, &salt, 8)


cdef bint is_whole(const char* body, uint32_t length, uint64_t number) noexcept nogil:
    cdef uint64_t found
    if length < 16:
        return False
    memcpy(&found, body + 8, 8)
    if found != number:
        return False
    memcpy(&found, body, 8)
    return found == quick_hash(length, body + 8, length - 8)


cdef bint copy_and_check(Load* load, View* view, uint64_t number) noexcept nogil:
    """Whether it was read at all: what was copied while it was overwritten does not count."""
    cdef char head[32]
    cdef uint32_t length = view.record.body_length
    cdef bint same_head
    if length > BODY_MOST or view.record.head_length > sizeof(head):
        return False
    memcpy(head, view.head, view.record.head_length)
    if not copy_body(load.store, view, 0, load.copy, length) or not still(load.store, view):
        load.counts[GONE] += 1
        return False
    load.counts[COPIED] += 1
    load.counts[WRONG_COPIED] += not is_whole(load.copy, length, number)
    same_head = quick_hash(0, head, view.record.head_length) == quick_hash(
        0, load.head, snprintf(load.head, sizeof(load.head), "head of %llu", <unsigned long long>number)
    )
    load.counts[WRONG_HEAD] += not same_head
    return True


cdef void check_and_unpin(Load* load, View* view, uint64_t number) noexcept nogil:
    cdef uint32_t position = 0, length = 0, segment
    cdef uint64_t generation
    cdef const char* start
    while position < view.record.body_length and view.record.body_length <= BODY_MOST:
        start = body_at(load.store, view, position, &length, &segment, &generation)
        if start == NULL:
            break
        memcpy(load.copy + position, start, length)
        position += length
    load.counts[PINNED] += 1
    load.counts[WRONG_PINNED] += not (
        position == view.record.body_length and is_whole(load.copy, position, number)
    )
    unpin(load.store, view)


cdef void fill(Load* load, Entry* e, uint64_t number) noexcept nogil:
    cdef Filling filling
    cdef View view
    cdef uint32_t done = 0, piece
    if not begin_filling(load.store, e, load.now, &filling):
        load.counts[REFUSED] += 1
        return
    if look_at(load.store, place_of(&filling.view), filling.view.generation, &view):
        load.counts[FOLLOWED] += 1
    while done < e.body_length:
        piece = <uint32_t>min(1 + draw(load) % 30000, <uint64_t>(e.body_length - done))
        if not append(load.store, &filling, e.body + done, piece, load.now):
            load.counts[REFUSED] += 1
            return
        done += piece
    if draw(load) % 8 == 0:
        abandon(load.store, &filling)
    elif publish(load.store, &filling):
        load.counts[FILLED] += 1


cdef void stream(Load* load, Entry* e, uint64_t number) noexcept nogil:
    """Fills without saying for how long, and says where, so that others read along."""
    cdef Filling filling
    cdef View view
    cdef uint64_t* board = &load.boards[BOARD * load.store.slot]
    cdef uint64_t most = BODY_MOST + draw(load) % 300000, place = 0, generation = 0
    cdef uint32_t done = 0, piece, length = e.body_length
    e.body_length = 0
    if draw(load) % 16 == 0:
        most = draw(load) % BODY_MOST
    if not begin_stream(load.store, e, most, load.now, &filling):
        load.counts[REFUSED] += 1
        return
    atomic_store_relaxed(&board[0], place_of(&filling.view))
    atomic_store_relaxed(&board[1], filling.view.generation)
    while done < length:
        piece = <uint32_t>min(1 + draw(load) % 10000, <uint64_t>(length - done))
        if not append(load.store, &filling, e.body + done, piece, load.now):
            load.counts[REFUSED] += 1
            return
        done += piece
        wait_at_times(load)
    if draw(load) % 8 == 0:
        abandon(load.store, &filling)
    elif publish_stream(load.store, &filling, e, load.now, &place, &generation):
        load.counts[STREAMED] += 1
        if look_at(load.store, place, generation, &view):
            if view.record.body_length != length or view.record.kind & KIND_STREAM:
                load.counts[WRONG_PLACE] += 1
            copy_and_check(load, &view, number)


cdef bint has_begun_well(const char* body, uint32_t length, const char* key, uint32_t key_length) noexcept nogil:
    """Whether it is how a body of this key begins."""
    cdef char expected[32]
    cdef uint64_t number = 0, one, two
    cdef uint32_t place = 16
    if length < 16:
        return True
    memcpy(&number, body + 8, 8)
    if key_length != <uint32_t>snprintf(
        expected, sizeof(expected), "key %llu", <unsigned long long>number
    ) or memcmp(expected, key, key_length):
        return False
    while place + 16 <= length:
        memcpy(&one, body + place, 8)
        memcpy(&two, body + place + 8, 8)
        if two - one != 0x9e3779b97f4a7c15u:
            return False
        place += 8
    return True


cdef bint copy_pinned(Load* load, View* view, uint32_t length) noexcept nogil:
    """What is there of a stream, each part under a pin of its own."""
    cdef uint32_t position = 0, piece, segment
    cdef uint64_t generation
    cdef const char* start
    while position < length:
        start = body_at(load.store, view, position, &piece, &segment, &generation)
        if start == NULL or not pin_segment(load.store, segment, generation):
            return False
        piece = min(piece, length - position)
        memcpy(load.copy + position, start, piece)
        unpin_segment(load.store, segment)
        position += piece
    return still(load.store, view)


cdef void read_along(Load* load) noexcept nogil:
    """Reads what another process is streaming, or was."""
    cdef uint64_t* board = &load.boards[BOARD * (draw(load) % load.store.slots)]
    cdef uint64_t place = atomic_load_relaxed(&board[0]), number = 0
    cdef View view
    cdef char key[32]
    cdef uint32_t length
    cdef bint ended, good
    if not look_at(load.store, place, atomic_load_relaxed(&board[1]), &view):
        return
    if view.record.key_length > sizeof(key) or not view.record.kind & KIND_STREAM:
        return
    memcpy(key, view.key, view.record.key_length)
    length = progress_of(&view, &ended)
    if length == FILLED_ABANDONED or length > BODY_MOST:
        return
    if draw(load) % 2:
        good = copy_body(load.store, &view, 0, load.copy, length)
    else:
        good = copy_pinned(load, &view, length)
    if not good:
        load.counts[GONE] += 1
        return
    load.counts[READ_ALONG] += 1
    memcpy(&number, load.copy + 8, 8)
    if not has_begun_well(load.copy, length, key, view.record.key_length) or (
        ended and not is_whole(load.copy, length, number)
    ):
        load.counts[WRONG_ALONG] += 1


cdef void wait_at_times(Load* load) noexcept nogil:
    """Any process may lose the processor anywhere; here it does so now and then."""
    if draw(load) % 16 == 0:
        sched_yield()


cdef void use_once(Load* load, uint32_t keys, View* held, uint64_t* numbers, int* count) noexcept nogil:
    cdef Entry e
    cdef View view
    cdef uint64_t number = make_key(load, &e, keys), what = draw(load) % 100
    cdef Store* s = load.store
    cdef bint found
    if what < 70:
        found = look(s, e.hash, e.key, e.key_length, load.now, &view)
        if found:
            wait_at_times(load)
        if what < 45:
            if found and copy_and_check(load, &view, number):
                wait_at_times(load)
                touch(s, &view)
                if what < 5:
                    set_checked(s, &view, draw(load))
                    set_retry_at(s, &view, draw(load))
            elif not found:
                what = 80
        elif found and pin(s, &view):
            touch(s, &view)
            held[count[0]] = view
            numbers[count[0]] = number
            count[0] += 1
            if count[0] == HELD:
                while count[0]:
                    count[0] -= 1
                    check_and_unpin(load, &held[count[0]], numbers[count[0]])
    elif what < 72:
        load.counts[DELETED] += remove(s, e.hash, e.key, e.key_length)
    elif what < 77:
        if look(s, e.hash, e.key, e.key_length, load.now, &view):
            load.counts[REPLACED] += replace_head(s, &view, &e, load.now)
    elif what < 80:
        make_body(load, &e, number)
        fill(load, &e, number)
    elif load.boards != NULL and what < 86:
        make_body(load, &e, number)
        stream(load, &e, number)
    elif load.boards != NULL and what < 92:
        read_along(load)
    else:
        what = 80
    if what == 80:
        make_body(load, &e, number)
        # Whoever believes that there is none may be wrong.
        e.is_new = draw(load) & 1
        if put(s, &e, load.now):
            load.counts[STORED] += 1
        else:
            load.counts[REFUSED] += 1


def use(
    CacheStore store not None, uint64_t[::1] counts, uint64_t seed, uint32_t keys, uint64_t rounds=0,
    uint64_t[::1] boards=None
):
    """Uses the store so many times, or without end, and counts what was found: `COUNTS` says in which word what.

    With boards, 8 words a slot that all processes share, it streams too, and reads along what others stream.
    """
    cdef Load load
    cdef View held[HELD]
    cdef uint64_t numbers[HELD]
    cdef int count = 0
    cdef uint64_t done = 0
    if counts.shape[0] < COUNTED or not store.can_store():
        raise ValueError("a slot, and a word for each count")
    load.store = &store.store
    load.counts = &counts[0]
    load.boards = NULL
    if boards is not None:
        if boards.shape[0] < BOARD * <Py_ssize_t>store.store.slots:
            raise ValueError(f"{BOARD} words a slot")
        load.boards = &boards[0]
    load.random = seed
    with nogil:
        while rounds == 0 or done < rounds:
            if done % 16 == 0:
                load.now = boottime_ms()
            use_once(&load, keys, held, numbers, &count)
            done += 1
        while count:
            count -= 1
            check_and_unpin(&load, &held[count], numbers[count])


def store_together(CacheStore store not None, uint64_t[::1] meeting, int processes, uint32_t keys):
    """Stores under one key after the other, each at the same instant as the other processes that do so."""
    cdef Store* s = &store.store
    cdef Entry e
    cdef uint32_t number, spins
    cdef uint64_t now = boottime_ms()
    if meeting.shape[0] < 1 or not store.can_store():
        raise ValueError("a slot, and a word to meet at")
    with nogil:
        for number in range(keys):
            memset(&e, 0, sizeof(e))
            e.key = e.head = e.fields = e.body = <const char*>&number
            e.key_length = e.body_length = sizeof(number)
            e.hash = hash_key(s, e.key, e.key_length)
            e.dies = FOREVER
            atomic_add_relaxed(&meeting[0], 1)
            spins = 0
            while atomic_load_relaxed(&meeting[0]) < <uint64_t>processes * (number + 1):
                spins += 1
                if spins % 4096 == 0:
                    sched_yield()
            e.is_new = number & 1
            put(s, &e, now)


cdef uint64_t cpu_ns() noexcept nogil:
    """Processor time of this thread: what others take from the machine is not in it."""
    cdef timespec now
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now)
    return <uint64_t>now.tv_sec * 1000000000 + <uint64_t>now.tv_nsec


def replay(
    CacheStore store not None, const int64_t[::1] trace, const uint32_t[::1] sizes, Py_ssize_t begin=0, end=None
):
    """Asks for one object after the other, and stores what is not there: (hits, bytes of hits, longest call in ns).

    The call is the one that makes room, in time of the processor.
    """
    cdef Store* s = &store.store
    cdef Entry e
    cdef View view
    cdef int64_t number
    cdef Py_ssize_t place, last = trace.shape[0] if end is None else end
    cdef uint64_t hits = 0, size = 0, longest = 0, began, took, now = boottime_ms()
    cdef bytes body = bytes(1 << 20)
    if not store.can_store() or last > trace.shape[0] or begin < 0:
        raise ValueError("a slot, and a part of the trace")
    for place in range(begin, last):
        number = trace[place]
        if not 0 <= number < sizes.shape[0] or sizes[number] > 1 << 20:
            raise ValueError("an object without a size")
        memset(&e, 0, sizeof(e))
        e.key = e.head = e.fields = <const char*>&number
        e.key_length = sizeof(number)
        e.hash = hash_key(s, e.key, e.key_length)
        e.dies = FOREVER
        if look(s, e.hash, e.key, e.key_length, now, &view):
            touch(s, &view)
            hits += 1
            size += sizes[number]
            continue
        e.body = body
        e.body_length = sizes[number]
        began = cpu_ns()
        make_room(s, 2 * <int64_t>e.body_length, now)
        took = cpu_ns() - began
        longest = max(longest, took)
        put(s, &e, now)
    return hits, size, longest
