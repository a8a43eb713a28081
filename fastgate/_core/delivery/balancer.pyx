"""Balancers: which target gets the next request.

Theory of operation
-------------------
A balancer has members, numbered from 0, each with a weight; what a member is, it does not know. `pick` is the C-level
question, asked once a try on the request path: it makes no Python object and cannot fail. `use` tells new weights, into
which health and slow start have gone already: 0 takes a member out of rotation, anything below 10**-6 counts as that.
What can be kept is kept by number: the turn, the smooth weights, the clients of the members that stay.

A balancer belongs to one worker. The order of picks is therefore exact in a worker and only statistical over all of
them, which nobody can observe from outside; ``offset`` (the worker's slot) keeps fresh workers from all starting with
the same target. Counts of requests in flight are those of all workers: one word a worker slot and member, which others
write and these functions add up with relaxed loads. A pick and the counting that follows it are not one step, so of
two workers that pick at the same instant neither sees the other's request.

One array serves all kinds: ``after[i]`` is the first eligible member from i on, around the end.

* RoundRobin: the number where the next turn begins. Over any n picks in a row every one of n eligible members is picked
  exactly once. Weights do not matter.
* SmoothWeightedRoundRobin: nginx's. Each pick adds to every member's smooth weight its weight, takes the largest (of
  equals the first) and subtracts the sum of the weights from it. The smooth weights add up to what they did before and
  stay within the sum of the weights, so each member gets its share in every round, spread over it. When weights change
  the smooth weights are scaled to the new sum and moved so that they add up to 0. Equal weights make this plain round
  robin, and then it is done as that: the turn stands for the smooth weights and is translated when weights change.
* LeastConnections: the least (in flight + 1) / weight, compared by products, which are exact; of equals the next in
  turn after the last pick, so that idle members are used evenly.
* Random: by weight, with Vose's alias method. n columns of equal width; each belongs to one member and may give a part
  to another. One random word picks the column and the part.
* PowerOfTwoChoices: two different members, drawn by weight; the one with less in flight / weight, of equals the first.
  Without load it is Random, so a member in slow start gets little also then.
* IPHash: Random with the mixed hash of the key as the random word, over the last weights above zero. Where that gives
  a member that is out it draws again, so that an ejection moves only the clients of the ejected member.

Members to skip are passed over, unless that leaves nobody. Where members are drawn, those to skip, and in IPHash those
that are out, are passed over by drawing again, at most DRAWS times, then by the next in turn.

Cost for n members (e eligible), s slots, on the request path:

    RoundRobin                  O(1); O(n) with members to skip
    SmoothWeightedRoundRobin    O(n); with equal weights as RoundRobin
    LeastConnections            O(n s)
    Random, IPHash              O(1); IPHash expects n / e draws
    PowerOfTwoChoices           O(s)

`use` is O(n). Consistent hashing is in ring.pyx.
"""

import os
from types import GenericAlias

from libc.math cimport isfinite
from libc.stdint cimport uint32_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy

cdef enum:
    DRAWS = 16

cdef double LEAST = 1e-6
cdef double MOST = 1e9


cdef uint64_t hash_of(bytes data) noexcept:
    """The hash of a key or a name: the same in every process and every run (FNV-1a, then mixed); never 0."""
    cdef uint64_t word = 0xcbf29ce484222325ULL
    cdef const unsigned char* text = data
    cdef Py_ssize_t index
    for index in range(len(data)):
        word = (word ^ text[index]) * 0x100000001b3ULL
    word = mix(word)
    return word if word != 0 else 1


cdef bint same_weights(const double* one, const double* other, int size) noexcept:
    """Whether two arrays of one size are equal; without members there may be none."""
    return size == 0 or memcmp(one, other, size * sizeof(double)) == 0


