from fastgate._core.exchange cimport Exchange, Upstream
from fastgate._core.route cimport Split


cdef Upstream choose(Exchange x, Split split)
