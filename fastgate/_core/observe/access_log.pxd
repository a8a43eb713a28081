from libc.stdint cimport int64_t, uint64_t

from fastgate._core.memory.buffer cimport Buffer
from fastgate._core.exchange.worker cimport Engine
from fastgate._core.exchange.exchange cimport Exchange, Observer


cdef class AccessLog(Observer):
    cdef Engine engine
    cdef object writer
    cdef bint combined
    cdef bint sampled                  # some successes are left out
    cdef uint64_t threshold            # of the random number, for one that is kept
    cdef uint64_t random
    cdef Buffer buffer                 # whole lines that the writer does not have yet
    cdef int lines
    cdef bint told                     # the writer knows that there are lines
    cdef uint64_t read_at              # microseconds on CLOCK_MONOTONIC: when the time of day was read
    cdef int64_t epoch                 # what the time of day was ahead of that clock, microseconds
    cdef int64_t second                # that `stamp` stands for
    cdef char stamp[48]
    cdef int stamp_length

    cdef bint kept(self, Exchange x, int status) noexcept
    cdef int hand_over(self) except -1
    cdef int put_json_line(self, Exchange x, int status) except -1
    cdef int put_combined_line(self, Exchange x, int status) except -1
    cdef int64_t time_of(self, Exchange x) noexcept
    cdef void make_stamp(self) noexcept