cdef class Balancer:
    """Chooses among targets. The kinds differ in ``choose()``; this base class answers with the first in rotation."""

    def __cinit__(self, targets, *args, **kwargs):
        self.targets = tuple(targets)
        self.loads(NULL)

    def __init__(self, targets, weights=None):
        self.set_weights(weights)

    def __dealloc__(self):
        free(self.weights.now)
        free(self.after)
        free(self.counts)
        free(self.words)

    __class_getitem__ = classmethod(GenericAlias)

    cdef int set_weights(self, weights) except -1:
        cdef double* values
        cdef int index, size
        if weights is None:
            weights = (1.0,) * len(self.targets)
        weights = tuple(weights)
        if len(weights) != len(self.targets):
            raise ValueError(f"{len(self.targets)} targets need as many weights, not {len(weights)}")
        size = <int>len(weights)
        values = <double*>malloc((size + 1) * sizeof(double))
        if values == NULL:
            raise MemoryError
        try:
            for index in range(size):
                values[index] = weights[index]
            self.use(values, size)
        finally:
            free(values)
        return 0

    cdef int use(self, const double* weights, int size) except -1:
        cdef Weights before = self.weights, fresh
        cdef int index, next_one = -1
        cdef int* after
        for index in range(size):
            if not isfinite(weights[index]) or not 0.0 <= weights[index] <= MOST:
                raise ValueError(f"a weight must be a number from 0 to {MOST:.0f}, not {weights[index]}")
        self.make_room(size)
        fresh.size = size
        fresh.eligible = 0
        fresh.total = 0.0
        fresh.now = <double*>malloc((2 * size + 1) * sizeof(double))
        after = <int*>malloc((size + 1) * sizeof(int))
        if fresh.now == NULL or after == NULL:
            free(fresh.now)
            free(after)
            raise MemoryError
        fresh.known = fresh.now + size
        for index in range(size):
            fresh.now[index] = fresh.known[index] = max(weights[index], LEAST) if weights[index] > 0.0 else 0.0
            if fresh.now[index] > 0.0:
                fresh.eligible += 1
                fresh.total += fresh.now[index]
            elif index < before.size:
                fresh.known[index] = before.known[index]
        for index in range(2 * size - 1, -1, -1):
            if fresh.now[index % size] > 0.0:
                next_one = index % size
            if index < size:
                after[index] = next_one
        self.weights = fresh
        after, self.after = self.after, after
        try:
            self.arrange(&before)
        except BaseException:
            self.weights = before
            after, self.after = self.after, after
            free(fresh.now)
            raise
        finally:
            free(after)
        self.size = size
        if self.position >= size:
            self.position = 0
        free(before.now)
        return 0

    cdef int make_room(self, int size) except -1:
        cdef long long* counts
        cdef long long** words
        cdef int index
        if size < 0:
            raise ValueError("the number of members cannot be negative")
        if size <= self.room:
            return 0
        counts = <long long*>calloc(size, sizeof(long long))
        words = <long long**>malloc(size * sizeof(long long*))
        if counts == NULL or words == NULL:
            free(counts)
            free(words)
            raise MemoryError
        if self.room:
            memcpy(counts, self.counts, self.room * sizeof(long long))
        for index in range(size):
            words[index] = &counts[index]
        if self.load.first == self.words:
            self.load.first = words
        free(self.counts)
        free(self.words)
        self.counts = counts
        self.words = words
        self.room = size
        return 0

    cdef void loads(self, Load* load) noexcept:
        if load != NULL:
            self.load = load[0]
        else:
            self.load.first = self.words
            self.load.stride = 0
            self.load.slots = 1

    cdef int arrange(self, const Weights* before) except -1:
        return 0

    cdef int pick(self, uint64_t hash, uint64_t random, const unsigned char* skip) noexcept:
        return self.next_in_turn(0, skip, -1)

    cdef int next_in_turn(self, int start, const unsigned char* skip, int but) noexcept:
        """The first eligible member from ``start`` on that is neither skipped nor ``but``; if none, the first eligible.
        """
        cdef int first, index
        if self.weights.eligible == 0:
            return -1
        first = index = self.after[start]
        while index == but or (skip != NULL and skip[index]):
            index = self.after[index + 1 if index + 1 < self.weights.size else 0]
            if index == first:
                break
        return index

    cdef const unsigned char* heeded(self, const unsigned char* skip) noexcept:
        """``skip``, or NULL where it leaves nobody."""
        cdef int index
        if skip != NULL:
            index = self.next_in_turn(0, skip, -1)
            if index >= 0 and not skip[index]:
                return skip
        return NULL

    cdef int take_turn(self, const unsigned char* skip) noexcept:
        cdef int index
        if self.weights.eligible == 0:
            return -1
        index = self.after[self.position] if skip == NULL else self.next_in_turn(self.position, skip, -1)
        self.position = index + 1 if index + 1 < self.weights.size else 0
        return index

    # -- for Python

    cdef int choose_number(self, key) except -1:
        cdef uint64_t hash = 0
        cdef int number
        if key is not None:
            hash = hash_of(key if type(key) is bytes else str(key).encode("utf-8", "surrogatepass"))
        if self.random == 0:
            self.random = int.from_bytes(os.urandom(8), "little") | 1
        self.random += 0x9e3779b97f4a7c15ULL
        number = self.pick(hash, mix(self.random), NULL)
        if number < 0:
            raise LookupError("no targets to choose from")
        return number

    cdef int number_of(self, target) except -1:
        try:
            if self.numbers is None:
                self.numbers = {each: number for number, each in reversed(list(enumerate(self.targets)))}
            return self.numbers[target]
        except (KeyError, TypeError):
            # A target without a hash is compared with each.
            if target in self.targets:
                return self.targets.index(target)
        raise LookupError(f"{target!r} is not one of the targets")

    def choose(self, key=None):
        """The target for the next request. Raises LookupError when there is none.

        ``key`` is what hashing kinds choose by: bytes, or anything whose ``str()`` is the same in every process.
        """
        return self.targets[self.choose_number(key)]

    def index(self, hash=0, random=None, skip=()):
        """The number of the target for a request as the gateway asks for it, -1 when there is none.

        ``hash`` is a key of 64 bits (0 = none), ``random`` 64 random bits, ``skip`` the numbers of targets that are
        avoided unless all in rotation are.
        """
        cdef bytearray skipped = bytearray(self.size)
        for number in skip:
            skipped[number] = 1
        if random is None:
            random = int.from_bytes(os.urandom(8), "little")
        return self.pick(hash, random, <const unsigned char*>skipped if skip else NULL)

    def weigh(self, weights):
        """New weights, one a target; 0 takes a target out of rotation. Raises ValueError for what is no weight."""
        self.set_weights(weights)

    def begin(self, target):
        """Counts one request in flight more with a target. Raises LookupError when it is none of the targets."""
        self.counts[self.number_of(target)] += 1

    def done(self, target):
        """Counts one less. Raises ValueError when there is none."""
        cdef int number = self.number_of(target)
        if self.counts[number] <= 0:
            raise ValueError(f"no request is in flight with {target!r}")
        self.counts[number] -= 1

    def in_flight(self, target):
        """The requests in flight with a target."""
        return count(&self.load, self.number_of(target))

    def taken(self, key=None):
        """``with balancer.taken(key) as target:`` chooses a target and counts the block as a request in flight."""
        return Taken(self, key)

    def __len__(self) -> int:
        return self.size


