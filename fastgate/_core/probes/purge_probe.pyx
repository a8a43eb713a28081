"""Shows purges as the look-up path sees them to tests and benchmarks. The gateway never loads it.

Theory of operation
-------------------
`look` is one look at an object. `flood_purges` is the bare protocol: each process changes what an upstream would send,
purges, fetches and reads, and has records of its own; what must be known of all lies on a board. Between the two writes
of a purge it gives the processor away: a reader that could be misled there is.
"""

from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint64_t
from libc.stdio cimport snprintf
from libc.string cimport memcpy
from posix.time cimport CLOCK_PROCESS_CPUTIME_ID, clock_gettime, timespec

from fastgate._core.memory.cache.purges cimport (
    PREFIX_PLACES,
    PURGED_NOT,
    TAG_NAME,
    TAG_WAYS,
    PrefixRule,
    Purges,
    TagBucket,
)
from fastgate._core.memory.hashing cimport mix64

from fastgate._core.memory.cache.purges import STATES

cdef extern from "memory/atomics.h" nogil:
    uint64_t atomic_load_relaxed(const uint64_t* word)
    uint64_t atomic_load_acquire(const uint64_t* word)
    uint64_t atomic_add_release(uint64_t* word, uint64_t amount)
    int atomic_swap_if_equal(uint64_t* word, uint64_t* expected, uint64_t desired)
    uint64_t monotonic_ns()

cdef extern from "<sched.h>" nogil:
    int sched_yield()

cdef enum:
    KEYS = 800
    FEW = 64                    # keys, for which there is room in every table
    ADDRESS = 16
    LEAST = 300                 # purges
    TAGS = 80


cdef uint64_t PATIENCE_NS = 30000000000


cdef void give_the_processor_away() noexcept nogil:
    sched_yield()


def look(Purges purges not None, uint64_t number, list tags not None, bytes address=b"", size_t path=0, checked=None):
    cdef uint64_t hashes[TAGS]
    cdef uint64_t word = number if checked is None else checked
    cdef int index, count = len(tags)
    if count > TAGS:
        raise ValueError(f"at most {TAGS} tags")
    for index in range(count):
        hashes[index] = tags[index]
    state = STATES[purges.state_of(
        number, &word, hashes, count, <const unsigned char*>PyBytes_AS_STRING(address), PyBytes_GET_SIZE(address), path
    )]
    return state, word


def buckets_of(Purges purges not None, uint64_t tag):
    cdef TagBucket* bucket
    cdef int choice, way
    found = []
    for choice in range(2):
        bucket = purges.bucket_of(mix64(tag) if choice else tag)
        found.append((
            bucket - purges.buckets,
            (purges.floors[bucket - purges.buckets].hard, purges.floors[bucket - purges.buckets].soft),
            {bucket.tags[way]: (bucket.hard[way], bucket.soft[way]) for way in range(TAG_WAYS) if bucket.tags[way]},
        ))
    return found


def rules_of(Purges purges not None):
    cdef PrefixRule* rule
    cdef int place
    found = {}
    for place in range(PREFIX_PLACES):
        rule = &purges.rules[place]
        if rule.hard or rule.soft:
            key = rule.text[:rule.length], bool(rule.tail)
            if key in found:
                raise AssertionError(f"{key} is there twice")
            found[key] = rule.hard, rule.soft
    return found


def everything_of(Purges purges not None):
    return purges.head.everything.hard, purges.head.everything.soft


def sizes_of(Purges purges not None):
    return purges.count, purges.width, <size_t>(purges.maps + 2 * purges.width - purges.region.base)


def damage(Purges purges not None, size_t offset, bytes data not None):
    cdef size_t words = <unsigned char*>&purges.head.everything - <unsigned char*>purges.head
    cdef size_t locks = <unsigned char*>&purges.head.purges_by_tag - <unsigned char*>purges.head
    cdef size_t rules = <unsigned char*>purges.rules - <unsigned char*>purges.head
    cdef size_t size = PyBytes_GET_SIZE(data)
    # What decides of the head, or what lies behind its locks.
    if offset < locks - words:
        offset += words
        size = min(size, locks - offset)
    else:
        offset += rules
        if offset > purges.region.size:
            raise IndexError("that lies behind the region")
        size = min(size, purges.region.size - offset)
    memcpy(<unsigned char*>purges.head + offset, PyBytes_AS_STRING(data), size)


