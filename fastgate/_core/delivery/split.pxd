from fastgate._core.exchange.exchange cimport Exchange, Upstream
from fastgate._core.exchange.route cimport Split


cdef Upstream choose(Exchange x, Split split)
