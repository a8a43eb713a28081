from fastgate._core.delivery.cache.rules cimport CacheRules


cpdef bytes origin_of(bytes scheme, bytes host)
cpdef bytes query_of(CacheRules rules, bytes query)
