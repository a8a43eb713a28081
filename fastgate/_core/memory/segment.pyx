"""The shared-memory segment: what makes N workers one gateway.

Theory of operation. One file in memory (a sealed memfd), created by the supervisor and inherited by every worker as a
descriptor. Its size is fixed when it is created, pages come into being when they are first touched, and the seals
forbid to shrink or grow it, so that no process can make another one fault. The layout is declared here once, as C
structures, and carries a version; attach() refuses another one.

    header      what this is: magic, version, sizes, a random key
    workers     one cache line a slot: heartbeat, process id, number of starts
    slabs       one Slab a slot, each on its own pages
    targets     the table of targets: a key each, found or entered by name; upstreams have a row of it too
    in flight   for each slot one 64-bit word a target
    tries       for each slot one 64-bit counter a target: first tries, which retry budgets are reckoned from
    regions     state of targets, events, limits, times of plugins: blocks of bytes whose inside is declared by the
                module that owns it

Safety. A worker writes only the words of its own slot, so those need no atomic operation; others read them with
relaxed loads. In flight is laid out slot by slot, because a worker writes its words twice a request and must not
share their cache lines; a reader adds up one word a slot. The words of a slot whose worker died are zeroed by the
supervisor (release()), once the process is gone; its counters go on with the next worker. The target table is
append-only: a free key is taken with one compare-and-swap, and whoever loses it reads who won. Any process may
therefore enter a target, and all of them get the same index for the same name.

Cost: every access from the core is one addition to a base address. Entering a target is O(1) expected, O(targets) at
worst.
"""

import os

from libc.errno cimport errno
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memset
from posix.unistd cimport close

from fastgate._core.memory.histogram cimport HISTOGRAM_WORDS, Histogram

cdef extern from "memory/atomics.h" nogil:
    uint64_t atomic_load_relaxed(const uint64_t* word)
    uint64_t atomic_load_acquire(const uint64_t* word)
    void atomic_store_relaxed(uint64_t* word, uint64_t value)
    int atomic_swap_if_equal(uint64_t* word, uint64_t* expected, uint64_t desired)
    uint64_t monotonic_ms()

cdef extern from "<sys/mman.h>" nogil:
    void* mmap(void* address, size_t length, int protection, int flags, int fd, long offset)
    int munmap(void* address, size_t length)
    int PROT_READ
    int PROT_WRITE
    int MAP_SHARED
    int MAP_ANONYMOUS
    void* MAP_FAILED

cdef enum:
    MAGIC = 0x65746167          # "gate"
    VERSION = 3                 # of the layout; changes with every change of the structures below
    PAGE = 4096
    LINE = 64

cdef struct Header:
    uint32_t magic
    uint32_t version
    uint64_t size
    uint32_t slots
    uint32_t targets
    uint32_t slab_size
    uint32_t reserved
    unsigned char key[16]
    uint64_t regions[8]         # their sizes

cdef struct WorkerSlot:
    uint64_t heartbeat          # CLOCK_MONOTONIC in milliseconds; 0 = no worker is running
    uint64_t pid
    uint64_t starts
    uint64_t reserved[5]

cdef struct TargetEntry:
    uint64_t key                # of the name; 0 = free
    uint64_t reserved[7]

# Offsets of the parts and the size of all, for a number of slots and targets.
cdef struct Layout:
    size_t workers
    size_t slabs
    size_t table
    size_t words
    size_t counts
    size_t regions[8]
    size_t slab_stride
    size_t words_stride
    size_t size

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


cdef Layout layout(int slots, int targets, const uint64_t* sizes) noexcept:
    cdef Layout at
    cdef int number
    at.slab_stride = up(sizeof(Slab), PAGE)
    at.words_stride = up(targets * sizeof(uint64_t), LINE)
    at.workers = PAGE
    at.slabs = up(at.workers + slots * sizeof(WorkerSlot), PAGE)
    at.table = at.slabs + slots * at.slab_stride
    at.words = up(at.table + targets * sizeof(TargetEntry), PAGE)
    at.counts = up(at.words + slots * at.words_stride, PAGE)
    at.size = up(at.counts + slots * at.words_stride, PAGE)
    for number in range(REGIONS):
        at.regions[number] = at.size
        at.size = up(at.size + sizes[number], PAGE)
    return at


class SegmentError(Exception):
    """The segment cannot be used: another layout, damaged, not sealed, or full."""


