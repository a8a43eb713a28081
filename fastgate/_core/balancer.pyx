"""Balancers: which target gets the next request.

Theory of operation. A balancer is made for a fixed list of targets and answers with an index into it; what a target
is, it does not know. ``pick()`` is the C-level question, asked once an attempt on the request path: it makes no
Python object and cannot fail. A balancer belongs to one worker. The order of picks is therefore exact in a worker and
only statistical over all of them, which nobody can observe from outside; ``offset`` (the worker's slot) keeps fresh
workers from all starting with the same target.

RoundRobin: one integer, the next index. O(1); over any ``size`` picks in a row every target is picked exactly once.
"""

from types import GenericAlias


cdef class Balancer:
    """Chooses among targets. The kinds differ in ``choose()``; this base class always answers with the first target."""

    def __cinit__(self, targets, *args, **kwargs):
        self.targets = tuple(targets)
        self.size = <int>len(self.targets)

    def __init__(self, targets):
        pass

    __class_getitem__ = classmethod(GenericAlias)

    cdef int pick(self) noexcept:
        return 0 if self.size else -1

    def choose(self):
        """The target for the next request. Raises LookupError when there is none."""
        cdef int index = self.pick()
        if index < 0:
            raise LookupError("no targets to choose from")
        return self.targets[index]

    def __len__(self) -> int:
        return self.size


cdef class RoundRobin(Balancer):
    """Every target in turn, beginning with the one at ``offset`` (taken modulo their number)."""

    def __init__(self, targets, offset=0):
        self.position = <int>(offset % self.size) if self.size else 0

    cdef int pick(self) noexcept:
        cdef int index = self.position
        if not self.size:
            return -1
        self.position = index + 1 if index + 1 < self.size else 0
        return index
