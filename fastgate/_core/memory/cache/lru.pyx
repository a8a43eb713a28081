"""A cache of Python objects in one process, which keeps what was used last.

Theory of operation
-------------------
Entries lie in slots: an array of C structs, with two Python lists beside it for keys and values, so that the garbage
collector sees them. Slots are linked three ways: in chains of a hash table, in the order of use, and, where they hold
nothing, in a list of free ones. Every operation is one look-up and a few links.

**Python code may run in the middle.** A size function, a clock, the `__eq__` and `__hash__` of keys, and the `__del__`
of whatever leaves are programs of the caller: they may use the same cache, raise, or let another thread run, which does
the same. So the lock of the interpreter is not what keeps the links right. Three rules are:

1. What is asked of the caller's code is asked first: hash, size, time. Of memory, too: making a list may start the
   garbage collector, which runs `__del__`.
2. `find` compares keys and is the last step in which foreign code runs. Its answer is of the moment in which it
   returns: after each comparison it looks whether the slot still holds what was compared (`life`) in the same table
   (`epoch`), and begins again if not. New entries go to the end of a chain, so that one that came during a comparison
   is ahead. From there to the end of the change only C runs: no object is made, none is let go.
3. What leaves is put into a list of *dead* slots, which still own their objects. It is emptied as the last step, when
   everything is right again: each object goes after its slot is free. `__del__` may then do what it likes.

A module of this package is loaded with the lock of the interpreter, by a free-threaded interpreter too.

Entries that have expired go when they are asked for or when they are the ones used least lately.

Cost: 60 to 64 bytes an entry beside key and value where the arrays are full, up to twice that where they have grown.
"""

from collections import namedtuple
from operator import index
from types import GenericAlias

from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE, PyList_SET_ITEM
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.object cimport Py_EQ, PyObject, PyObject_Hash, PyObject_RichCompareBool
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.math cimport ceil
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memcpy

from fastgate._core.memory.hashing cimport mix64

cdef extern from "memory/atomics.h" nogil:
    uint64_t boottime_ns()

cdef enum:
    NONE = -1                   # in place of a slot
    FIRST = 8                   # slots
    MOST = 1 << 30              # slots

cdef uint64_t NEVER = <uint64_t>-1
cdef int64_t LARGEST = <int64_t>((<uint64_t>1 << 63) - 1)
cdef object DEFAULT = object()

LRUStats = namedtuple("LRUStats", "entries bytes hits misses evictions expired refused", module=__name__)
LRUStats.__doc__ = "What an LRUCache holds, and what has happened to it since it was made."


cdef uint64_t nanoseconds(object seconds) except? 0:
    """Seconds as whole nanoseconds, upwards; 0 = none or less, NEVER = more than can be counted."""
    cdef double value = seconds
    if value != value:
        raise ValueError(f"{seconds!r} is not a valid number of seconds")
    if value >= 1e10:
        return NEVER
    return <uint64_t>ceil(value * 1e9) if value > 0 else 0


cdef int64_t bytes_of(object size) except? -1:
    """What a size function returned; the most that can be counted for what is more."""
    size = index(size)
    if size < 0:
        raise ValueError(f"the size function returned {size!r}; a size must be 0 or more")
    return min(size, LARGEST)


cdef object put_into(list items, Py_ssize_t slot, object item):
    """Puts an item in the place of another, which is the result: no code of either runs."""
    cdef object old = <object>PyList_GET_ITEM(items, slot)
    Py_INCREF(item)
    PyList_SET_ITEM(items, slot, item)
    Py_DECREF(old)              # the list's reference; ours is left
    return old


cdef inline void swap_items(list one, list other, Py_ssize_t slot) noexcept:
    """Two references change places, and are not counted."""
    cdef PyObject* first = PyList_GET_ITEM(one, slot)
    cdef PyObject* second = PyList_GET_ITEM(other, slot)
    PyList_SET_ITEM(one, slot, <object>second)
    PyList_SET_ITEM(other, slot, <object>first)


