"""What the cache's rules cost a request that is answered from the store: time, and Python objects. The gateway never
loads it.

Theory of operation
-------------------
`hit` does for one request what a delivery will: the facts and directives of the request, the query, both keys, how the
stored answer may be used, conditions and range. Objects are counted where Python allocates them: its allocator is
replaced while it runs by one that counts and passes on.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset
from posix.time cimport CLOCK_PROCESS_CPUTIME_ID, clock_gettime, timespec

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from fastgate._core.delivery.cache.conditions cimport Selection, select
from fastgate._core.delivery.cache.directives cimport Directives, read_request_directives
from fastgate._core.delivery.cache.freshness cimport (
    USE_FRESH,
    Freshness,
    request_facts,
    use_of,
)
from fastgate._core.delivery.cache.key cimport (
    NAMESPACE,
    KeyFacts,
    KeyStart,
    Text,
    put_primary,
    put_query,
    put_secondary,
    renew_start,
)
from fastgate._core.delivery.cache.rules cimport CacheRules
from fastgate._core.delivery.cache.vary cimport VaryNames, read_record
from fastgate._core.exchange.head cimport NAMES_PASS, Head
from fastgate._core.memory.buffer cimport Buffer, free_buffer

cdef extern from *:
    """
    static PyMemAllocatorEx fg_real;
    static uint64_t fg_objects;

    static void *fg_malloc(void *context, size_t size) { fg_objects++; return fg_real.malloc(fg_real.ctx, size); }
    static void *fg_calloc(void *context, size_t count, size_t size) {
        fg_objects++;
        return fg_real.calloc(fg_real.ctx, count, size);
    }
    static void *fg_realloc(void *context, void *block, size_t size) {
        fg_objects++;
        return fg_real.realloc(fg_real.ctx, block, size);
    }
    static void fg_free(void *context, void *block) { fg_real.free(fg_real.ctx, block); }

    static void fg_begin_to_count(void) {
        PyMemAllocatorEx counting = {NULL, fg_malloc, fg_calloc, fg_realloc, fg_free};
        PyMem_GetAllocator(PYMEM_DOMAIN_OBJ, &fg_real);
        fg_objects = 0;
        PyMem_SetAllocator(PYMEM_DOMAIN_OBJ, &counting);
    }
    static uint64_t fg_end_counting(void) {
        PyMem_SetAllocator(PYMEM_DOMAIN_OBJ, &fg_real);
        return fg_objects;
    }
    """
    void begin_to_count "fg_begin_to_count" ()
    uint64_t end_counting "fg_end_counting" ()


cdef uint64_t cpu_ns() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now)
    return <uint64_t>now.tv_sec * 1000000000 + now.tv_nsec


cdef Head indexed(bytes data, bint request):
    cdef Head head = Head.__new__(Head)
    head.data = data
    if head.scan(<const unsigned char*>PyBytes_AS_STRING(data), len(data), request, 1 << 20) != len(data) \
            or head.index(request, NAMES_PASS) != 0:
        raise ValueError("not a valid head")
    return head


def hit(CacheRules rules not None, bytes request, bytes stored, bytes record, bytes query, int times):
    """Nanoseconds of processor time that the rules take of one hit, and how many Python objects they made in all."""
    cdef Head head = indexed(request, True)
    cdef Head answer = indexed(stored, False)
    cdef Buffer key, left
    cdef KeyStart start
    cdef VaryNames names
    cdef KeyFacts facts
    cdef Directives asked
    cdef Freshness freshness
    cdef Selection selection
    cdef uint64_t began, objects
    cdef uint32_t seen = 0
    cdef int left_to_do = times
    cdef bytes route = b"r" * 16
    cdef Text nothing
    nothing.p = NULL
    nothing.length = -1
    freshness.born = 0
    freshness.fresh_until = freshness.swr_until = freshness.sie_until = 60000
    freshness.flags = 0
    memset(&start, 0, sizeof(KeyStart))
    key.data = left.data = NULL
    key.length = key.capacity = left.length = left.capacity = 0
    facts.route.p = <const unsigned char*>PyBytes_AS_STRING(route)
    facts.route.length = NAMESPACE
    facts.upstream = facts.scheme = facts.host = facts.port = nothing
    facts.identity = facts.credential = facts.content_type = facts.body = nothing
    facts.parts = NULL
    facts.path.p = head.p + head.target.start
    facts.path.length = head.target.length
    if [part for part in rules.key if part.kind not in (0, 1)]:
        raise ValueError("only header:NAME and cookie:NAME are possible here")
    began = cpu_ns()
    begin_to_count()
    try:
        while left_to_do > 0:
            left_to_do -= 1
            key.length = left.length = 0
            read_request_directives(head, &asked)
            seen |= request_facts(rules, head, False, False)
            put_query(
                &left, rules, <const unsigned char*>PyBytes_AS_STRING(query), PyBytes_GET_SIZE(query)
            )
            facts.query.p = <const unsigned char*>left.data
            facts.query.length = left.length
            renew_start(&start, &facts)
            put_primary(&key, &start, rules, head, None, &facts)
            read_record(<const unsigned char*>PyBytes_AS_STRING(record), PyBytes_GET_SIZE(record), &names)
            put_secondary(&key, head, None, &names)
            if use_of(rules, &freshness, &asked, 1000) != USE_FRESH:
                raise ValueError("this request is not a hit")
            select(head, answer, 10, 0, 0, &selection)
    finally:
        objects = end_counting()
        began = cpu_ns() - began
        free_buffer(&key)
        free_buffer(&left)
        free_buffer(&start.text)
    return began / <double>times, objects
