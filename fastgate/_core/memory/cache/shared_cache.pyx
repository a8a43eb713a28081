"""The cache of a host for Python: bytes under keys of bytes, which several processes share.

Theory of operation. A `SharedCache` is a process's view of the store (cache_store.pyx) in a file (cache_file.pyx). A
value is the body of an object whose head is empty and whose fields are the hashes of its tags. All calls hold the
interpreter's lock, so threads of one process never meet inside the store.

**Purges** (purges.pyx): a value has the number of purges that its caller knew when he began to compute it (`since`), or
that there was when it was stored. One that was purged is found out when it is looked for, and removed then; whether it
was, is asked once a purge. So a purge costs the same whatever is stored, and holds for what is stored too late.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_FillInfo, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport UINT32_MAX, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from fastgate._core.memory.cache.cache_file cimport CacheFile
from fastgate._core.memory.cache.cache_store cimport (
    CacheStore,
    Entry,
    View,
    body_at,
    copy_body,
    hash_key,
    look,
    pin,
    put,
    remove,
    remove_this,
    set_checked,
    still,
    touch,
    unpin,
)
from fastgate._core.memory.cache.layout cimport FOREVER
from fastgate._core.memory.cache.purges cimport PURGED_NOT, TAG_NAME, Purges

cdef extern from "memory/atomics.h" nogil:
    uint64_t atomic_load_acquire(const uint64_t* word)
    uint64_t boottime_ms()

cdef enum:
    TRIES = 64                      # of one read, while what is read is moved
    MOST_TAGS = 64


# It unpins in __dealloc__, and has the store until then.
@cython.no_gc_clear
cdef class PinnedValue:
    """A value where it lies in the store, not copied. It stays as it is until close(), whatever becomes of its key.

    It has the buffer protocol, so that ``memoryview(value)`` and ``socket.send(value)`` read from the store itself; a
    large value may lie in several ``parts``. Use it as a context manager, or drop it: it is closed with its last
    reference. What is pinned for long keeps a segment of the store from being freed.
    """

    def __init__(self):
        raise TypeError("use SharedCache.pin()")

    def __dealloc__(self):
        if self.is_open and self.store.can_store():
            unpin(&self.store.store, &self.view)

    def __len__(self):
        return self.view.record.body_length

    def __getbuffer__(self, Py_buffer* buffer, int flags):
        cdef uint32_t length = 0
        cdef const char* start = NULL
        if not self.is_one_piece():
            raise BufferError("the value lies in several parts: use .parts")
        start = self.piece(0, &length)
        PyBuffer_FillInfo(buffer, self, <void*>start, length, 1, flags)
        self.exports += 1

    def __releasebuffer__(self, Py_buffer* buffer):
        self.exports -= 1

    cdef bint is_one_piece(self) noexcept:
        return self.view.parts == 0 or self.view.record.body_length <= self.store.store.segment_size

    cdef const char* piece(self, uint32_t position, uint32_t* length) except NULL:
        cdef uint32_t segment
        cdef uint64_t generation
        cdef const char* start
        if not self.is_open:
            raise ValueError("the value is closed")
        if self.view.record.body_length == 0:
            length[0] = 0
            return ""
        start = body_at(&self.store.store, &self.view, position, length, &segment, &generation)
        if start == NULL:
            raise ValueError("the memory of the cache is damaged")
        return start

    @property
    def parts(self) -> tuple:
        """The value as a sequence of read-only buffers, which together are all of it."""
        cdef uint32_t position = 0, length = 0
        cdef ValuePart part
        if self.is_one_piece():
            return (memoryview(self),)
        found = []
        while position < self.view.record.body_length:
            part = ValuePart.__new__(ValuePart)
            part.start = self.piece(position, &length)
            part.length = length
            part.value = self
            found.append(memoryview(part))
            position += length
        return tuple(found)

    def close(self) -> None:
        """Lets the store have its memory back. BufferError: a memoryview of it is still in use."""
        if not self.is_open:
            return
        if self.exports:
            raise BufferError("the value is in use: release its memoryviews first")
        self.is_open = False
        if self.store.can_store():
            unpin(&self.store.store, &self.view)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()


@cython.no_gc_clear
cdef class ValuePart:
    """One of the parts of a value that lies in several."""

    def __init__(self):
        raise TypeError("use PinnedValue.parts")

    def __getbuffer__(self, Py_buffer* buffer, int flags):
        if not self.value.is_open:
            raise ValueError("the value is closed")
        PyBuffer_FillInfo(buffer, self, <void*>self.start, self.length, 1, flags)
        self.value.exports += 1

    def __releasebuffer__(self, Py_buffer* buffer):
        self.value.exports -= 1


cdef class SharedCache:
    """A cache of bytes in memory that processes share: one file of a fixed size, which costs nothing until it is used.

    What is used is kept, what is not makes place (S3-FIFO): a scan over many keys does not throw out what is asked for
    often. A process may die at any moment without harm to the others.
    """

    def __init__(self):
        raise TypeError("use SharedCache.create() or SharedCache.attach()")

    @staticmethod
    def create(max_bytes=268435456, *, slots=1, slot=0) -> SharedCache:
        """A new cache, empty, of at most ``max_bytes`` with all its tables.

        ``slots`` is how many processes can store at once; this one takes ``slot``, or with None none of them: then it
        can only read, delete and recover. ValueError: max_bytes is too small for so many slots.
        """
        cdef SharedCache self = SharedCache.__new__(SharedCache)
        self.store = CacheStore(CacheFile.create(max_bytes, slots=slots), slot)
        self.purges = Purges(self.store.file.region("purges"))
        return self

    @staticmethod
    def attach(int fd, *, slot=None) -> SharedCache:
        """The cache behind a descriptor that was inherited or received, which belongs to the object from now on.

        SegmentError: it is not a cache of this version. ValueError: another process has the slot. IndexError: no such
        slot. In each case the descriptor is left alone.
        """
        cdef SharedCache self = SharedCache.__new__(SharedCache)
        cdef CacheFile file = CacheFile.attach(fd)
        try:
            self.store = CacheStore(file, slot)
        except BaseException:
            file.mapping.fd = -1
            raise
        self.purges = Purges(file.region("purges"))
        return self

    cdef int need_slot(self) except -1:
        if not self.store.can_store():
            raise RuntimeError("this process has no slot of the cache: it can read and delete; attach with slot=…")
        return 0

    cdef bint find(self, bytes key, View* view) noexcept:
        cdef const char* text = PyBytes_AS_STRING(key)
        cdef Py_ssize_t length = PyBytes_GET_SIZE(key)
        cdef uint64_t hash = hash_key(&self.store.store, text, length), now = boottime_ms()
        cdef int _tries
        for _tries in range(TRIES):
            if not look(&self.store.store, hash, text, length, now, view):
                return False
            if view.record.checked == atomic_load_acquire(&self.purges.head.number) or self.is_valid(view):
                return True
        return False

    cdef bint is_valid(self, View* view) noexcept:
        """Whether what was found was not purged; else it is removed, unless it is somewhere else by now."""
        cdef uint64_t tags[MOST_TAGS]
        cdef uint64_t checked = view.record.checked
        cdef int count = min(view.record.fields_length // <int>sizeof(uint64_t), <int>MOST_TAGS)
        cdef bint with_slot = self.store.can_store()
        memcpy(tags, view.fields, count * sizeof(uint64_t))
        if not still(&self.store.store, view):
            return False
        if self.purges.state_of(view.record.purge, &checked, tags, count, NULL, 0, 0) == PURGED_NOT:
            if with_slot:
                set_checked(&self.store.store, view, checked)
            return True
        remove_this(&self.store.store, view)
        return False

    cdef bytes read(self, bytes key, View* view):
        """A copy of the value; None: there is none. The view is what was copied."""
        cdef bytes value
        cdef int _tries
        for _tries in range(TRIES):
            if not self.find(key, view):
                return None
            value = PyBytes_FromStringAndSize(NULL, view.record.body_length)
            if copy_body(&self.store.store, view, 0, PyBytes_AS_STRING(value), view.record.body_length):
                return value
            # Its segment was freed meanwhile: it is gone, or somewhere else.
        return None

    def get(self, bytes key not None):
        """The value of a key, copied; None: there is none, or its time is over."""
        cdef View view
        value = self.read(key, &view)
        if value is not None and self.store.can_store():
            touch(&self.store.store, &view)
        return value

    def pin(self, bytes key not None):
        """The value of a key where it lies, see `PinnedValue`; None: there is none. RuntimeError: there is no slot."""
        cdef PinnedValue value
        cdef int _tries
        self.need_slot()
        value = PinnedValue.__new__(PinnedValue)
        value.store = self.store
        for _tries in range(TRIES):
            if not self.find(key, &value.view):
                return None
            if pin(&self.store.store, &value.view):
                value.is_open = True
                touch(&self.store.store, &value.view)
                return value
        return None

    def put(self, bytes key not None, value not None, *, ttl=None, tags=(), since=None) -> bool:
        """Stores a value, ``ttl`` seconds from now on at most, until one of its ``tags`` is purged, or until it has to
        make place.

        ``since`` is the moment() at which the value began to be made: a purge that came later holds for it. Without it
        that is now. What was stored with a later moment stays as it is.

        False: it is not stored: it was purged meanwhile, or the store is full of what is in use, or the value is larger
        than a quarter of it. What was stored under the key before is then gone. ValueError: a key of more than 65,535
        bytes, more than 64 tags, a ttl that is not more than 0, or a moment that has not yet come. RuntimeError: this
        process has no slot.
        """
        cdef Entry entry
        cdef Py_buffer buffer
        cdef uint64_t hashes[MOST_TAGS]
        cdef uint64_t checked
        cdef bint stored
        cdef uint64_t now = boottime_ms()
        self.need_slot()
        memset(&entry, 0, sizeof(entry))
        if PyBytes_GET_SIZE(key) > 65535:
            raise ValueError("a key has at most 65,535 bytes")
        entry.dies = FOREVER
        if ttl is not None:
            if not ttl > 0:
                raise ValueError(f"ttl: {ttl} seconds are not more than 0")
            if ttl < 1e9:
                entry.dies = now + <uint64_t>max(<double>ttl * 1000, 1.0)
        entry.purge = atomic_load_acquire(&self.purges.head.number)
        if since is not None:
            if not 0 <= since <= entry.purge:
                raise ValueError(f"since: {since} is not a moment that has come: take one from moment()")
            entry.purge = since
        entry.checked = checked = entry.purge
        entry.fields_length = self.hash_tags(tags, hashes) * sizeof(uint64_t)
        PyObject_GetBuffer(value, &buffer, PyBUF_SIMPLE)
        try:
            entry.key = PyBytes_AS_STRING(key)
            entry.key_length = <uint32_t>PyBytes_GET_SIZE(key)
            entry.hash = hash_key(&self.store.store, entry.key, entry.key_length)
            entry.head = entry.key
            entry.fields = <const char*>hashes
            entry.body = <const char*>buffer.buf
            stored = False
            if buffer.len <= <Py_ssize_t>UINT32_MAX and self.purges.state_of(
                entry.purge, &checked, hashes, entry.fields_length // <int>sizeof(uint64_t), NULL, 0, 0
            ) == PURGED_NOT:
                entry.checked = checked
                entry.body_length = <uint32_t>buffer.len
                stored = put(&self.store.store, &entry, now)
        finally:
            PyBuffer_Release(&buffer)
        if not stored:
            remove(&self.store.store, entry.hash, entry.key, entry.key_length)
        return stored

    cdef int hash_tags(self, tags, uint64_t* hashes) except -1:
        cdef int count = 0
        if isinstance(tags, (str, bytes)):
            raise TypeError("tags: a list of tags, not one of them")
        for tag in tags:
            if count == MOST_TAGS:
                raise ValueError(f"tags: a value has at most {MOST_TAGS}")
            hashes[count] = self.hash_tag(tag)
            count += 1
        return count

    cdef uint64_t hash_tag(self, str tag) except 0:
        cdef bytes text
        if tag is None:
            raise TypeError("a tag is a str")
        text = tag.encode()
        return self.purges.tag_of(TAG_NAME, PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))

    def moment(self) -> int:
        """What `put` takes as ``since``: ask for it before you read what a value is made of."""
        return atomic_load_acquire(&self.purges.head.number)

    def purge(self, str tag not None) -> None:
        """Nothing that has the tag is found from now on, in any process, and nothing that began to be made before.

        It takes no longer for a full cache. Another process that purges at the same instant may be waited for; no other
        call waits, and a process that is killed holds up nobody.
        """
        self.purges.write_tag(self.hash_tag(tag), False)

    def purge_everything(self) -> None:
        """The same for all values, with tags or without. Unlike clear() it holds for what is put with an earlier
        moment too.
        """
        self.purges.write_everything(False)

    def delete(self, bytes key not None) -> bool:
        """Removes a key; whether it was there."""
        cdef const char* text = PyBytes_AS_STRING(key)
        cdef Py_ssize_t length = PyBytes_GET_SIZE(key)
        cdef View view
        cdef bint was_there = self.find(key, &view)
        self.store.can_store()
        return remove(&self.store.store, hash_key(&self.store.store, text, length), text, length) and was_there

    def pop(self, bytes key not None, default=None):
        """Removes a key and returns its value. Of several processes that do so one gets it, the others the default."""
        cdef View view
        cdef int _tries
        self.store.can_store()
        for _tries in range(TRIES):
            value = self.read(key, &view)
            if value is None:
                return default
            if remove_this(&self.store.store, &view):
                return value
        return default

    def clear(self) -> None:
        """Nothing that was stored is found from now on, in any process. It takes no longer for a full cache."""
        self.store.clear()

    def make_room(self) -> None:
        """For a process with nothing else to do: frees memory for what will be stored, about 0.2 ms at most."""
        self.store.make_room()

    def recover(self, int slot) -> None:
        """Gives back what a process that died had in its slot, which another one may take then.

        The process must be surely gone: waited for. Any process may call it, and more than once. IndexError: no such
        slot.
        """
        self.store.recover(slot)

    def stats(self) -> dict:
        """Numbers: what is stored (objects, bytes, segments by state) and what was counted since it was made."""
        return self.store.stats()

    def close(self) -> None:
        """Gives the slot back. BufferError: something is pinned. Reading works on."""
        self.store.give_up()

    @property
    def fd(self) -> int:
        """The descriptor of its file, for other processes; -1: none, since this system has no such files."""
        return self.store.file.fd

    @property
    def size(self) -> int:
        """Bytes of its file: at most max_bytes. What was never used takes no memory."""
        return self.store.file.size

    @property
    def slots(self) -> int:
        """How many processes can store."""
        return self.store.file.slots

    @property
    def slot(self):
        """The slot of this process; None: it can only read and delete."""
        return self.store.slot if self.store.can_store() else None

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def __contains__(self, bytes key not None):
        cdef View view
        return self.find(key, &view)

    def __repr__(self) -> str:
        return f"<SharedCache fd={self.fd} slot={self.slot} of {self.slots} size={self.size}>"
