"""Shows the limits as the request path sees them to tests and benchmarks. The gateway never loads it.

Theory of operation
-------------------
Loops over `Limit.check` without Python between the calls: fast enough for a cost in nanoseconds, and so busy that a
process which is killed at any time is killed inside a check.
"""

from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.signal cimport raise_
from libc.stdint cimport uint64_t
from posix.time cimport CLOCK_PROCESS_CPUTIME_ID, clock_gettime, timespec

from fastgate._core.limits.concurrency cimport Concurrency, Shares
from fastgate._core.memory.hashing cimport SipHash, mix64, siphash, siphash_24, siphash_begin, siphash_from
from fastgate._core.limits.rate cimport Limit, Logs, Table
from fastgate._core.memory.locks cimport STRIPES, shared_lock
from fastgate._core.memory.region cimport LIMITS_LAYOUT, LOGS_LAYOUT, SHARES_LAYOUT, Region
from fastgate._core.memory.store cimport Verdict

cdef extern from "memory/atomics.h" nogil:
    void atomic_store_release(uint64_t* word, uint64_t value)
    uint64_t atomic_load_relaxed(const uint64_t* word)
    uint64_t atomic_add_relaxed(uint64_t* word, uint64_t amount)
    uint64_t monotonic_ns()

cdef extern from "<sched.h>" nogil:
    int sched_yield()

cdef extern from "<signal.h>" nogil:
    int SIGKILL


cdef uint64_t cpu_ns() noexcept nogil:
    """Processor time of this process: what others take from the machine is not in it."""
    cdef timespec now
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now)
    return <uint64_t>now.tv_sec * 1000000000 + <uint64_t>now.tv_nsec


def siphash_13(bytes key, bytes text):
    """SipHash-1-3 of a text with a key of 16 bytes."""
    if len(key) != 16:
        raise ValueError("a key has 16 bytes")
    return siphash(<const unsigned char*>PyBytes_AS_STRING(key), PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))


def siphash_continued(bytes key, bytes text, Py_ssize_t begin):
    """SipHash-1-3 of a text of which so many bytes were read before, as the beginning of many."""
    cdef SipHash begun
    if len(key) != 16 or not 0 <= begin <= len(text):
        raise ValueError("a key has 16 bytes, and a beginning is part of its text")
    siphash_begin(&begun, <const unsigned char*>PyBytes_AS_STRING(key), PyBytes_AS_STRING(text), begin)
    return siphash_from(&begun, begin, PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))


def siphash_2_4(bytes key, bytes text):
    """SipHash-2-4 of a text with a key of 16 bytes."""
    if len(key) != 16:
        raise ValueError("a key has 16 bytes")
    return siphash_24(<const unsigned char*>PyBytes_AS_STRING(key), PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))


def measure(Limit limit, bytes keys, Py_ssize_t width, Py_ssize_t passes):
    """Nanoseconds of processor time of one check with hash and clock, over so many passes over the keys."""
    cdef const char* at = PyBytes_AS_STRING(keys)
    cdef Py_ssize_t count = PyBytes_GET_SIZE(keys) // width
    cdef Py_ssize_t index
    cdef uint64_t begin = cpu_ns()
    cdef Verdict verdict
    for _ in range(passes):
        for index in range(count):
            limit.check(limit.key_of(at + index * width, width), 1, monotonic_ns(), &verdict)
    return (cpu_ns() - begin) / <double>(count * passes)


def measure_overhead(Limit limit, bytes keys, Py_ssize_t width, Py_ssize_t passes):
    """The same with hash and clock only."""
    cdef const char* at = PyBytes_AS_STRING(keys)
    cdef Py_ssize_t count = PyBytes_GET_SIZE(keys) // width
    cdef Py_ssize_t index
    cdef uint64_t begin = cpu_ns(), sink = 0
    for _ in range(passes):
        for index in range(count):
            sink ^= limit.key_of(at + index * width, width) + monotonic_ns()
    # Looked at, so that the loop cannot be left out.
    return (cpu_ns() - begin) / <double>(count * passes) + (sink == 0)


def flood(Limit limit, bytes key, uint64_t until_ns, admitted):
    """Checks one key without a pause until this time and writes down when one was admitted."""
    cdef Py_buffer view
    cdef uint64_t* words
    cdef uint64_t room, now, checks = 0
    cdef uint64_t hashed = limit.key_of(PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))
    cdef Verdict verdict
    PyObject_GetBuffer(admitted, &view, PyBUF_WRITABLE)
    if view.len < 16:
        PyBuffer_Release(&view)
        raise ValueError("16 bytes at least: a count, then two times for each that was admitted")
    words = <uint64_t*>view.buf
    room = view.len // 16 - 1
    while True:
        now = monotonic_ns()
        if now >= until_ns:
            break
        checks += 1
        if limit.check(hashed, 1, now, &verdict) and words[0] < room:
            words[2 * words[0] + 1] = now
            words[2 * words[0] + 2] = monotonic_ns()
            atomic_store_release(words, words[0] + 1)
    PyBuffer_Release(&view)
    return checks


def take_numbers(Limit limit, uint64_t count, uint64_t now_ns):
    """Takes one for each key from 1 to ``count`` at this time. How many were admitted."""
    cdef uint64_t number, admitted = 0
    cdef Verdict verdict
    for number in range(1, count + 1):
        admitted += limit.check(mix64(number), 1, now_ns, &verdict)
    return admitted


def flood_shares(Concurrency limit, bytes key, uint64_t until_ns, board):
    """Takes and releases shares of one key without a pause until this time. How many, and the most it saw at once."""
    cdef Py_buffer view
    cdef uint64_t* words
    cdef uint64_t together, _turn, taken = 0, most = 0
    cdef uint64_t hashed = limit.key_of(PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))
    cdef void* place
    PyObject_GetBuffer(board, &view, PyBUF_WRITABLE)
    words = <uint64_t*>view.buf
    while monotonic_ns() < until_ns:
        if not limit.acquire(hashed, 1, &place):
            continue
        taken += 1
        together = atomic_add_relaxed(words, 1) + 1
        most = max(most, together)
        # Held for a while, every other time without the processor, so that the others come to the limit.
        if taken & 1:
            sched_yield()
        for _turn in range(mix64(taken) & 255):
            most = max(most, atomic_load_relaxed(words))
        atomic_add_relaxed(words, <uint64_t>-1)
        limit.leave(place, 1)
    PyBuffer_Release(&view)
    return taken, most


def die_with_every_lock(Region limits not None, Region logs not None, Region shares not None):
    """Takes all locks of the regions of limits and kills its own process."""
    cdef int number
    for number in range(STRIPES):
        if limits.size:
            shared_lock((<Table*>limits.open("limits", LIMITS_LAYOUT, sizeof(Table))).stripes[number].lock)
        if logs.size:
            shared_lock((<Logs*>logs.open("logs", LOGS_LAYOUT, sizeof(Logs))).heads[number].lock)
            shared_lock((<Logs*>logs.open("logs", LOGS_LAYOUT, sizeof(Logs))).blocks[number].lock)
        if shares.size:
            shared_lock((<Shares*>shares.open("shares", SHARES_LAYOUT, sizeof(Shares))).stripes[number].lock)
    raise_(SIGKILL)
