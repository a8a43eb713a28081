"""Which upstream of a split route a request goes to.

Theory of operation. Each upstream has a part of the span from 0 to 1, as long as its share of the weights, in the order
of the configuration. A request is a point in it: by chance, or, where the split is sticky, by the hash of its key. When
a weight grows, the parts of those behind it move; so the last one, where people write the canary, only ever gains the
keys next to its border. O(upstreams).
"""

from libc.stdint cimport uint64_t

from fastgate._core.exchange.exchange cimport Exchange, Upstream
from fastgate._core.exchange.request_key cimport RequestKey, find_steady_key


cdef class Split:
    """Several upstreams that share a route's requests by weight; with ``sticky`` a key always gets the same one."""

    def __init__(self, upstreams, weights, RequestKey sticky=None):
        total = sum(weights)
        bounds, reached = [], 0
        for weight in weights:
            reached += weight
            bounds.append(reached / total)
        self.upstreams = tuple(upstreams)
        self.bounds = tuple(bounds)
        self.sticky = sticky


cdef Upstream choose(Exchange x, Split split):
    cdef uint64_t hash = 0
    cdef double point
    cdef int i
    if split.sticky is None or not find_steady_key(x, split.sticky, b"split", &hash):
        hash = x.engine.random()
    point = (hash >> 11) * (1.0 / 9007199254740992.0)
    for i in range(len(split.bounds) - 1):
        if point < <double>split.bounds[i]:
            return <Upstream>split.upstreams[i]
    return <Upstream>split.upstreams[len(split.bounds) - 1]
