from libc.stdint cimport int64_t, uint64_t

from fastgate._core.delivery.cache.directives cimport Directives
from fastgate._core.delivery.cache.freshness cimport Freshness
from fastgate._core.delivery.cache.key_lookup cimport Lookup
from fastgate._core.delivery.cache.rules cimport CacheRules
from fastgate._core.delivery.cache.tags cimport Tag
from fastgate._core.delivery.cache.worker_cache cimport WorkerCache
from fastgate._core.exchange.exchange cimport Exchange
from fastgate._core.exchange.head cimport Head
from fastgate._core.exchange.head_index cimport OwnLines
from fastgate._core.memory.buffer cimport Buffer
from fastgate._core.memory.cache.cache_store cimport Entry, View


cdef bint make_head(
    Buffer* text, Buffer* index, CacheRules rules, Head answer, const Directives* said, bytes request_id,
    int64_t length, bytes date
) except -1
cdef bint add_tags(Lookup l, Exchange x, WorkerCache cache, CacheRules rules, Head answer) except -1
cdef uint64_t group_tag(Lookup l, WorkerCache cache, const Tag* tag) except? 0
cdef void set_entry(
    WorkerCache cache, Entry* entry, const Freshness* freshness, int64_t now, bint has_validator
) noexcept
cdef bint open_view(WorkerCache cache, Head head, const View* view, const OwnLines* own) except -1
cdef bint has_validator(Head answer) noexcept
