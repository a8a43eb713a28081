"""The shared-memory segment: what makes N workers one gateway.

Theory of operation. One file in memory (a sealed memfd), created by the supervisor and inherited by every worker as a
descriptor. Its size is fixed when it is created, pages come into being when they are first touched, and the seals
forbid to shrink or grow it, so that no process can make another one fault.

It begins with a directory of its regions: the name of each, its size, and the version of what lies inside. The rest is
the regions, each on its own pages, and each declared by the module that owns it:

    workers     one cache line a slot: heartbeat, process id, number of starts (workers.pxd)
    counters    one Slab a slot (counters.pxd)
    targets     what is known of each target, by name: in flight, first tries, state (targets.pyx)
    events      a ring of what has changed (events.pyx)
    limits      token buckets and fixed windows (limits/rate.pyx)
    logs        sliding logs (limits/rate.pyx)
    shares      requests under limits of concurrency (limits/concurrency.pyx)
    plugins     times of plugins (plugin_times.pyx)

The core outside of this module knows regions only (region.pyx), and none of them knows in which file it lies.
attach() refuses a directory, or a region, of another version.

Safety. A worker writes only the words of its own slot in `workers` and `counters`, so those need no atomic operation;
others read them with relaxed loads. The counters of a worker that died go on with the next one; what must return is
taken back by the supervisor once the process is gone (release()).
"""

import os

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy, memset

from fastgate._core.memory.counters cimport Slab, slab_of, slab_stride
from fastgate._core.memory.events cimport events_size
from fastgate._core.memory.histogram cimport HISTOGRAM_WORDS, Histogram
from fastgate._core.memory.region cimport (
    COUNTERS_LAYOUT,
    EVENTS_LAYOUT,
    LIMITS_LAYOUT,
    LOGS_LAYOUT,
    PLUGINS_LAYOUT,
    SHARES_LAYOUT,
    TARGETS_LAYOUT,
    WORKERS_LAYOUT,
    Region,
    map_memory,
    region_of,
)
from fastgate._core.memory.targets cimport TargetRows, prepare_targets, targets_size
from fastgate._core.memory.workers cimport WorkerSlot, beat, worker_slot

from fastgate._core.memory.region import SegmentError, check_sealed, memory_file

cdef extern from "memory/atomics.h" nogil:
    uint64_t atomic_load_relaxed(const uint64_t* word)
    void atomic_store_relaxed(uint64_t* word, uint64_t value)
    uint64_t monotonic_ms()

cdef enum:
    MAGIC = 0x65746167          # "gate"
    VERSION = 4                 # of the directory
    PAGE = 4096
    REGIONS = 16                # at most

cdef struct RegionEntry:
    char name[16]               # zeros behind it
    uint32_t version
    uint32_t reserved
    uint64_t size

cdef struct Header:
    uint32_t magic
    uint32_t version
    uint64_t size
    uint32_t slots
    uint32_t targets
    uint32_t count              # of the regions
    uint32_t reserved
    unsigned char key[16]
    RegionEntry regions[REGIONS]

_LAYOUTS = {
    "workers": WORKERS_LAYOUT,
    "counters": COUNTERS_LAYOUT,
    "targets": TARGETS_LAYOUT,
    "events": EVENTS_LAYOUT,
    "limits": LIMITS_LAYOUT,
    "logs": LOGS_LAYOUT,
    "shares": SHARES_LAYOUT,
    "plugins": PLUGINS_LAYOUT,
}
assert len(_LAYOUTS) <= REGIONS

_COUNTERS = (
    "accepted", "closed", "requests",
    "responses_none", "responses_1xx", "responses_2xx", "responses_3xx", "responses_4xx", "responses_5xx",
    "bytes_in", "bytes_out", "upstream_connects", "upstream_reuses", "upstream_failures", "replays", "client_gone",
    "policy_errors", "log_lines_dropped", "refused_connections", "retries", "retries_denied", "hedges", "mirrored",
    "rate_limited", "rate_exceeded", "concurrency_limited", "breaker_refused", "given_up",
    "tls_failed_plain_http", "tls_failed_no_certificate", "tls_failed_unknown_authority",
    "tls_failed_expired_certificate", "tls_failed_bad_certificate", "tls_failed_protocol_version",
    "tls_failed_no_shared_cipher", "tls_failed_bad_server_name", "tls_failed_refused_by_client",
    "tls_failed_timeout", "tls_failed_cut", "tls_failed_malformed",
)


cdef inline size_t up(size_t value, size_t unit) noexcept:
    return (value + unit - 1) // unit * unit


