"""Answers from the store of the response cache, in the place of those of an upstream."""

from fastgate._core.exchange.exchange cimport Delivery


cdef class Cached(Around):
    def __init__(
        self, Delivery inner not None, CacheRules rules not None, WorkerCache cache not None, *,
        bytes namespace not None, str route not None, str upstream=None, hides=(), str request_id=None
    ):
        self.inner = inner
        self.rules = rules
        self.cache = cache
        self.namespace = namespace
        self.route = route.encode()
        self.upstream = upstream.encode() if upstream is not None else None
        self.hides = tuple([name.lower().encode() for name in hides])
        self.request_id = request_id.lower().encode() if request_id is not None else None
        inner.enclose(self)
