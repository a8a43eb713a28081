cimport cython
from libc.stdint cimport uint64_t

cdef extern from "memory/atomics.h" nogil:
    uint64_t atomic_load_relaxed(const uint64_t* word)


# Where requests in flight are counted: member i has one word in each worker's slot, `stride` bytes apart.
cdef struct Load:
    long long** first               # of each member, its word in slot 0
    Py_ssize_t stride
    int slots


cdef struct Weights:
    int size
    int eligible                    # how many members have a weight above zero
    double total                    # of their weights
    double* now                     # 0 = out of rotation
    double* known                   # the last weight above zero; 0 = there was none yet


# What a random word picks: a column by its upper half, and by its lower half the column's own member or its other one.
cdef struct Column:
    uint64_t keep                   # the own one's share of 2**32
    int own
    int other


cdef inline uint64_t mix(uint64_t word) noexcept nogil:
    """A permutation of the 64-bit words in which every bit depends on every bit."""
    word += 0x9e3779b97f4a7c15ULL
    word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9ULL
    word = (word ^ (word >> 27)) * 0x94d049bb133111ebULL
    return word ^ (word >> 31)


cdef inline long long count(const Load* load, int member) noexcept nogil:
    """The requests that all workers together have with a member."""
    cdef const char* word = <const char*>load.first[member]
    cdef long long total = 0
    cdef int _slot
    for _slot in range(load.slots):
        total += <long long>atomic_load_relaxed(<const uint64_t*>word)
        word += load.stride
    return total if total > 0 else 0


cdef bint same_weights(const double* one, const double* other, int size) noexcept
cdef uint64_t hash_of(bytes data) noexcept

cdef class Balancer:
    cdef readonly tuple targets
    cdef readonly int size
    cdef Weights weights
    cdef int* after                 # of each number, the first eligible member from there on, around the end; or -1
    cdef int position               # where the next turn begins; always a number of a member, or 0
    cdef Load load
    # What is counted here when no segment counts: one word a member, and their addresses as Load wants them.
    cdef long long* counts
    cdef long long** words
    cdef int room                   # how many members counts, words have space for
    cdef dict numbers
    cdef uint64_t random

    # Members are numbered from 0. `use` is called when members, weights or eligibility change; the numbers of members
    # that stay must stay. A weight of 0 takes a member out of rotation. Raises ValueError for what is no weight; then,
    # and when memory is refused, nothing has changed.
    cdef int use(self, const double* weights, int size) except -1
    # Where the counts are from now on; NULL = those of this object. The array behind `first` stays the caller's. It
    # must live as long as the balancer picks and have every member: when some are added, call this before `use`.
    cdef void loads(self, Load* load) noexcept
    # The member for a request; -1 when none is eligible. `hash` is the request's key (0 = it has none), `random` 64
    # random bits. `skip` is NULL or one byte a member: those that are not 0 are avoided unless all eligible ones are.
    cdef int pick(self, uint64_t hash, uint64_t random, const unsigned char* skip) noexcept

    # For the kinds. `arrange` is called when `weights` has changed from `before`; it raises before it changes anything.
    cdef int arrange(self, const Weights* before) except -1
    cdef int next_in_turn(self, int start, const unsigned char* skip, int but) noexcept
    cdef const unsigned char* heeded(self, const unsigned char* skip) noexcept
    cdef int take_turn(self, const unsigned char* skip) noexcept

    cdef int set_weights(self, weights) except -1
    cdef int make_room(self, int size) except -1
    cdef int choose_number(self, key) except -1
    cdef int number_of(self, target) except -1


@cython.final
cdef class RoundRobin(Balancer):
    pass


@cython.final
cdef class SmoothWeightedRoundRobin(Balancer):
    cdef bint equal                 # all eligible members have the same weight
    cdef double* current            # the smooth weights; not kept up while `equal`

    cdef int heaviest(self) noexcept


@cython.final
cdef class LeastConnections(Balancer):
    pass


cdef class Random(Balancer):
    cdef Column* columns
    cdef int width                  # how many columns

    cdef int draw(self, uint64_t random, const unsigned char* skip, int but) noexcept
    cdef int share_out(self, const double* weights) except -1


@cython.final
cdef class PowerOfTwoChoices(Random):
    pass


@cython.final
cdef class IPHash(Random):
    pass


@cython.final
cdef class Taken:
    cdef Balancer balancer
    cdef object key
    cdef int number