cdef class Segment:
    """Shared memory of one gateway, made by create() or attach(). Unmapped, its descriptor closed, with the last that
    uses it.
    """

    def __init__(self):
        raise TypeError("use Segment.create() or Segment.attach()")

    @staticmethod
    def create(
        *, int slots=1, int targets=16384, uint64_t limits=0, uint64_t logs=0, uint64_t shares=0,
        uint64_t plugins=0
    ) -> Segment:
        """A new segment for ``slots`` workers and up to ``targets`` targets, all zeros.

        ``limits``, ``logs``, ``shares`` and ``plugins`` are the sizes of these regions in bytes. Raises ValueError when
        there are not 1 to 4096 slots and 1 to 1048576 targets, OSError when memory is refused.
        """
        if not 1 <= slots <= 4096 or not 1 <= targets <= 1048576:
            raise ValueError("a segment must have 1 to 4096 slots and 1 to 1048576 targets")
        cdef Segment self = Segment.__new__(Segment)
        cdef Header* header
        cdef RegionEntry* entry
        cdef bytes key = os.urandom(16), label
        cdef int fd
        sizes = {
            "workers": slots * sizeof(WorkerSlot),
            "counters": slots * slab_stride(),
            "targets": targets_size(slots, targets),
            "events": events_size(),
            "limits": limits,
            "logs": logs,
            "shares": shares,
            "plugins": plugins,
        }
        size = PAGE + sum(up(each, PAGE) for each in sizes.values())
        fd = memory_file("fastgate", size)
        try:
            self.mapping = map_memory(fd, size)
        except BaseException:
            if fd >= 0:
                os.close(fd)
            raise
        self.mapping.fd = fd
        header = <Header*>self.mapping.base
        header.magic = MAGIC
        header.version = VERSION
        header.size = size
        header.slots = slots
        header.targets = targets
        memcpy(header.key, <const unsigned char*>key, 16)
        for name, version in _LAYOUTS.items():
            entry = &header.regions[header.count]
            label = name.encode()
            memcpy(entry.name, <const char*>label, len(label))
            entry.version = version
            entry.size = sizes[name]
            header.count += 1
        self.find_regions(True)
        return self

    @staticmethod
    def attach(int fd) -> Segment:
        """The segment behind an inherited descriptor, which from now on belongs to the object.

        Raises SegmentError when it is not a segment, a region of it has another layout than this program knows, or it
        is not sealed; the descriptor is left alone.
        """
        cdef Segment self = Segment.__new__(Segment)
        cdef Header* header
        cdef size_t size
        check_sealed(fd)
        size = os.fstat(fd).st_size
        if size < PAGE:
            raise SegmentError(f"a segment of {size} bytes is too small")
        self.mapping = map_memory(fd, size)
        header = <Header*>self.mapping.base
        if header.magic != MAGIC:
            raise SegmentError("not a segment of fastgate")
        if header.version != VERSION:
            raise SegmentError(f"layout {header.version} of the segment is not {VERSION}: two versions of fastgate met")
        self.find_regions(False)
        self.mapping.fd = fd
        return self

    cdef int find_regions(self, bint new) except -1:
        """Reads the directory, and sees that it is one that this program knows."""
        cdef Header* header = <Header*>self.mapping.base
        cdef RegionEntry* entry
        cdef Region region
        cdef uint64_t offset = PAGE
        cdef uint32_t number
        cdef bytes label
        self.regions = {}
        for number in range(min(header.count, <uint32_t>REGIONS)):
            entry = &header.regions[number]
            label = entry.name[:16]
            name = label.rstrip(b"\0").decode("latin-1")
            if entry.size > self.mapping.size - offset:
                raise SegmentError("the segment's header contradicts its size")
            self.regions[name] = region_of(
                self.mapping, offset, name, entry.version, entry.size, header.slots, header.key
            )
            offset += up(entry.size, PAGE)
        for name, version in _LAYOUTS.items():
            # One that is not there, or of another layout, says so.
            region = self.region(name)
            region.open(name, version, 0)
        self.workers = self.region("workers")
        self.counters = self.region("counters")
        region = self.region("targets")
        if (
            header.size != self.mapping.size or offset != header.size
            or not 1 <= header.slots <= 4096 or not 1 <= header.targets <= 1048576
            or self.workers.size != header.slots * sizeof(WorkerSlot)
            or self.counters.size != header.slots * slab_stride()
            or region.size != targets_size(header.slots, header.targets)
        ):
            raise SegmentError("the segment's header contradicts its size")
        if new:
            prepare_targets(region.base, header.targets)
        self.rows = TargetRows(region)
        self.slots = header.slots
        return 0

    cdef int check(self, int slot) except -1:
        if not 0 <= slot < self.slots:
            raise IndexError(f"slot {slot} of {self.slots}")
        return 0

    def region(self, str name not None) -> Region:
        """The region of this name. Raises SegmentError when there is none."""
        try:
            return self.regions[name]
        except KeyError:
            raise SegmentError(f"the segment has no region {name!r}: two versions of fastgate met") from None

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self.mapping.size

    @property
    def fd(self) -> int:
        """Its descriptor; -1: none."""
        return self.mapping.fd

    @property
    def targets(self) -> int:
        """How many rows of targets there are."""
        return self.rows.size

    def occupy(self, int slot) -> None:
        """Makes the calling process the worker of this slot: its process id, one start more, a first heartbeat."""
        cdef WorkerSlot* worker = worker_slot(self.workers, slot)
        atomic_store_relaxed(&worker.pid, os.getpid())
        atomic_store_relaxed(&worker.starts, atomic_load_relaxed(&worker.starts) + 1)
        beat(worker)

    def release(self, int slot) -> None:
        """Undoes what a dead worker left in its slot: in-flight words, open connections, heartbeat. Its counters stay.

        To be called when the process is gone: it writes words that otherwise only the worker writes.
        """
        cdef WorkerSlot* worker = worker_slot(self.workers, slot)
        cdef Slab* slab = slab_of(self.counters, slot)
        self.rows.release(slot)
        atomic_store_relaxed(&slab.closed, atomic_load_relaxed(&slab.accepted))
        atomic_store_relaxed(&worker.pid, 0)
        atomic_store_relaxed(&worker.heartbeat, 0)

    def heartbeat(self, int slot) -> int:
        """When the worker of this slot last proved to be alive, in milliseconds of ``Segment.now()``; 0 = no worker."""
        return atomic_load_relaxed(&worker_slot(self.workers, slot).heartbeat)

    def stamp(self, int slot) -> None:
        """What the timer wheel of the core does on every turn: the heartbeat of this slot is now."""
        beat(worker_slot(self.workers, slot))

    def pid(self, int slot) -> int:
        """The process id of the worker of this slot; 0 = no worker."""
        return atomic_load_relaxed(&worker_slot(self.workers, slot).pid)

    def starts(self, int slot) -> int:
        """How many workers have occupied this slot so far."""
        return atomic_load_relaxed(&worker_slot(self.workers, slot).starts)

    @staticmethod
    def now() -> int:
        """The clock of heartbeats: CLOCK_MONOTONIC in milliseconds, the same in every process."""
        return monotonic_ms()

    def metrics(self, slot=None) -> dict:
        """The counters of one slot, or of all slots together.

        Keys are the counters' names; ``latency`` and ``upstream_latency`` are Histogram objects in microseconds.
        """
        cdef int index, number, first = 0, last = self.slots
        cdef uint64_t* words
        cdef Slab* slab
        cdef Histogram latency = Histogram()
        cdef Histogram upstream_latency = Histogram()
        cdef Slab total                 # its counters are the sums; no count of them to keep in step
        cdef uint64_t* sums = <uint64_t*>&total
        if slot is not None:
            first = slot
            self.check(first)
            last = first + 1
        memset(&total, 0, sizeof(total))
        for number in range(first, last):
            slab = slab_of(self.counters, number)
            words = <uint64_t*>slab
            for index in range(<int>(sizeof(Slab) // 8) - 2 * HISTOGRAM_WORDS):
                sums[index] += atomic_load_relaxed(&words[index])
            latency.add(slab.latency)
            upstream_latency.add(slab.upstream_latency)
        result = {name: sums[index] for index, name in enumerate(_COUNTERS)}
        result["latency"] = latency
        result["upstream_latency"] = upstream_latency
        return result

    def count(self, int slot, str name not None, uint64_t amount=1) -> None:
        """Adds to a counter of a slot; only its worker may. Raises KeyError for a name that metrics() does not have."""
        cdef Slab* slab = slab_of(self.counters, slot)
        if name not in _COUNTERS:
            raise KeyError(name)
        (<uint64_t*>slab)[<int>_COUNTERS.index(name)] += amount

    def __repr__(self) -> str:
        return f"<Segment fd={self.fd} slots={self.slots} targets={self.targets} size={self.size}>"


assert len(_COUNTERS) == sizeof(Slab) // 8 - 2 * HISTOGRAM_WORDS, "the names of the counters and the slab differ"
