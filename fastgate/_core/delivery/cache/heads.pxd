from libc.stdint cimport int64_t, uint64_t

from fastgate._core.delivery.cache.directives cimport Directives
from fastgate._core.delivery.cache.rules cimport CacheRules
from fastgate._core.exchange.head cimport Head
from fastgate._core.exchange.head_index cimport OwnLines
from fastgate._core.memory.buffer cimport Buffer


cdef enum Forwarded:
    """Why a request went to the upstream: the words of ``fwd`` (RFC 9211 section 2.2)."""
    FWD_NOT = 0                        # a hit
    FWD_BYPASS
    FWD_METHOD
    FWD_URI_MISS
    FWD_VARY_MISS
    FWD_MISS
    FWD_REQUEST
    FWD_STALE
    FWD_PARTIAL


cdef enum StatusParts:
    """What else Cache-Status says, as bits."""
    SAYS_TTL = 1
    SAYS_STORED = 2
    SAYS_COLLAPSED = 4


cdef struct CacheStatus:
    int forwarded                      # Forwarded
    int forward_status                 # of the upstream's answer, 0: not said
    int parts                          # StatusParts
    int64_t ttl                        # seconds, below 0 for what is stale
    const char* detail                 # a token, NULL: none


cdef uint64_t lengths_of_doubt(const Directives* said, bytes request_id) noexcept
cdef bint is_stored(
    CacheRules rules, Head answer, int field, Head source, const Directives* said, bytes request_id
) noexcept
cdef int put_merged(Buffer* buffer, CacheRules rules, Head stored, Head update, bytes request_id) except -1
cdef int put_validators(Buffer* buffer, Head stored) except -1
cdef int put_age(OwnLines* lines, int64_t seconds) except -1
cdef int put_cache_status(OwnLines* lines, const CacheStatus* status) except -1
