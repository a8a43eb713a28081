from fastgate._core.delivery.cache.rules cimport CacheRules
from fastgate._core.delivery.cache.worker_cache cimport WorkerCache
from fastgate._core.exchange.exchange cimport Around


cdef class Cached(Around):
    cdef readonly CacheRules rules
    cdef readonly WorkerCache cache
    cdef bytes namespace
    cdef bytes route
    cdef bytes upstream