cdef struct FloodRecord:
    uint64_t number
    uint64_t content            # a version, and 1; 0 = no record
    uint64_t checked


cdef inline void fetch(Purges purges, FloodRecord* record, uint64_t tag, uint64_t* version) noexcept nogil:
    """The request is sent, then the upstream makes the answer."""
    record.number = record.checked = purges.sent(tag)
    record.content = atomic_load_acquire(version) + 1


def flood_purges(Purges purges not None, uint64_t seed, uint64_t until_ns, int every, int keys, board):
    cdef Py_buffer view
    cdef uint64_t* versions
    cdef uint64_t* returned
    cdef uint64_t tags[KEYS]
    # The newest of each key; behind these, one that was purged. What has an odd number has no tag.
    cdef FloodRecord records[2 * KEYS]
    cdef FloodRecord* record
    cdef char addresses[KEYS][ADDRESS]
    cdef uint64_t drawn, purged = 0, fetched = 0, used = 0, wrong = 0, turn = 0, version, before, found
    cdef int key, kind, size
    PyObject_GetBuffer(board, &view, PyBUF_WRITABLE)
    if view.len < 2 * KEYS * 8 or not 1 <= keys <= KEYS:
        PyBuffer_Release(&view)
        raise ValueError(f"the board has a version and a word of purges for each of {KEYS} keys")
    versions = <uint64_t*>view.buf
    returned = versions + KEYS
    for key in range(KEYS):
        size = snprintf(addresses[key], ADDRESS, "/%03d/key", key)
        tags[key] = purges.tag_of(TAG_NAME, addresses[key], size)
        records[key].content = records[KEYS + key].content = 0
    purges.between = give_the_processor_away
    with nogil:
        # On a busy machine the time is over before anything has met.
        while monotonic_ns() < until_ns + (PATIENCE_NS if purged < LEAST else 0):
            turn += 1
            drawn = mix64(seed ^ mix64(turn))
            key = drawn % keys
            drawn = mix64(drawn)
            if drawn % every == 0:
                # One is fetched, the upstream changes, then it is purged: then nobody may see what was before.
                fetch(purges, &records[KEYS + key], tags[key], &versions[key])
                version = atomic_add_release(&versions[key], 1) + 1
                kind = (drawn >> 20) % 32
                if kind == 0 and keys < FEW:
                    # Where tables are to be full nothing may cover all that is in them.
                    purges.write_everything(False)
                elif key % 2:
                    purges.write_prefix(<const unsigned char*>addresses[key], 9, True, False)
                elif kind < 8:
                    purges.changed(tags[key], tags[key])
                else:
                    purges.write_tag(tags[key], False)
                found = atomic_load_relaxed(&returned[key])
                while found < version and not atomic_swap_if_equal(&returned[key], &found, version):
                    pass
                purged += 1
            elif drawn % 16 == 1:
                fetch(purges, &records[key], tags[key], &versions[key])
                fetched += 1
                if drawn & 4096:
                    sched_yield()
            else:
                record = &records[key + (KEYS if drawn & 4096 else 0)]
                before = atomic_load_acquire(&returned[key])
                if record.content and purges.state_of(
                    record.number, &record.checked, &tags[key], 1 - key % 2, <unsigned char*>addresses[key], 9, 0
                ) == PURGED_NOT:
                    used += 1
                    wrong += record.content - 1 < before
    PyBuffer_Release(&view)
    purges.between = NULL
    return purged, fetched, used, wrong


def measure_looks(Purges purges not None, list tags not None, uint64_t count, bint checked):
    """Nanoseconds of processor time of one look: at an object that was checked since the last purge, or was not."""
    cdef uint64_t hashes[TAGS]
    cdef uint64_t number = purges.number, word = number, _turn, sink = 0
    cdef int index
    cdef int size = min(<int>len(tags), <int>TAGS)
    cdef timespec begin, end
    for index in range(size):
        hashes[index] = tags[index]
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin)
    for _turn in range(count):
        if not checked:
            word = number - 1
        sink += purges.state_of(number, &word, hashes, size, b"/", 1, 0)
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end)
    return ((end.tv_sec - begin.tv_sec) * 1e9 + (end.tv_nsec - begin.tv_nsec)) / count, sink
