from libc.stdint cimport int64_t, uint32_t, uint64_t

from fastgate._core.delivery.cache.worker_cache cimport WorkerCache
from fastgate._core.delivery.stored cimport Stored
from fastgate._core.memory.cache.cache_store cimport View
from fastgate._core.memory.cache.flights cimport Ticket, Waiter


cdef class Reader(Stored):
    cdef WorkerCache cache
    cdef View view
    cdef uint32_t position
    cdef int64_t stop                  # where it ends; -1: not known yet
    cdef bint front                    # the record is pinned
    cdef bint loose                    # its pins were given up: it pins what it takes, while it takes it
    cdef bytes key                     # of the record, from then on
    cdef int looks                     # since its client has taken something: the first one, and those that found more
    cdef uint64_t starved              # of this than before
    cdef bint lent                     # it pins such a part now
    cdef bint broken                   # there will not be more
    cdef uint32_t first_part           # parts that are pinned: from here to before `next_part`
    cdef uint32_t next_part
    cdef bytes rest                    # what is left, as a copy
    cdef bint follows                  # it is being filled, by a flight
    cdef News news
    cdef uint32_t held_segment
    cdef uint64_t* counts              # of its route

    cdef bint set_out(
        self, WorkerCache cache, uint64_t* counts, const View* view, uint32_t first, int64_t stop
    ) except -1
    cdef int follow(self, const Ticket* ticket) except -1
    cdef bint pin_more(self) except -1
    cdef bint change_over(self) except -1
    cdef int64_t there(self) noexcept
    cdef bint pin_front(self) noexcept
    cdef int give_back(self) except -1
    cdef bint copy_rest(self) except -1
    cdef int cut_off(self) except -1


cdef class News(Waiter):
    cdef Reader reader