cdef class RoundRobin(Balancer):
    """Every target in turn, beginning with the one at ``offset`` (taken modulo their number).

    Of weights only 0 matters.
    """

    def __init__(self, targets, weights=None, offset=0):
        self.set_weights(weights)
        self.position = <int>(offset % self.size) if self.size else 0

    cdef int pick(self, uint64_t hash, uint64_t random, const unsigned char* skip) noexcept:
        cdef int index
        if skip != NULL or self.weights.eligible == 0:
            return self.take_turn(skip)
        index = self.after[self.position]
        self.position = index + 1 if index + 1 < self.weights.size else 0
        return index


cdef class SmoothWeightedRoundRobin(Balancer):
    """By weight, spread evenly: 5, 1 and 1 give a a b a c a a.

    It begins as if ``offset`` (taken modulo the number of targets) picks had been made.
    """

    def __cinit__(self, *args, **kwargs):
        self.equal = True

    def __init__(self, targets, weights=None, offset=0):
        cdef int _turn
        self.set_weights(weights)
        if self.size:
            for _turn in range(<int>(offset % self.size)):
                self.pick(0, 0, NULL)

    def __dealloc__(self):
        free(self.current)

    cdef int arrange(self, const Weights* before) except -1:
        cdef const Weights* weights = &self.weights
        cdef double* current
        cdef double scale, common = 0.0, mean = 0.0
        cdef int index, done = 0, stay = 0
        cdef bint was_equal = self.equal
        if before.size == weights.size and same_weights(before.now, weights.now, weights.size):
            return 0
        current = <double*>calloc(weights.size + 1, sizeof(double))
        if current == NULL:
            raise MemoryError
        if was_equal:
            # The members before the turn have had theirs in this round.
            for index in range(before.size):
                if before.now[index] > 0.0:
                    common = before.now[index]
                    done += index < self.position
        scale = weights.total / before.total if before.total > 0.0 else 1.0
        for index in range(min(before.size, weights.size)):
            if before.now[index] > 0.0 and weights.now[index] > 0.0:
                if was_equal:
                    current[index] = common * (done - before.eligible if index < self.position else done)
                else:
                    current[index] = self.current[index]
                current[index] *= scale
                mean += current[index]
                stay += 1
        if stay:
            mean /= stay
        self.equal = True
        common = 0.0
        for index in range(weights.size):
            if weights.now[index] > 0.0:
                if index < before.size and before.now[index] > 0.0:
                    current[index] -= mean
                if common == 0.0:
                    common = weights.now[index]
                elif common != weights.now[index]:
                    self.equal = False
        free(self.current)
        self.current = current
        if self.equal and not was_equal:
            self.position = self.heaviest()
        return 0

    cdef int heaviest(self) noexcept:
        """The first of the eligible members with the largest smooth weight; 0 when none is eligible."""
        cdef int index, best = -1
        for index in range(self.weights.size):
            if self.weights.now[index] > 0.0 and (best < 0 or self.current[index] > self.current[best]):
                best = index
        return max(best, 0)

    cdef int pick(self, uint64_t hash, uint64_t random, const unsigned char* skip) noexcept:
        cdef const double* weights = self.weights.now
        cdef double total = 0.0
        cdef int index, best = -1
        if self.equal:
            return self.take_turn(skip)
        skip = self.heeded(skip)
        for index in range(self.weights.size):
            if weights[index] > 0.0 and (skip == NULL or not skip[index]):
                self.current[index] += weights[index]
                total += weights[index]
                if best < 0 or self.current[index] > self.current[best]:
                    best = index
        if best < 0:
            return -1
        self.current[best] -= total
        return best


