"""Does to memory that processes share what only the core does, for tests. The gateway never loads it.

Theory of operation. Requests in flight and first tries are words that a worker's core adds to on the request path; here
they are moved without a request. `hold_lock` and `begin_event` are the halves of what a process does that dies in the
middle.
"""

from libc.stdint cimport int64_t, uint64_t

from fastgate._core.delivery.budget cimport RetryBudget
from fastgate._core.delivery.health cimport UpstreamHealth
from fastgate._core.memory.events cimport EventRing
from fastgate._core.memory.region cimport map_memory, region_of
from fastgate._core.memory.targets cimport TargetRows

cdef extern from "memory/atomics.h" nogil:
    uint64_t atomic_add_relaxed(uint64_t* word, uint64_t amount)


def add_in_flight(TargetRows rows not None, int row, int slot, int64_t amount):
    rows.check(row, slot)
    rows.in_flight(row, slot)[0] += amount


def add_first_tries(RetryBudget budget not None, int slot, uint64_t count=1):
    budget.memory.check(budget.row, slot)
    budget.memory.first_tries(budget.row, slot)[0] += count


def count_first_tries(TargetRows rows not None, str upstream not None, int slot, uint64_t count):
    cdef int row = rows.row(f"{upstream}\0")
    rows.check(row, slot)
    rows.first_tries(row, slot)[0] += count


def hold_lock(UpstreamHealth upstream not None):
    upstream.lock()


def begin_event(EventRing ring not None):
    atomic_add_relaxed(ring.head, 1)


def region_in(int fd, str name not None, int version, size_t size, int slots, size_t offset=0):
    cdef unsigned char secret[16]
    cdef int index
    for index in range(16):
        secret[index] = index
    return region_of(map_memory(fd, offset + size), offset, name, version, size, slots, secret)