cdef class LRUCache:
    """At most ``max_entries`` objects, or objects of ``max_bytes`` together; the least recently used one leaves first.

    ``size`` is a function that returns the bytes of a value, and has to be given with ``max_bytes``. ``ttl`` is how
    many seconds a value is good for (None: for ever), on a clock that also counts while the machine sleeps; ``clock``
    is another clock, a function that returns seconds. Keys are hashable, values are any objects::

        pages = LRUCache(max_bytes=64 << 20, size=len, ttl=60)
        pages.put("/", b"<html>")
        pages.get("/")                          # b"<html>"; None after a minute

    Every method takes constant time, but for clear(). Threads may use one cache together, and so may the functions that
    it calls: size functions, clocks, and what keys and values do when they are compared and when they are deleted.

    Raises ValueError when neither bound is given or one of the numbers is not positive.
    """

    __class_getitem__ = classmethod(GenericAlias)

    def __cinit__(self, max_entries=None, *, max_bytes=None, size=None, ttl=None, clock=None):
        if max_entries is None and max_bytes is None:
            raise ValueError("max_entries or max_bytes must be given")
        if max_entries is not None and not 1 <= max_entries <= MOST:
            raise ValueError(f"max_entries must be a whole number from 1 to {MOST}, not {max_entries!r}")
        if max_bytes is not None and not 1 <= max_bytes <= LARGEST:
            raise ValueError(f"max_bytes must be a whole number from 1 to {LARGEST}, not {max_bytes!r}")
        if max_bytes is not None and size is None:
            raise ValueError("max_bytes needs size, a function that returns the bytes of a value")
        if ttl is not None and not ttl > 0:
            raise ValueError(f"ttl must be more than 0 seconds, not {ttl!r}")
        self.max_entries = MOST if max_entries is None else max_entries
        self.max_bytes = LARGEST if max_bytes is None else max_bytes
        self.size = size
        self.clock = clock
        self.ttl = NEVER if ttl is None else nanoseconds(ttl)
        self.timed = ttl is not None
        self.empty()

    def __dealloc__(self):
        PyMem_Free(self.slots)
        PyMem_Free(self.table)

    cdef void empty(self) noexcept:
        """No slots, no table; not for memory that is still there."""
        self.slots = NULL
        self.table = NULL
        self.keys = self.values = None
        self.capacity = self.used = self.count = 0
        self.bytes = 0
        self.newest = self.oldest = self.free = self.dead = NONE
        self.epoch += 1

    cdef uint64_t now(self) except? 0:
        return boottime_ns() if self.clock is None else nanoseconds(self.clock())

    cdef int32_t find(self, object key, Py_hash_t hashed) except -2:
        """The slot of a key, NONE = it is not there. See above: foreign code may run until this returns."""
        cdef object own
        cdef int32_t slot
        cdef uint32_t life
        cdef uint64_t epoch
        cdef bint equal
        while True:
            if self.capacity == 0 or not self.is_whole():
                return NONE
            epoch = self.epoch
            slot = self.table[mix64(<uint64_t>hashed) & self.mask]
            while slot != NONE:
                if self.slots[slot].hash != hashed:
                    slot = self.slots[slot].chain
                    continue
                if PyList_GET_ITEM(self.keys, slot) == <PyObject*>key:
                    return slot
                own = <object>PyList_GET_ITEM(self.keys, slot)
                life = self.slots[slot].life
                equal = PyObject_RichCompareBool(own, key, Py_EQ)
                if self.epoch != epoch or self.slots[slot].life != life or not self.is_whole():
                    # If it was removed, this is what ends it, and its code may run as well: all is read anew.
                    own = None
                    break
                own = None
                if equal:
                    return slot
                slot = self.slots[slot].chain
            else:
                return NONE

    cdef inline bint is_whole(self) noexcept:
        """False only while the collector takes the cache apart: what is still called then finds it empty."""
        return (
            self.keys is not None and self.values is not None
            and PyList_GET_SIZE(self.keys) == self.capacity and PyList_GET_SIZE(self.values) == self.capacity
        )

    cdef int grow(self) except -1:
        """Makes room for more slots. Foreign code may run in it, which may have done the same."""
        cdef int32_t before = self.capacity
        cdef int64_t capacity = min(<int64_t>before * 2, max(<int64_t>self.max_entries + FIRST, before + FIRST))
        cdef int64_t places, place
        cdef int32_t slot
        cdef Slot* slots
        cdef int32_t* table
        cdef list keys, values
        capacity = max(capacity, FIRST)
        if capacity > MOST:
            raise MemoryError
        places = FIRST
        while places < capacity:
            places *= 2
        keys = [None] * capacity
        values = [None] * capacity
        slots = <Slot*>PyMem_Malloc(capacity * sizeof(Slot))
        table = <int32_t*>PyMem_Malloc(places * sizeof(int32_t))
        if slots == NULL or table == NULL:
            PyMem_Free(slots)
            PyMem_Free(table)
            raise MemoryError
        if self.capacity != before or before and not self.is_whole():
            PyMem_Free(slots)
            PyMem_Free(table)
            if self.capacity == before:
                raise RuntimeError("the cache is being deleted")
            return 0
        if before:
            memcpy(slots, self.slots, self.used * sizeof(Slot))
            for slot in range(self.used):
                # Two references change places: none is counted.
                swap_items(self.keys, keys, slot)
                swap_items(self.values, values, slot)
        for place in range(places):
            table[place] = NONE
        PyMem_Free(self.slots)
        PyMem_Free(self.table)
        self.slots = slots
        self.table = table
        self.mask = places - 1
        self.capacity = capacity
        self.epoch += 1
        # The lists of before hold nothing any more, they may go.
        self.keys = keys
        self.values = values
        slot = self.oldest
        while slot != NONE:
            self.chain(slot)
            slot = slots[slot].newer
        return 0

    cdef void chain(self, int32_t slot) noexcept:
        """Appends a slot to the chain of its hash."""
        cdef int32_t* link = &self.table[mix64(<uint64_t>self.slots[slot].hash) & self.mask]
        while link[0] != NONE:
            link = &self.slots[link[0]].chain
        link[0] = slot
        self.slots[slot].chain = NONE

    cdef void use(self, int32_t slot) noexcept:
        """Makes a slot the newest that is linked nowhere."""
        cdef Slot* entry = &self.slots[slot]
        entry.older = self.newest
        entry.newer = NONE
        if self.newest == NONE:
            self.oldest = slot
        else:
            self.slots[self.newest].newer = slot
        self.newest = slot

    cdef void unlink(self, int32_t slot) noexcept:
        """Takes a slot out of the order of use."""
        cdef Slot* entry = &self.slots[slot]
        if entry.older == NONE:
            self.oldest = entry.newer
        else:
            self.slots[entry.older].newer = entry.newer
        if entry.newer == NONE:
            self.newest = entry.older
        else:
            self.slots[entry.newer].older = entry.older

    cdef void remove(self, int32_t slot) noexcept:
        """Makes an entry a dead one, whose objects are still there."""
        cdef Slot* entry = &self.slots[slot]
        cdef int32_t* link = &self.table[mix64(<uint64_t>entry.hash) & self.mask]
        while link[0] != slot:
            link = &self.slots[link[0]].chain
        link[0] = entry.chain
        self.unlink(slot)
        self.bytes -= entry.size
        self.count -= 1
        entry.life += 1
        entry.chain = self.dead
        self.dead = slot

    cdef void bury(self) noexcept:
        """Lets the objects of dead entries go. The last step of every change: their code may run, and do anything."""
        cdef int32_t slot
        while self.dead != NONE and self.is_whole():
            slot = self.dead
            self.dead = self.slots[slot].chain
            key = put_into(self.keys, slot, None)
            value = put_into(self.values, slot, None)
            self.slots[slot].chain = self.free
            self.free = slot
            key = None
            value = None

    cdef int32_t live(self, object key, bint touch) except -2:
        """The slot of a key that has not expired, NONE = it is not there; foreign code may run until this returns."""
        cdef Py_hash_t hashed = PyObject_Hash(key)
        # The clock is read where some entry could have expired; an entry of a later moment is not too old for it.
        cdef uint64_t now = self.now() if self.timed else 0
        cdef int32_t slot = self.find(key, hashed)
        if slot != NONE and self.slots[slot].expires <= now:
            self.remove(slot)
            self.expired += 1
            self.bury()
            return NONE
        if slot != NONE and touch and slot != self.newest:
            self.unlink(slot)
            self.use(slot)
        return slot

    def get(self, key, default=None):
        """The value of a key, which is then the most recently used; ``default`` if there is none or it has expired.

        Raises TypeError for a key that is not hashable, as the other methods do.
        """
        cdef int32_t slot = self.live(key, True)
        if slot == NONE:
            self.misses += 1
            return default
        self.hits += 1
        return <object>PyList_GET_ITEM(self.values, slot)

    def put(self, key, value, *, ttl=DEFAULT) -> bool:
        """Stores a value in place of the one that the key had, for ``ttl`` seconds; by default that of the cache.

        False: the value is larger than ``max_bytes``, or its ``ttl`` is not more than 0; it is not stored, and the key
        has no value any more. Raises ValueError when the size function returns a negative number.
        """
        cdef uint64_t lifetime = self.ttl, expires = NEVER
        cdef int64_t size = 0
        cdef Py_hash_t hashed
        cdef int32_t slot
        cdef Slot* entry
        cdef bint refused = False
        if ttl is None:
            lifetime = NEVER
        elif ttl is not DEFAULT:
            lifetime = nanoseconds(ttl)
        if self.size is not None:
            size = bytes_of(self.size(value))
            refused = size > self.max_bytes
        hashed = PyObject_Hash(key)
        if lifetime != NEVER:
            self.timed = True
            expires = self.now() + lifetime
            if expires < lifetime:
                expires = NEVER
        if refused or lifetime == 0:
            slot = self.find(key, hashed)
            self.refused += refused
            if slot != NONE:
                self.remove(slot)
                self.bury()
            return False
        while True:
            slot = self.find(key, hashed)
            if slot != NONE or self.free != NONE or self.used < self.capacity:
                break
            self.grow()
        if not self.is_whole():
            raise RuntimeError("the cache is being deleted")
        if slot != NONE:
            entry = &self.slots[slot]
            value = put_into(self.values, slot, value)
            self.bytes -= entry.size
            self.unlink(slot)
        else:
            if self.count == self.max_entries:
                self.remove(self.oldest)
                self.evictions += 1
            if self.free != NONE:
                slot = self.free
                self.free = self.slots[slot].chain
            else:
                slot = self.used
                self.used += 1
                self.slots[slot].life = 0
            entry = &self.slots[slot]
            entry.hash = hashed
            # The place was empty: what is there is None.
            put_into(self.keys, slot, key)
            put_into(self.values, slot, value)
            self.chain(slot)
            self.count += 1
        entry.size = size
        entry.expires = expires
        self.use(slot)
        # The new one is the last that would go, and fits by itself.
        while self.bytes > self.max_bytes - size:
            self.remove(self.oldest)
            self.evictions += 1
        self.bytes += size
        self.bury()
        return True

    def pop(self, key, default=None):
        """Removes a key: its value, or ``default`` if there is none or it has expired. Counts as get() does."""
        cdef int32_t slot = self.live(key, False)
        if slot == NONE:
            self.misses += 1
            return default
        self.hits += 1
        value = <object>PyList_GET_ITEM(self.values, slot)
        self.remove(slot)
        self.bury()
        return value

    def delete(self, key) -> bool:
        """Removes a key; False if it had no value or an expired one. Counts neither as a hit nor as a miss."""
        cdef int32_t slot = self.live(key, False)
        if slot == NONE:
            return False
        self.remove(slot)
        self.bury()
        return True

    def clear(self) -> None:
        """Removes everything; the counts of stats() stay."""
        # The lists go when this returns, with all that is in them: dead slots too.
        cdef list _keys = self.keys, _values = self.values
        PyMem_Free(self.slots)
        PyMem_Free(self.table)
        self.empty()

    def stats(self):
        """What it holds, and what has happened since it was made; see LRUStats."""
        return LRUStats(
            self.count, self.bytes, self.hits, self.misses, self.evictions, self.expired, self.refused
        )

    def __len__(self):
        return self.count

    def __contains__(self, key):
        return self.live(key, False) != NONE

    def __repr__(self):
        return f"<LRUCache entries={self.count} bytes={self.bytes}>"