cdef class LeastConnections(Balancer):
    """The target with the least (requests in flight + 1) / weight; of equals the next in turn after the last pick.

    The first turn begins at ``offset`` (taken modulo the number of targets).
    """

    def __init__(self, targets, weights=None, offset=0):
        self.set_weights(weights)
        self.position = <int>(offset % self.size) if self.size else 0

    cdef int pick(self, uint64_t hash, uint64_t random, const unsigned char* skip) noexcept:
        cdef const double* weights = self.weights.now
        cdef double load, least = 0.0
        cdef int _step, index = self.position, best = -1
        skip = self.heeded(skip)
        for _step in range(self.weights.size):
            if weights[index] > 0.0 and (skip == NULL or not skip[index]):
                load = <double>(count(&self.load, index) + 1)
                if best < 0 or load * weights[best] < least * weights[index]:
                    best = index
                    least = load
            index = index + 1 if index + 1 < self.weights.size else 0
        if best < 0:
            return -1
        self.position = best + 1 if best + 1 < self.weights.size else 0
        return best


cdef class Random(Balancer):
    """Any target, as often as its weight says."""

    def __dealloc__(self):
        free(self.columns)

    cdef int arrange(self, const Weights* before) except -1:
        return self.share_out(self.weights.now)

    cdef int share_out(self, const double* weights) except -1:
        """Makes the columns: each member that has more than one column's worth fills up one that has less."""
        cdef int index, small, large, smalls = 0, larges = 0, width = 0, size = self.weights.size
        cdef double total = 0.0
        cdef Column* columns = <Column*>malloc((size + 1) * sizeof(Column))
        cdef double* worth = <double*>malloc((size + 1) * sizeof(double))
        cdef int* stack = <int*>malloc((size + 1) * sizeof(int))  # small ones from the bottom, large ones from the top
        if columns == NULL or worth == NULL or stack == NULL:
            free(columns)
            free(worth)
            free(stack)
            raise MemoryError
        for index in range(size):
            if weights[index] > 0.0:
                columns[width].own = columns[width].other = index
                columns[width].keep = <uint64_t>1 << 32
                total += weights[index]
                width += 1
        for index in range(width):
            worth[index] = weights[columns[index].own] * width / total
            if worth[index] < 1.0:
                stack[smalls] = index
                smalls += 1
            else:
                larges += 1
                stack[size - larges] = index
        while smalls and larges:
            smalls -= 1
            small = stack[smalls]
            large = stack[size - larges]
            columns[small].keep = <uint64_t>(worth[small] * 4294967296.0)
            columns[small].other = columns[large].own
            worth[large] -= 1.0 - worth[small]
            if worth[large] < 1.0:
                larges -= 1
                stack[smalls] = large
                smalls += 1
        free(worth)
        free(stack)
        free(self.columns)
        self.columns = columns
        self.width = width
        return 0

    cdef int draw(self, uint64_t random, const unsigned char* skip, int but) noexcept:
        """An eligible member by weight that is neither skipped nor ``but``, if there is one."""
        cdef const Column* column
        cdef int _turn, index = 0
        if self.weights.eligible == 0:
            return -1
        for _turn in range(DRAWS):
            column = &self.columns[((random >> 32) * <uint64_t>self.width) >> 32]
            index = column.own if <uint32_t>random < column.keep else column.other
            if self.weights.now[index] > 0.0 and index != but and (skip == NULL or not skip[index]):
                return index
            random = mix(random)
        return self.next_in_turn(index, skip, but)

    cdef int pick(self, uint64_t hash, uint64_t random, const unsigned char* skip) noexcept:
        return self.draw(random, self.heeded(skip), -1)