cdef class Segment:
    """Shared memory of one gateway, made by create() or attach(). Unmapped, its descriptor closed, with the object."""

    def __cinit__(self):
        self.base = NULL
        self.fd = -1

    def __init__(self):
        raise TypeError("use Segment.create() or Segment.attach()")

    def __dealloc__(self):
        if self.base != NULL:
            munmap(self.base, self.size)
        if self.fd >= 0:
            close(self.fd)

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
        cdef bytes key = os.urandom(16)
        cdef const unsigned char* key_bytes = key
        cdef int index
        cdef uint64_t[REGIONS] sizes
        cdef size_t size
        sizes[REGION_STATES] = <uint64_t>targets * STATE_SIZE
        sizes[REGION_EVENTS] = (EVENTS + 1) * LINE
        sizes[REGION_LIMITS] = limits
        sizes[REGION_LOGS] = logs
        sizes[REGION_SHARES] = shares
        sizes[REGION_PLUGINS] = plugins
        size = layout(slots, targets, sizes).size
        self.fd = _memory_file(size)
        self.map(self.fd, size)
        header = <Header*>self.base
        header.magic = MAGIC
        header.version = VERSION
        header.size = size
        header.slots = slots
        header.targets = targets
        header.slab_size = sizeof(Slab)
        for index in range(16):
            header.key[index] = key_bytes[index]
        for index in range(REGIONS):
            header.regions[index] = sizes[index]
        self.find_parts()
        return self

    @staticmethod
    def attach(int fd) -> Segment:
        """The segment behind an inherited descriptor, which from now on belongs to the object.

        Raises SegmentError when it is not a segment of this layout version or not sealed; the descriptor is left alone.
        """
        cdef Segment self = Segment.__new__(Segment)
        cdef Header* header
        cdef size_t size
        _check_sealed(fd)
        size = os.fstat(fd).st_size
        if size < PAGE:
            raise SegmentError(f"a segment of {size} bytes is too small")
        self.map(fd, size)
        header = <Header*>self.base
        if header.magic != MAGIC:
            raise SegmentError("not a segment of fastgate")
        if header.version != VERSION or header.slab_size != sizeof(Slab):
            raise SegmentError(f"layout {header.version} of the segment is not {VERSION}: two versions of fastgate met")
        if header.size != size or layout(header.slots, header.targets, header.regions).size != size:
            raise SegmentError("the segment's header contradicts its size")
        self.find_parts()
        self.fd = fd
        return self

    cdef int map(self, int fd, size_t size) except -1:
        cdef void* address
        cdef int flags = MAP_SHARED | (MAP_ANONYMOUS if fd < 0 else 0)
        address = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0)
        if address == MAP_FAILED:
            raise OSError(errno, os.strerror(errno))
        self.base = <unsigned char*>address
        self.size = size
        return 0

    cdef int find_parts(self) except -1:
        cdef Header* header = <Header*>self.base
        cdef Layout at = layout(header.slots, header.targets, header.regions)
        cdef int number
        self.slots = header.slots
        self.targets = header.targets
        self.slab_stride = at.slab_stride
        self.words_stride = at.words_stride
        self.workers = self.base + at.workers
        self.slabs = self.base + at.slabs
        self.table = self.base + at.table
        self.words = self.base + at.words
        self.counts = self.base + at.counts
        for number in range(REGIONS):
            self.regions[number] = self.base + at.regions[number]
        return 0

    cdef int check(self, int slot, int target) except -1:
        if not 0 <= slot < self.slots:
            raise IndexError(f"slot {slot} of {self.slots}")
        if not 0 <= target < self.targets:
            raise IndexError(f"target {target} of {self.targets}")
        return 0

    # For the core: see shm.pxd.

    cdef Slab* slab(self, int slot) noexcept:
        return <Slab*>(self.slabs + slot * self.slab_stride)

    cdef long long* in_flight(self, int target, int slot) noexcept:
        return <long long*>(self.words + slot * self.words_stride) + target

    cdef uint64_t* first_tries(self, int target, int slot) noexcept:
        return <uint64_t*>(self.counts + slot * self.words_stride) + target

    cdef unsigned char* state(self, int target) noexcept:
        return self.regions[REGION_STATES] + <size_t>target * STATE_SIZE

    cdef unsigned char* region(self, int number) noexcept:
        return self.regions[number]

    cdef size_t region_size(self, int number) noexcept:
        return (<Header*>self.base).regions[number]

    cdef const unsigned char* key(self) noexcept:
        return (<Header*>self.base).key

    cdef void beat(self, int slot) noexcept:
        atomic_store_relaxed(&(<WorkerSlot*>self.workers)[slot].heartbeat, monotonic_ms())

    # For Python.

    def occupy(self, int slot) -> None:
        """Makes the calling process the worker of this slot: its process id, one start more, a first heartbeat."""
        self.check(slot, 0)
        cdef WorkerSlot* worker = &(<WorkerSlot*>self.workers)[slot]
        atomic_store_relaxed(&worker.pid, os.getpid())
        atomic_store_relaxed(&worker.starts, atomic_load_relaxed(&worker.starts) + 1)
        self.beat(slot)

    def release(self, int slot) -> None:
        """Undoes what a dead worker left in its slot: in-flight words, open connections, heartbeat. Its counters stay.

        To be called when the process is gone: it writes words that otherwise only the worker writes.
        """
        self.check(slot, 0)
        cdef WorkerSlot* worker = &(<WorkerSlot*>self.workers)[slot]
        cdef Slab* slab = self.slab(slot)
        memset(self.words + slot * self.words_stride, 0, self.words_stride)
        atomic_store_relaxed(&slab.closed, atomic_load_relaxed(&slab.accepted))
        atomic_store_relaxed(&worker.pid, 0)
        atomic_store_relaxed(&worker.heartbeat, 0)

    def heartbeat(self, int slot) -> int:
        """When the worker of this slot last proved to be alive, in milliseconds of ``Segment.now()``; 0 = no worker."""
        self.check(slot, 0)
        return atomic_load_relaxed(&(<WorkerSlot*>self.workers)[slot].heartbeat)

    def stamp(self, int slot) -> None:
        """What the timer wheel of the core does on every turn: the heartbeat of this slot is now."""
        self.check(slot, 0)
        self.beat(slot)

    def pid(self, int slot) -> int:
        """The process id of the worker of this slot; 0 = no worker."""
        self.check(slot, 0)
        return atomic_load_relaxed(&(<WorkerSlot*>self.workers)[slot].pid)

    def starts(self, int slot) -> int:
        """How many workers have occupied this slot so far."""
        self.check(slot, 0)
        return atomic_load_relaxed(&(<WorkerSlot*>self.workers)[slot].starts)

    @staticmethod
    def now() -> int:
        """The clock of heartbeats: CLOCK_MONOTONIC in milliseconds, the same in every process."""
        return monotonic_ms()

    def target(self, str name not None) -> int:
        """The index of the target of this name, which is entered when it is new. Every process gets the same answer.

        Raises SegmentError when the table is full.
        """
        cdef uint64_t key, found
        cdef int _step, index
        cdef TargetEntry* entries = <TargetEntry*>self.table
        cdef Header* header = <Header*>self.base
        from hashlib import blake2b     # on use: it loads OpenSSL

        digest = blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8, key=header.key[:16]).digest()
        key = int.from_bytes(digest, "little") or 1
        index = <int>(key % <uint64_t>self.targets)
        for _step in range(self.targets):
            found = atomic_load_acquire(&entries[index].key)
            if found == 0 and atomic_swap_if_equal(&entries[index].key, &found, key):
                return index
            if found == key:
                return index
            index = index + 1 if index + 1 < self.targets else 0
        raise SegmentError(f"the table of {self.targets} targets is full")

    def add_in_flight(self, int target, int slot, int64_t amount) -> None:
        """Adds to the number of requests that the worker of this slot has with a target; only that worker may."""
        self.check(slot, target)
        self.in_flight(target, slot)[0] += amount

    def requests_in_flight(self, int target) -> int:
        """The requests that all workers together have with a target at this moment."""
        cdef int slot
        cdef int64_t total = 0
        self.check(0, target)
        for slot in range(self.slots):
            total += <int64_t>atomic_load_relaxed(<uint64_t*>self.in_flight(target, slot))
        return total

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
            self.check(first, 0)
            last = first + 1
        memset(&total, 0, sizeof(total))
        for number in range(first, last):
            slab = self.slab(number)
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
        self.check(slot, 0)
        if name not in _COUNTERS:
            raise KeyError(name)
        cdef int index = _COUNTERS.index(name)
        (<uint64_t*>self.slab(slot))[index] += amount

    def __repr__(self) -> str:
        return f"<Segment fd={self.fd} slots={self.slots} targets={self.targets} size={self.size}>"


assert len(_COUNTERS) == sizeof(Slab) // 8 - 2 * HISTOGRAM_WORDS, "the names of the counters and the slab differ"


def _memory_file(size):
    if not hasattr(os, "memfd_create"):
        return -1       # no memfd (macOS): one process, anonymous memory
    import fcntl

    fd = os.memfd_create("fastgate", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, size)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _check_sealed(fd):
    import fcntl

    wanted = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
    try:
        seals = fcntl.fcntl(fd, fcntl.F_GET_SEALS)
    except OSError:
        raise SegmentError("the descriptor is not a memory file") from None
    if seals & wanted != wanted:
        raise SegmentError("the memory file is not sealed against resizing")
