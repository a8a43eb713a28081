"""Which of several deliveries answers a request of a split route.

Theory of operation. Each way has a part of the span from 0 to 1, as long as its share of the weights, in the order
of the configuration. A request is a point in it: by chance, or, where the split is sticky, by the hash of its key. When
a weight grows, the parts of those behind it move; so the last one, where people write the canary, only ever gains the
keys next to its border. O(ways). The chosen one takes the place of the split where nothing is around that.
"""

from libc.stdint cimport uint64_t

from fastgate._core.exchange.exchange cimport Delivery, Exchange, Facts, new_place
from fastgate._core.exchange.request_key cimport RequestKey, find_steady_key
from fastgate._core.memory.hashing cimport fraction_of


cdef int CHOICE = new_place()      # only where there is a delivery around the split


cdef class Choice(Facts):
    cdef void reset(self) noexcept:
        self.way = None

    cdef int copy_to(self, Exchange copy) except -1:
        cdef Choice other
        if copy.places[CHOICE] == NULL:
            other = Choice.__new__(Choice)
            copy.remember(other, CHOICE)
        (<Choice>copy.places[CHOICE]).way = self.way
        return 0


cdef class Split(Delivery):
    """Several deliveries that share a route's requests by weight; with ``sticky`` a key always gets the same one."""

    def __init__(self, ways, weights, RequestKey sticky=None):
        total = sum(weights)
        bounds, reached = [], 0
        for weight in weights:
            reached += weight
            bounds.append(reached / total)
        self.ways = tuple(ways)
        self.bounds = tuple(bounds)
        self.sticky = sticky

    cdef int begin(self, Exchange x) except -1:
        cdef Delivery way = self.choose(x)
        cdef Choice choice
        if self.outer is None:
            x.delivery = way
            return way.begin(x)
        if x.places[CHOICE] == NULL:
            choice = Choice.__new__(Choice)
            x.remember(choice, CHOICE)
        (<Choice>x.places[CHOICE]).way = way
        return way.begin(x)

    cdef Delivery chosen(self, Exchange x):
        return (<Choice>x.places[CHOICE]).way if x.places[CHOICE] != NULL else None

    cdef int more(self, Exchange x, bytes piece, bint complete) except -1:
        return self.chosen(x).more(x, piece, complete)

    cdef int tunnel_bytes(self, Exchange x, bytes data) except -1:
        return self.chosen(x).tunnel_bytes(x, data)

    cdef int late(self, Exchange x) except -1:
        return self.chosen(x).late(x)

    cdef int leave(self, Exchange x) except -1:
        cdef Delivery way = self.chosen(x)
        return way.leave(x) if way is not None else 0

    cdef int move(self, Exchange x, Exchange to) except -1:
        return self.chosen(x).move(x, to)

    cdef int enclose(self, Delivery outer) except -1:
        cdef Delivery way
        self.outer = outer
        for way in self.ways:
            way.enclose(outer)
        return 0

    cdef Delivery choose(self, Exchange x):
        cdef uint64_t hash = 0
        cdef double point
        cdef int i
        if self.sticky is None or not find_steady_key(x, self.sticky, b"split", &hash):
            hash = x.engine.random()
        point = fraction_of(hash)
        for i in range(len(self.bounds) - 1):
            if point < <double>self.bounds[i]:
                return <Delivery>self.ways[i]
        return <Delivery>self.ways[len(self.bounds) - 1]