cdef class PowerOfTwoChoices(Random):
    """Of two targets drawn by weight the one with less requests in flight / weight."""

    cdef int pick(self, uint64_t hash, uint64_t random, const unsigned char* skip) noexcept:
        cdef const double* weights = self.weights.now
        cdef int first, second
        skip = self.heeded(skip)
        first = self.draw(random, skip, -1)
        if self.weights.eligible < 2:
            return first
        second = self.draw(mix(random), skip, first)
        if skip != NULL and skip[second]:
            return first
        if <double>count(&self.load, second) * weights[first] < <double>count(&self.load, first) * weights[second]:
            return second
        return first


cdef class IPHash(Random):
    """The same target for the same key, as long as the targets stay; keys are shared out by weight.

    Without a key it is any target.
    """

    cdef int arrange(self, const Weights* before) except -1:
        return self.share_out(self.weights.known)

    cdef int pick(self, uint64_t hash, uint64_t random, const unsigned char* skip) noexcept:
        return self.draw(mix(hash) if hash != 0 else random, self.heeded(skip), -1)


cdef class Taken:
    """A target for the length of a block; see `Balancer.taken`."""

    def __cinit__(self, Balancer balancer not None, key=None):
        self.balancer = balancer
        self.key = key
        self.number = -1

    def __enter__(self):
        if self.number >= 0:
            raise RuntimeError("a target is already taken")
        self.number = self.balancer.choose_number(self.key)
        self.balancer.counts[self.number] += 1
        return self.balancer.targets[self.number]

    def __exit__(self, *error):
        self.balancer.counts[self.number] -= 1
        self.number = -1
        return False
