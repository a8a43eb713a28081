"""Who serves: the inside of the region "workers", one cache line for each slot, written by the worker of the slot."""

from libc.stdint cimport uint64_t

from fastgate._core.memory.region cimport WORKERS_LAYOUT, Region

cdef struct WorkerSlot:
    uint64_t heartbeat          # CLOCK_MONOTONIC in milliseconds; 0 = no worker is running
    uint64_t pid
    uint64_t starts
    uint64_t reserved[5]


cdef extern from "memory/atomics.h" nogil:
    void atomic_store_relaxed(uint64_t* word, uint64_t value)
    uint64_t monotonic_ms()


cdef inline WorkerSlot* worker_slot(Region workers, int slot) except NULL:
    """The line of a slot. Raises IndexError for a slot that there is not."""
    if not 0 <= slot < workers.slots:
        raise IndexError(f"slot {slot} of {workers.slots}")
    return <WorkerSlot*>workers.open("workers", WORKERS_LAYOUT, workers.slots * sizeof(WorkerSlot)) + slot


cdef inline void beat(WorkerSlot* worker) noexcept:
    """The worker of this slot is alive."""
    atomic_store_relaxed(&worker.heartbeat, monotonic_ms())
