"""The gate of a route that is open to some addresses only.

Theory of operation. Networks are looked up in one radix tree, the most specific one decides; nothing is made for a
request that passes.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from fastgate._core.exchange.causes cimport IP_DENIED
from fastgate._core.exchange.exchange cimport ENDED, PASSED, Exchange, Gate
from fastgate._core.routing.networks cimport NOWHERE, Networks


cdef class IpRules(Gate):
    def __init__(self, *, allow=(), deny=()):
        self.networks = Networks({**{network: 1 for network in allow}, **{network: 0 for network in deny}})
        self.closed = bool(allow)

    cdef int enter(self, Exchange x) except -1:
        cdef int mark = self.networks.find(PyBytes_AS_STRING(x.client_ip))
        # A client that is not known may be one of those denied.
        if mark == 1 or (mark == NOWHERE and not self.closed and PyBytes_GET_SIZE(x.client_ip)):
            return PASSED
        x.refuse(IP_DENIED)
        return ENDED
