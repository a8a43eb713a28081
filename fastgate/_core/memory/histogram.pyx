"""Log-linear histogram of microseconds.

Theory of operation. Values below 128 have a bucket each. Every power of two above is cut into 64 buckets of equal
width, so a bucket is never wider than 1/64 of its lower edge, and its middle, which is what a percentile answers, is
never farther than 1/128 (0.79 %) from any value counted there. 2**36 µs, 19 hours, is the end of the range: what is
longer counts in the last bucket. (The idea is that of HdrHistogram with the smallest unit fixed at 1 µs.)

The state is an array of HISTOGRAM_WORDS 64-bit words: the buckets, then the sum of the recorded values. It needs no
initialisation but zeros, so it can lie in shared memory: one writer an array, plain additions, and readers that copy
the words one by one. A reader may see a value in its bucket that the sum does not contain yet, never half a word.
Arrays add up word by word.

Cost: recording is a count of leading zeros, a shift and two additions; merging and percentiles are one pass over the
words.
"""

from libc.stdint cimport uint64_t
from libc.string cimport memset

cdef extern from "memory/atomics.h" nogil:
    uint64_t atomic_load_relaxed(const uint64_t* word)


cdef inline uint64_t lower_edge(int bucket) noexcept:
    cdef int shift
    if bucket < 128:
        return bucket
    shift = (bucket >> 6) - 1
    return <uint64_t>((bucket & 63) + 64) << shift


cdef inline uint64_t width(int bucket) noexcept:
    return 1 if bucket < 128 else <uint64_t>1 << ((bucket >> 6) - 1)


cdef inline double middle(int bucket) noexcept:
    return lower_edge(bucket) + (width(bucket) - 1) / 2.0


cdef class Histogram:
    """Durations in microseconds, counted in buckets; any percentile of them is within 1 % of the truth."""

    def __cinit__(self):
        memset(self.words, 0, sizeof(self.words))

    cdef void add(self, const uint64_t* words) noexcept:
        cdef int index
        for index in range(HISTOGRAM_WORDS):
            self.words[index] += atomic_load_relaxed(&words[index])

    def record(self, microseconds) -> None:
        """Counts one duration. Raises ValueError when it is negative."""
        if microseconds < 0:
            raise ValueError("a duration cannot be negative")
        histogram_record(self.words, min(int(microseconds), (1 << 63) - 1))

    def merge(self, Histogram other not None) -> None:
        """Adds what the other one counted."""
        self.add(other.words)

    def percentile(self, double percent) -> float:
        """The duration in microseconds that ``percent`` of the recorded ones do not exceed; 0.0 when there is none.

        It is the nearest rank: ``percentile(50)`` of 1, 2, 3, 4 is 2. Raises ValueError outside 0 to 100.
        """
        cdef int bucket
        cdef uint64_t rank, seen = 0, total = self.count
        if not 0.0 <= percent <= 100.0:
            raise ValueError("a percentile must be between 0 and 100")
        if total == 0:
            return 0.0
        exact = total * percent / 100.0
        rank = <uint64_t>exact
        if rank < exact:
            rank += 1
        rank = min(max(rank, <uint64_t>1), total)
        for bucket in range(HISTOGRAM_BUCKETS):
            seen += self.words[bucket]
            if seen >= rank:
                return middle(bucket)
        return middle(HISTOGRAM_BUCKETS - 1)

    def buckets(self) -> list:
        """The buckets that counted something, in order: (lowest value, highest value, count)."""
        cdef int bucket
        found = []
        for bucket in range(HISTOGRAM_BUCKETS):
            if self.words[bucket]:
                found.append((lower_edge(bucket), lower_edge(bucket) + width(bucket) - 1, self.words[bucket]))
        return found

    def count_up_to(self, uint64_t microseconds) -> int:
        """How many were recorded in the buckets up to the one of this value, that one included."""
        cdef int bucket
        cdef uint64_t seen = 0
        for bucket in range(histogram_bucket(microseconds) + 1):
            seen += self.words[bucket]
        return seen

    @property
    def count(self) -> int:
        """How many durations were recorded."""
        cdef int bucket
        cdef uint64_t total = 0
        for bucket in range(HISTOGRAM_BUCKETS):
            total += self.words[bucket]
        return total

    @property
    def sum(self) -> int:
        """All durations together, in microseconds; exact."""
        return self.words[HISTOGRAM_WORDS - 1]

    @property
    def mean(self) -> float:
        """The average in microseconds; 0.0 when nothing was recorded."""
        total = self.count
        return self.sum / total if total else 0.0

    def __len__(self) -> int:
        return self.count

    def __eq__(self, other) -> bool:
        if not isinstance(other, Histogram):
            return NotImplemented
        return self.sum == other.sum and self.buckets() == other.buckets()

    __hash__ = None

    def __repr__(self) -> str:
        return f"<Histogram of {self.count}: p50 {self.percentile(50):.0f} µs, p99 {self.percentile(99):.0f} µs>"
