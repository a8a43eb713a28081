"""The file of the response cache: one for a host, of a fixed size, mapped by every process that caches.

Theory of operation. A sealed file without a name, as that of the counters (segment.pyx), and apart from it: it has
another size, and another life. It begins with a header that says for how many bytes and slots it was made; all the rest
follows from these two, so that attach() computes where each part lies instead of believing what it reads. The parts are
regions of their own, each on its own pages:

    slots       a row a slot: its process, its counters
    states      a word a segment                                       (layout.pxd has what lies in each word)
    orders      a word a segment: when it was sealed
    ends        a word a segment: when the last of what it holds is of no use any more
    rows        a cache line a segment
    pins        [slot][segment], 32 bits
    index       buckets of 8 words in a cache line
    ghost       fingerprints of what was thrown out
    flights     fetches under way that others may wait for (flights.pyx)
    purges      what was purged, by tag, prefix and number (purges.pyx)
    counts      what was counted for each route (cache_counts.pyx)
    data        the segments

Little but the header is written when it is made: all zeros is an empty store, and a page that nobody has touched costs
nothing. The file is never larger than what it was made for.
"""

import os

cimport cython
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

from fastgate._core.memory.cache.cache_counts cimport counts_bytes
from fastgate._core.memory.cache.flights cimport flights_bytes
from fastgate._core.memory.cache.layout cimport (
    BUCKET,
    CACHE_MAGIC,
    CACHE_PAGE,
    CACHE_PARTS,
    CACHE_VERSION,
    LEAST_SEGMENT,
    MOST_SEGMENT,
    MOST_SEGMENTS,
    SEGMENT_FREE,
    CacheHeader,
    CachePart,
    CacheSlot,
    SegmentRow,
    round_up,
    segment_word,
)
from fastgate._core.memory.cache.purges cimport purges_bytes
from fastgate._core.memory.region cimport (
    CACHE_LAYOUT,
    FLIGHTS_LAYOUT,
    PURGES_LAYOUT,
    ROUTES_LAYOUT,
    Region,
    map_memory,
    region_of,
)

from fastgate._core.memory.region import SegmentError, check_sealed, memory_file

_LAYOUTS = {
    "slots": CACHE_LAYOUT,
    "states": CACHE_LAYOUT,
    "orders": CACHE_LAYOUT,
    "ends": CACHE_LAYOUT,
    "rows": CACHE_LAYOUT,
    "pins": CACHE_LAYOUT,
    "index": CACHE_LAYOUT,
    "ghost": CACHE_LAYOUT,
    "flights": FLIGHTS_LAYOUT,
    "purges": PURGES_LAYOUT,
    "counts": ROUTES_LAYOUT,
    "data": CACHE_LAYOUT,
}
assert len(_LAYOUTS) <= CACHE_PARTS
assert sizeof(CacheHeader) <= CACHE_PAGE
assert sizeof(CacheSlot) == 256 and sizeof(SegmentRow) == 64

MOST_SLOTS = 4096
MOST_BYTES = 1 << 44


def least_segments(int slots) -> int:
    """With how many segments a store for so many slots works: each slot has two open ones and one that it frees."""
    return 4 * slots + 5


