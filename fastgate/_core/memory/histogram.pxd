cimport cython
from libc.stdint cimport uint64_t

cdef extern from * nogil:
    int __builtin_clzll(unsigned long long)


cdef enum:
    # 128 exact buckets for 0 to 127 µs, then 64 for each power of two up to 2**36 µs (19 hours).
    HISTOGRAM_BUCKETS = 1984
    # The buckets and, as the last word, the sum of what was recorded.
    HISTOGRAM_WORDS = 1985


cdef inline int histogram_bucket(uint64_t microseconds) noexcept nogil:
    """The index of the bucket that counts this value; what lies beyond the range counts in the last one."""
    cdef int shift
    if microseconds < 128:
        return <int>microseconds
    if microseconds >= (<uint64_t>1 << 36):
        return HISTOGRAM_BUCKETS - 1
    shift = 57 - __builtin_clzll(microseconds)
    return (shift << 6) + <int>(microseconds >> shift)


cdef inline void histogram_record(uint64_t* words, uint64_t microseconds) noexcept nogil:
    """Counts one value in HISTOGRAM_WORDS words that this thread alone writes."""
    words[histogram_bucket(microseconds)] += 1
    words[HISTOGRAM_WORDS - 1] += microseconds


@cython.final
cdef class Histogram:
    cdef uint64_t words[HISTOGRAM_WORDS]

    cdef void add(self, const uint64_t* words) noexcept
