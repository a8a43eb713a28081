from fastgate._core.delivery.cache.rules cimport CacheRules
from fastgate._core.delivery.cache.worker_cache cimport WorkerCache
from fastgate._core.exchange.exchange cimport Around


cdef class Cached(Around):
    cdef readonly CacheRules rules
    cdef readonly WorkerCache cache
    cdef readonly bytes namespace
    cdef readonly bytes route
    cdef readonly bytes upstream
    cdef readonly tuple hides          # names in lower case of fields with credentials that the upstream never gets
    cdef readonly bytes request_id     # the name of the field of the request id in lower case; None: there is none