def _sizes(uint64_t max_bytes, int slots, uint64_t segment_size, uint64_t segments) -> dict[str, int]:
    """The size of each part, in the order in which they lie. Of ``max_bytes`` whole pages count."""
    max_bytes -= max_bytes % CACHE_PAGE
    cdef uint64_t index = round_up(max_bytes // 40, 8 * BUCKET)
    return {
        "slots": slots * sizeof(CacheSlot),
        "states": 8 * segments,
        "orders": 8 * segments,
        "ends": 8 * segments,
        "rows": sizeof(SegmentRow) * segments,
        "pins": slots * round_up(4 * segments, 64),
        "index": index,
        "ghost": round_up(index * 3 // 8, 64),
        "flights": flights_bytes(slots),
        "purges": purges_bytes(max_bytes),
        "counts": counts_bytes(max_bytes, slots),
        "data": segment_size * segments,
    }


def _whole(sizes) -> int:
    return CACHE_PAGE + sum(round_up(size, CACHE_PAGE) for size in sizes.values())


def _segments(max_bytes, slots, segment_size) -> int:
    """How many segments of this size fit."""
    fixed = _whole(_sizes(max_bytes, slots, segment_size, 0))
    if fixed >= max_bytes:
        return 0
    count = min((max_bytes - fixed) // (segment_size + 24 + sizeof(SegmentRow) + 4 * slots) + 1, MOST_SEGMENTS)
    while count > 0 and _whole(_sizes(max_bytes, slots, segment_size, count)) > max_bytes:
        count -= 1
    return count


def _plan(max_bytes, slots) -> tuple[int, int]:
    """The size of a segment and how many there are; (0, 0) when it is too small."""
    size = MOST_SEGMENT
    while size > LEAST_SEGMENT and size * 256 > max_bytes:
        size //= 2
    while size >= LEAST_SEGMENT:
        count = _segments(max_bytes, slots, size)
        if count >= least_segments(slots):
            return size, count
        size //= 2
    return 0, 0


def needed(int slots) -> int:
    """The smallest ``max_bytes`` with which a store for so many slots works. ValueError: not 1 to 4096 slots."""
    if not 1 <= slots <= MOST_SLOTS:
        raise ValueError(f"slots must be 1 to {MOST_SLOTS}, not {slots}")
    low, high = 0, MOST_BYTES // CACHE_PAGE
    while low < high:
        middle = (low + high) // 2
        if _segments(middle * CACHE_PAGE, slots, LEAST_SEGMENT) >= least_segments(slots):
            high = middle
        else:
            low = middle + 1
    # One page more may be a page more for each of several parts, and leave less: of all sizes from here on none is too
    # small.
    for page in range(low, low + len(_LAYOUTS)):
        if _segments(page * CACHE_PAGE, slots, LEAST_SEGMENT) < least_segments(slots):
            low = page + 1
    return low * CACHE_PAGE


# Its memory stays mapped as long as anything that uses it, in a circle that is collected too.
@cython.no_gc_clear
cdef class CacheFile:
    """The file of a response cache, made by create() or attach(). Unmapped, its descriptor closed, with the last that
    uses it.
    """

    def __init__(self):
        raise TypeError("use CacheFile.create() or CacheFile.attach()")

    @staticmethod
    def create(max_bytes, *, slots=1) -> CacheFile:
        """A new, empty file of at most ``max_bytes``, for ``slots`` processes that store and pin.

        ValueError: not 1 to 4096 slots, or too small for so many: the message says how much is needed. OSError: the
        system refuses the memory.
        """
        cdef CacheFile self = CacheFile.__new__(CacheFile)
        cdef CachePart* part
        cdef Region states
        cdef bytes secret = os.urandom(24), label
        cdef uint64_t offset = CACHE_PAGE
        least = needed(slots)
        if max_bytes < least:
            raise ValueError(f"max_bytes: {max_bytes} is too small for {slots} slots, which need {least} bytes")
        if max_bytes > MOST_BYTES:
            raise ValueError(f"max_bytes: {max_bytes} is more than the {MOST_BYTES} bytes that a cache can have")
        segment_size, segments = _plan(max_bytes, slots)
        sizes = _sizes(max_bytes, slots, segment_size, segments)
        fd = memory_file("fastgate-cache", _whole(sizes))
        try:
            self.mapping = map_memory(fd, _whole(sizes))
        except BaseException:
            if fd >= 0:
                os.close(fd)
            raise
        self.mapping.fd = fd
        self.header = <CacheHeader*>self.mapping.base
        self.header.magic = CACHE_MAGIC
        self.header.version = CACHE_VERSION
        self.header.max_bytes = max_bytes
        self.header.size = self.mapping.size
        self.header.slots = slots
        self.header.segments = segments
        self.header.segment_size = segment_size
        memcpy(&self.header.cookie, <const unsigned char*>secret, 8)
        memcpy(self.header.key, <const unsigned char*>secret + 8, 16)
        for name, size in sizes.items():
            part = &self.header.parts[self.header.count]
            label = name.encode()
            memcpy(part.name, <const char*>label, len(label))
            part.version = _LAYOUTS[name]
            part.offset = offset
            part.size = size
            self.header.count += 1
            offset += round_up(size, CACHE_PAGE)
        self.find_parts()
        # No part of a chain is 0, as the first life of the first segment would be.
        states = self.region("states")
        (<uint64_t*>states.base)[0] = segment_word(1, 0, 0, SEGMENT_FREE)
        return self

    @staticmethod
    def attach(int fd) -> CacheFile:
        """The file behind an inherited descriptor, which from now on belongs to the object.

        SegmentError: it is not the file of a cache, or not sealed, or of another layout than this program knows; the
        descriptor is left alone.
        """
        cdef CacheFile self = CacheFile.__new__(CacheFile)
        check_sealed(fd)
        size = os.fstat(fd).st_size
        if size < CACHE_PAGE:
            raise SegmentError(f"the file of a cache cannot have {size} bytes")
        self.mapping = map_memory(fd, size)
        self.header = <CacheHeader*>self.mapping.base
        if self.header.magic != CACHE_MAGIC:
            raise SegmentError("the descriptor is not the file of a response cache of fastgate")
        if self.header.version != CACHE_VERSION:
            raise SegmentError(
                f"layout {self.header.version} of the cache is not {CACHE_VERSION}: two versions of fastgate met"
            )
        self.find_parts()
        self.mapping.fd = fd
        return self

    cdef int find_parts(self) except -1:
        """Computes where the parts lie, and sees that the header says the same."""
        cdef CacheHeader header = self.header[0]
        cdef CachePart* part
        cdef uint64_t offset = CACHE_PAGE
        cdef uint32_t number = 0
        cdef bytes label
        if not 1 <= header.slots <= MOST_SLOTS or header.max_bytes > MOST_BYTES:
            raise SegmentError("the header of the cache contradicts its size")
        segment_size, segments = _plan(header.max_bytes, header.slots)
        if not segments or segment_size != header.segment_size or segments != header.segments:
            raise SegmentError("the header of the cache contradicts its size")
        sizes = _sizes(header.max_bytes, header.slots, segment_size, segments)
        if (
            header.size != self.mapping.size or header.size != _whole(sizes) or header.count != len(sizes)
        ):
            raise SegmentError("the header of the cache contradicts its size")
        self.regions = {}
        for name, size in sizes.items():
            part = &header.parts[number]
            label = part.name[:16]
            if label.rstrip(b"\0") != name.encode() or part.offset != offset or part.size != size:
                raise SegmentError("the header of the cache contradicts its size")
            if part.version != _LAYOUTS[name]:
                raise SegmentError(
                    f"layout {part.version} of {name!r} in the cache is not {_LAYOUTS[name]}: "
                    "two versions of fastgate met"
                )
            self.regions[name] = region_of(
                self.mapping, offset, name, part.version, size, header.slots, header.key
            )
            offset += round_up(size, CACHE_PAGE)
            number += 1
        self.slots = header.slots
        self.segments = segments
        self.segment_size = segment_size
        self.max_bytes = header.max_bytes
        self.cookie = header.cookie
        memcpy(self.key, header.key, 16)
        return 0

    def region(self, str name not None) -> Region:
        """A part of the file by its name. SegmentError: there is none of this name."""
        try:
            return self.regions[name]
        except KeyError:
            raise SegmentError(f"the file of the cache has no part {name!r}") from None

    @property
    def size(self) -> int:
        """Bytes of the file; those that were never written cost nothing."""
        return self.mapping.size

    @property
    def fd(self) -> int:
        """Its descriptor; -1: none, since this system has no such files: the memory is of this process alone."""
        return self.mapping.fd

    def __repr__(self) -> str:
        return (
            f"<CacheFile fd={self.fd} slots={self.slots} size={self.size} "
            f"segments={self.segments}x{self.segment_size}>"
        )
