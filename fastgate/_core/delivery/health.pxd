cimport cython
from libc.stdint cimport uint64_t

from fastgate._core.memory.events cimport EventRing
from fastgate._core.memory.targets cimport TargetRows
from fastgate._core.memory.target_row cimport State


# The targets of one upstream as this process knows them.
@cython.final
cdef class UpstreamHealth:
    cdef TargetRows memory
    cdef EventRing events
    cdef readonly str name
    cdef readonly tuple targets         # names
    cdef readonly int row               # of the upstream itself
    cdef readonly int size
    cdef readonly uint64_t next_change  # when the passing of time alone changes something; NEVER if it will not
    cdef State* upstream
    cdef State** states                 # of each target
    cdef int* rows
    cdef unsigned char* backups         # 1 = this target is a backup
    cdef uint64_t seen                  # the generation that weigh() last looked at
    # Settings. Times are milliseconds.
    cdef uint64_t failures              # in a row, after which a target is ejected; 0 = never
    cdef uint64_t window
    cdef uint64_t eject
    cdef uint64_t max_eject
    cdef int allowed                    # to be ejected at once
    cdef uint64_t slow_start
    cdef double panic_threshold
    cdef bint panic_over_probes

    # For the request path. `index` is a position in `targets`.
    cdef bint changed(self, uint64_t now) noexcept
    cdef void weigh(self, uint64_t now, const double* base, double* weights, double* reserve) noexcept
    cdef void failed(self, int index, uint64_t now) noexcept
    cdef void succeeded(self, int index) noexcept
    cdef uint64_t retry_after_ms(self, uint64_t now) noexcept

    cdef int standing(self, State* state, uint64_t now) noexcept
    cdef int word_of(self, State* state) noexcept
    cdef int panics(self, uint64_t now, int* healthy) noexcept
    cdef void settle_panic(self, uint64_t now) noexcept
    cdef double ramp(self, State* state, uint64_t now) noexcept
    cdef void expect(self, uint64_t time) noexcept
    cdef void return_due(self, uint64_t now) noexcept
    cdef void give_back(self, int index, uint64_t now) noexcept
    cdef bint try_eject(self, int index, uint64_t now) noexcept
    cdef int lock(self) except -1


# One of them: what a try of this target tells, and what the control plane sets.
@cython.final
cdef class TargetHealth:
    cdef readonly UpstreamHealth upstream
    cdef readonly str name
    cdef readonly int row
    cdef State* state
    cdef int index

    cdef void failed(self, uint64_t now) noexcept
    cdef void succeeded(self) noexcept
