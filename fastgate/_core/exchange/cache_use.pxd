from fastgate._core.exchange.exchange cimport Exchange, Facts


cdef enum Use:
    """What the response cache did for a request."""
    NO_USE = 0                         # its route does not cache
    USE_HIT
    USE_MISS
    USE_STALE
    USE_REVALIDATED
    USE_COLLAPSED
    USE_BYPASS
    USES


cdef class CacheUse(Facts):
    cdef int use                       # Use


cdef int CACHE_USE                     # its place in an exchange


cdef int cache_use(Exchange x) noexcept
