from libc.stdint cimport int64_t, uint32_t, uint64_t

from fastgate._core.delivery.cache.directives cimport Directives
from fastgate._core.delivery.cache.freshness cimport Freshness
from fastgate._core.delivery.cache.rules cimport CacheRules
from fastgate._core.delivery.cache.vary cimport VaryNames
from fastgate._core.delivery.cache.worker_cache cimport WorkerCache
from fastgate._core.exchange.cache_result cimport CacheFacts
from fastgate._core.exchange.exchange cimport Exchange
from fastgate._core.exchange.head cimport Head
from fastgate._core.memory.buffer cimport Buffer
from fastgate._core.memory.cache.cache_store cimport View

cdef enum:
    OWN_TAGS = 4                       # that every answer has: its addresses, its route, its host
    IS_VARY_RECORD = 256               # a flag of a record, beside those of `Staleness`


cdef enum LookedUp:
    NOT_FOUND = 0                      # nothing of this URL
    NO_VARIANT = 1                     # an answer of this URL, for other requests
    PURGED = 2                         # one that was purged
    FOUND = 3


cdef class Lookup(CacheFacts):
    """What the cache knows of a request."""
    cdef int method                    # MethodKind
    cdef int wishes                    # Wish
    cdef Directives asked
    cdef int64_t now                   # CLOCK_BOOTTIME in ms, when it was looked up
    cdef uint64_t hash                 # of the key
    cdef uint64_t primary_hash
    cdef Py_ssize_t primary_length     # of the key, without the values that an answer's Vary names
    cdef bint soft                     # what was found was purged softly: it is stale
    cdef Py_ssize_t path_at            # where the path begins in ``address``
    cdef uint64_t origin_mark          # of its origin: see `Purges.mark_of`; 0: it is not known
    cdef list owners                   # of texts that the key points into; None: there are none


cdef int make_key(
    Lookup l, Exchange x, WorkerCache cache, CacheRules rules, bytes namespace, bytes upstream, tuple credentials
) except -1
cdef int make_address(Lookup l, Exchange x, WorkerCache cache, CacheRules rules, bint forwarded) except -1
cdef int make_query(Exchange x, WorkerCache cache, CacheRules rules) except -1
# By which the address in ``cache.address``, or one of the same origin, is marked as present.
cdef uint64_t mark_of_address(Lookup l, WorkerCache cache, const char* address, Py_ssize_t length) noexcept
# The same for the request, under the address by which its client asked.
cdef uint64_t mark_of_request(Lookup l, Exchange x, WorkerCache cache, CacheRules rules) except? 0
cdef int own_tags(Lookup l, Exchange x, WorkerCache cache, CacheRules rules, bytes route, uint64_t* tags) except -1
cdef int find(
    Lookup l, Exchange x, WorkerCache cache, CacheRules rules, bytes route, View* view
) except -1
cdef int validity(
    Lookup l, Exchange x, WorkerCache cache, CacheRules rules, bytes route, const View* view
) except -1
cdef bint names_of(WorkerCache cache, const View* view, Buffer* text, VaryNames* names) except -1
cdef void freshness_of(const View* view, Freshness* freshness) noexcept nogil
cdef bint forwards_credential(Exchange x, tuple credentials) noexcept
cdef bint follows_client(VaryNames* names, Exchange x) noexcept
