"""The path that an upstream is asked for, where it is not the one that the client asked for."""

from fastgate._core.exchange.causes cimport BAD_REWRITE
from fastgate._core.exchange.exchange cimport ENDED, PASSED, Exchange, Gate


cdef class PathEdit(Gate):
    """The step that makes the path to forward."""

    def __init__(self, rewrite):
        self.rewrite = rewrite

    cdef int enter(self, Exchange x) except -1:
        x.forward_path = self.rewrite(x.path[:x.path_length])
        if x.forward_path is None:
            x.refuse(BAD_REWRITE)
            return ENDED
        return PASSED
