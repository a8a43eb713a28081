"""Which of several deliveries answers a request of a split route.

Theory of operation. Each way has a part of the span from 0 to 1, as long as its share of the weights, in the order
of the configuration. A request is a point in it: by chance, or, where the split is sticky, by the hash of its key. When
a weight grows, the parts of those behind it move; so the last one, where people write the canary, only ever gains the
keys next to its border. O(ways). The
chosen one takes the place of the split: nothing is left to do for it.
"""

from libc.stdint cimport uint64_t

from fastgate._core.exchange.exchange cimport Delivery, Exchange
from fastgate._core.exchange.request_key cimport RequestKey, find_steady_key


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
        x.delivery = self.choose(x)
        return x.delivery.begin(x)

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
        point = (hash >> 11) * (1.0 / 9007199254740992.0)
        for i in range(len(self.bounds) - 1):
            if point < <double>self.bounds[i]:
                return <Delivery>self.ways[i]
        return <Delivery>self.ways[len(self.bounds) - 1]
