"""How long plugins keep the event loop, and how long they wait: two histograms for each plugin, in shared memory.

Theory of operation. The region has a table of keys, one a plugin, entered by name as targets are, and for each slot
one row a plugin: the histogram of the time that its hooks ran, that of the time that they waited, and a count of the
stretches over the budget. A row is written by its worker alone; sums are made by readers. Rows stay: a plugin that
comes back after a reload, or in the next worker of the slot, goes on with its own.

A stretch is what a hook does between two looks of the event loop at anything else: a plain function from call to
return, a coroutine from one await to the next. One that is longer than the plugin's budget is told of in the log, at
most once a minute a plugin.
"""

from libc.stdint cimport uint64_t

from fastgate._core.memory.histogram cimport HISTOGRAM_WORDS, Histogram, histogram_record
from fastgate._core.memory.region cimport PLUGINS_LAYOUT, Region

cdef extern from "memory/atomics.h" nogil:
    uint64_t atomic_load_relaxed(const uint64_t* word)
    uint64_t atomic_load_acquire(const uint64_t* word)
    int atomic_swap_if_equal(uint64_t* word, uint64_t* expected, uint64_t desired)

cdef enum:
    OVER = 2 * HISTOGRAM_WORDS          # the word after the two histograms
    ROW = 3976                          # words: whole cache lines
    AGAIN = 60_000_000                  # microseconds

assert OVER < ROW and ROW % 8 == 0


cdef size_t bytes_for(int slots) noexcept:
    return (PLUGINS + <size_t>slots * PLUGINS * ROW) * sizeof(uint64_t)


def plugins_size(int slots) -> int:
    """Bytes of the region, most of which are never touched."""
    return bytes_for(slots)


cdef uint64_t* row(Region region, int slot, int number) noexcept:
    return <uint64_t*>region.base + PLUGINS + (<size_t>slot * PLUGINS + number) * ROW


cdef int enter(Region region, str name) except -2:
    """The number of this plugin, which is entered when it is new; -1 when there is no room."""
    cdef uint64_t* keys = <uint64_t*>region.open("plugins", PLUGINS_LAYOUT, 0)
    cdef uint64_t key, found
    cdef int index
    if region.size < bytes_for(region.slots):
        return -1
    from hashlib import blake2b         # on use: it loads OpenSSL

    digest = blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8, key=region.secret[:16]).digest()
    key = int.from_bytes(digest, "little") or 1
    for index in range(PLUGINS):
        found = atomic_load_acquire(&keys[index])
        if found == 0 and atomic_swap_if_equal(&keys[index], &found, key):
            return index
        if found == key:
            return index
    return -1


def plugin_times(Region region not None, names):
    """What the plugins of these names took in all workers: ``running``, ``waiting`` (Histogram), ``over_budget``."""
    cdef int number, slot
    cdef uint64_t* words
    cdef uint64_t over
    cdef Histogram running, waiting
    found = {}
    for name in names:
        running, waiting, over = Histogram(), Histogram(), 0
        number = enter(region, name)
        if number >= 0:
            for slot in range(region.slots):
                words = row(region, slot, number)
                running.add(words)
                waiting.add(words + HISTOGRAM_WORDS)
                over += atomic_load_relaxed(words + OVER)
        found[name] = {"running": running, "waiting": waiting, "over_budget": over}
    return found


cdef class PluginTimes:
    """Of one plugin in one worker. ``budget`` in seconds; 0 = none."""

    def __init__(self, Region region not None, int slot, str plugin not None, double budget=0.0):
        cdef int number
        if not 0 <= slot < region.slots:
            raise IndexError(f"slot {slot} of {region.slots}")
        number = enter(region, plugin)
        self.region = region
        self.plugin = plugin
        self.budget = <uint64_t>(budget * 1_000_000)
        self.again = AGAIN
        self.words = row(region, slot, number) if number >= 0 else NULL

    cdef int ran(self, uint64_t running) except -1:
        """A hook was done at once."""
        if self.words != NULL:
            histogram_record(self.words, running)
        return 0

    cdef int waited(self, uint64_t running, uint64_t waiting) except -1:
        """A hook is done that waited in between."""
        if self.words != NULL:
            histogram_record(self.words, running)
            histogram_record(self.words + HISTOGRAM_WORDS, waiting)
        return 0

    cdef int held(self, object log, str hook, str route, uint64_t running, uint64_t now) except -1:
        """A stretch was longer than the budget."""
        self.unsaid += 1
        if self.words != NULL:
            self.words[OVER] += 1
        if self.warned_at and now - self.warned_at < self.again:
            return 0
        again = f"; {self.unsaid} times since the last warning" if self.warned_at else ""
        self.warned_at = now
        self.unsaid = 0
        log(
            "warning",
            f"plugin {self.plugin}: {hook} on route {route!r} held the event loop for {running / 1000:.3g} ms, its "
            f"budget is {self.budget / 1000:g} ms{again}",
        )
        return 0

    def __repr__(self):
        return f"<PluginTimes of {self.plugin}>"
