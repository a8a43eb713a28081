"""Looks into the store of the response cache, and does to it what only the core does. Only tests load it.

Theory of operation. `audit` walks everything: the index, the segments, the pins. It may run while others use the store,
but what it says is exact only when nobody does. `Filler` stores in pieces, `Seen` is what a reader keeps of an object.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

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
    check_of,
    copy_body,
    filled_of,
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
    replace_head,
    retry_at,
    set_checked,
    set_retry_at,
    still,
    unpin,
    unpin_segment,
)
from fastgate._core.memory.cache.layout cimport (
    BUCKET,
    FILLED_ABANDONED,
    FOREVER,
    CacheRecord,
    class_of,
    generation_of,
    offset_in,
    owner_of,
    segment_in,
    state_of,
    tag_of,
)

cdef extern from "memory/atomics.h" nogil:
    uint64_t boottime_ms()
    uint64_t monotonic_ns()

_STATES = ("free", "open", "sealed", "reclaim", "drain")


def segments(CacheStore store not None):
    """State, class, owner's slot (or None) and generation of each segment."""
    cdef Store* s = &store.store
    cdef uint32_t number
    found = []
    for number in range(s.segments):
        word = s.states[number]
        state = state_of(word)
        found.append((
            _STATES[state] if state < len(_STATES) else "damaged", class_of(word),
            owner_of(word) - 1 if owner_of(word) else None, generation_of(word),
        ))
    return found


def pins(CacheStore store not None, int slot):
    """How many pins the process of a slot has, in all segments."""
    cdef Store* s = &store.store
    cdef uint32_t number
    if not 0 <= slot < <int>s.slots:
        raise IndexError(slot)
    return sum([s.pins[<size_t>slot * s.pin_stride + number] for number in range(s.segments)])


def audit(CacheStore store not None):
    """What the index leads to: (objects, words that lead nowhere, keys found more than once, parts of bodies)."""
    cdef Store* s = &store.store
    cdef uint64_t bucket, word, place, state
    cdef int number
    cdef uint32_t length, segment, part
    cdef uint64_t generation
    cdef View view
    cdef bint good
    keys = set()
    objects = dangling = parts = 0
    for bucket in range(s.buckets):
        for number in range(BUCKET):
            word = s.index[BUCKET * bucket + number]
            if word == 0:
                continue
            good = segment_in(word) < s.segments
            if good:
                state = s.states[segment_in(word)]
                place = <uint64_t>segment_in(word) << 32 | offset_in(word)
                memset(&view, 0, sizeof(view))
                if look_at(s, place, generation_of(state), &view):
                    good = not (generation_of(state) ^ word >> 40) & 0xff and tag_of(view.hash) == word >> 48
                else:
                    good = False
                    if view.hash and view.record.number <= s.header.cleared:
                        # Cleared, and not yet freed.
                        continue
            if not good:
                dangling += 1
                continue
            objects += 1
            keys.add(view.key[:view.record.key_length])
            for part in range(view.parts):
                if body_at(s, &view, part * s.segment_size, &length, &segment, &generation) == NULL:
                    dangling += 1
                parts += 1
    return objects, dangling, objects - len(keys), parts


def forge(Seen seen not None, head_length=None, body_length=None, kind=None):
    """Changes what a record says of itself, and gives it the check that fits."""
    cdef View* view = &seen.view
    cdef CacheRecord* record = <CacheRecord*>view.base
    if head_length is not None:
        record.head_length = head_length
    if body_length is not None:
        record.body_length = body_length
    if kind is not None:
        record.kind = kind
    record.check = check_of(&seen.store.store, view.generation, view.segment, view.offset, record)


cdef int entry_of(Store* s, Entry* e, bytes key, bytes head, bytes fields, tuple meta) except -1:
    memset(e, 0, sizeof(Entry))
    e.key = PyBytes_AS_STRING(key)
    e.key_length = PyBytes_GET_SIZE(key)
    e.head = PyBytes_AS_STRING(head)
    e.head_length = PyBytes_GET_SIZE(head)
    e.fields = PyBytes_AS_STRING(fields)
    e.fields_length = PyBytes_GET_SIZE(fields)
    e.hash = hash_key(s, e.key, e.key_length)
    e.flags, e.purge, e.checked, e.dies, e.words[0], e.words[1], e.words[2] = meta
    if e.dies == 0:
        e.dies = FOREVER
    return 0


