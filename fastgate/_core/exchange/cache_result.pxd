from fastgate._core.exchange.exchange cimport Exchange, Facts


cdef enum CacheResult:
    """What the response cache did for a request."""
    CACHE_NOTHING = 0                         # its route does not cache
    CACHE_HIT
    CACHE_MISS
    CACHE_STALE
    CACHE_REVALIDATED
    CACHE_COLLAPSED
    CACHE_BYPASS
    CACHE_RESULTS


cdef class CacheFacts(Facts):
    cdef int result                    # CacheResult

    cdef bytes version(self, bytes name)
    cdef bint keeps_versions(self) noexcept
    cdef int keep_version(self, bytes name, bytes body) except -1


cdef int CACHE_FACTS                     # its place in an exchange


cdef int cache_result(Exchange x) noexcept
cdef CacheFacts stored_whole(Exchange x)