def store_whole(
    CacheStore store not None, bytes key, bytes head, bytes fields, bytes body,
    flags=0, purge=0, checked=0, dies=0, words=(0, 0, 0), now=None, is_new=False
):
    """Stores an object in one go."""
    cdef Entry e
    entry_of(&store.store, &e, key, head, fields, (flags, purge, checked, dies, *words))
    e.body = PyBytes_AS_STRING(body)
    e.body_length = PyBytes_GET_SIZE(body)
    e.is_new = is_new
    return put(&store.store, &e, boottime_ms() if now is None else now)


cdef class Seen:
    """An object that was found, as a reader keeps it."""

    cdef CacheStore store
    cdef View view
    cdef bint is_pinned

    @staticmethod
    def of(CacheStore store not None, bytes key not None, now=None):
        """What is stored under a key; None: nothing that is of use."""
        cdef Seen self = Seen.__new__(Seen)
        cdef Store* s = &store.store
        self.store = store
        if not look(
            s, hash_key(s, PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key)), PyBytes_AS_STRING(key),
            PyBytes_GET_SIZE(key), boottime_ms() if now is None else now, &self.view
        ):
            return None
        return self

    @staticmethod
    def at(CacheStore store not None, place, generation):
        """What is at a place, as `place` and `generation` said it in any process; None: it is not there any more."""
        cdef Seen self = Seen.__new__(Seen)
        self.store = store
        return self if look_at(&store.store, place, generation, &self.view) else None

    def __dealloc__(self):
        if self.is_pinned:
            unpin(&self.store.store, &self.view)

    @property
    def place(self):
        return place_of(&self.view)

    @property
    def generation(self):
        return self.view.generation

    @property
    def segment(self):
        return self.view.segment

    @property
    def number(self):
        return self.view.record.number

    @property
    def parts(self):
        return self.view.parts

    @property
    def key(self):
        return self.view.key[:self.view.record.key_length]

    @property
    def head(self):
        return self.view.head[:self.view.record.head_length]

    @property
    def fields(self):
        return self.view.fields[:self.view.record.fields_length]

    @property
    def meta(self):
        """Flags, purge, checked, dies, the three words, retry_at, frequency."""
        cdef CacheRecord* record = &self.view.record
        return (
            record.flags, record.purge, record.checked, record.dies,
            (record.words[0], record.words[1], record.words[2]), retry_at(&self.view), record.frequency,
        )

    @property
    def filled(self):
        """How many bytes of the body are there; None: it was abandoned."""
        cdef uint32_t filled = filled_of(&self.view)
        return None if filled == FILLED_ABANDONED else filled

    @property
    def ended(self):
        """Whether `filled` is final."""
        cdef bint ended = False
        progress_of(&self.view, &ended)
        return ended

    def hold_part(self, uint32_t position=0):
        """Pins the segment in which a position of the body lies: its number; None: it is not there."""
        cdef uint32_t length, segment
        cdef uint64_t generation
        if body_at(&self.store.store, &self.view, position, &length, &segment, &generation) == NULL:
            return None
        return segment if pin_segment(&self.store.store, segment, generation) else None

    def body(self, position=0, length=None):
        """A copy of the body, or of a piece; None: it is not whole any more."""
        cdef uint32_t size = self.view.record.body_length - position if length is None else length
        cdef bytes value = PyBytes_FromStringAndSize(NULL, size)
        return value if copy_body(&self.store.store, &self.view, position, PyBytes_AS_STRING(value), size) else None

    def still(self):
        return still(&self.store.store, &self.view)

    def pin(self):
        self.is_pinned = pin(&self.store.store, &self.view)
        return self.is_pinned

    def unpin(self):
        if self.is_pinned:
            unpin(&self.store.store, &self.view)
        self.is_pinned = False

    def set_checked(self, value):
        set_checked(&self.store.store, &self.view, value)

    def set_retry_at(self, value):
        set_retry_at(&self.store.store, &self.view, value)

    def replace_head(
        self, bytes head, bytes fields, flags=0, purge=0, checked=0, dies=0, words=(0, 0, 0), now=None
    ):
        cdef Entry e
        entry_of(&self.store.store, &e, b"", head, fields, (flags, purge, checked, dies, *words))
        return replace_head(&self.store.store, &self.view, &e, boottime_ms() if now is None else now)


cdef class Filler:
    """Stores an object in pieces. It has to be published or abandoned, or its process to die."""

    cdef CacheStore store
    cdef Filling filling

    @staticmethod
    def begin(
        CacheStore store not None, bytes key, bytes head, bytes fields, uint32_t length,
        flags=0, purge=0, checked=0, dies=0, words=(0, 0, 0)
    ):
        """None: the store is full, or it is too large."""
        cdef Filler self = Filler.__new__(Filler)
        cdef Entry e
        self.store = store
        entry_of(&store.store, &e, key, head, fields, (flags, purge, checked, dies, *words))
        e.body_length = length
        return self if begin_filling(&store.store, &e, boottime_ms(), &self.filling) else None

    @staticmethod
    def stream(
        CacheStore store not None, bytes key, bytes head, bytes fields, uint64_t most,
        flags=0, purge=0, checked=0, dies=0, words=(0, 0, 0)
    ):
        """For a body whose length is not known. None: the store is full, or the head is too large."""
        cdef Filler self = Filler.__new__(Filler)
        cdef Entry e
        self.store = store
        entry_of(&store.store, &e, key, head, fields, (flags, purge, checked, dies, *words))
        return self if begin_stream(&store.store, &e, most, boottime_ms(), &self.filling) else None

    def publish_stream(
        self, bytes key, bytes head, bytes fields, flags=0, purge=0, checked=0, dies=0, words=(0, 0, 0)
    ):
        """Where it is stored: place, generation; None: it is not."""
        cdef Entry e
        cdef uint64_t place = 0, generation = 0
        entry_of(&self.store.store, &e, key, head, fields, (flags, purge, checked, dies, *words))
        if publish_stream(&self.store.store, &self.filling, &e, boottime_ms(), &place, &generation):
            return place, generation
        return None

    @property
    def place(self):
        return place_of(&self.filling.view)

    @property
    def generation(self):
        return self.filling.view.generation

    def append(self, bytes data):
        return append(
            &self.store.store, &self.filling, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), boottime_ms()
        )

    def publish(self):
        return publish(&self.store.store, &self.filling)

    def abandon(self):
        abandon(&self.store.store, &self.filling)


def release_part(CacheStore store not None, uint32_t segment):
    """What `Seen.hold_part` has pinned."""
    unpin_segment(&store.store, segment)


def scratch(CacheStore store not None):
    """How many segments of streams that are not published each slot says that it has."""
    cdef int slot
    return [store.store.slot_rows[slot].scratch for slot in range(<int>store.store.slots)]


def starve(CacheStore store not None):
    """What a store says that finds no segment."""
    store.store.slot_rows[store.store.slot].starved += 1


def work(CacheStore store not None, int64_t budget, now=None):
    """Frees segments for about so many bytes, whether or not there are too few."""
    store.store.pressed = True
    make_room(&store.store, budget, boottime_ms() if now is None else now)


def free_all(CacheStore store not None, now=None, calls=100000):
    """Frees every segment that can be, as if everything had to make place."""
    cdef int _number
    for _number in range(calls):
        store.store.pressed = True
        make_room(&store.store, 1 << 18, boottime_ms() if now is None else now)


def time_looks(CacheStore store not None, bytes keys, int width, list order, int passes):
    """Nanoseconds of a look-up with a copy of the value, of keys of one width that lie one behind the other."""
    cdef Store* s = &store.store
    cdef char target[16384]
    cdef View view
    cdef int _number
    cdef Py_ssize_t place, found = 0, count = len(order)
    cdef const char* text
    cdef uint64_t began, hash, now = boottime_ms()
    cdef uint32_t* places = <uint32_t*>malloc(4 * max(count, 1))
    if places == NULL:
        raise MemoryError
    try:
        for place in range(count):
            places[place] = order[place]
            if (places[place] + <Py_ssize_t>1) * width > PyBytes_GET_SIZE(keys):
                raise IndexError(places[place])
        began = monotonic_ns()
        for _number in range(passes):
            for place in range(count):
                text = PyBytes_AS_STRING(keys) + <Py_ssize_t>places[place] * width
                hash = hash_key(s, text, width)
                if look(s, hash, text, width, now, &view) and view.record.body_length <= sizeof(target):
                    found += copy_body(s, &view, 0, target, view.record.body_length)
        return (monotonic_ns() - began) / (passes * max(count, 1)), found
    finally:
        free(places)
