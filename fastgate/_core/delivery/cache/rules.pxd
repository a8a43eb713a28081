from libc.stdint cimport int64_t, uint32_t, uint64_t

from fastgate._core.exchange.head cimport Head

cdef enum:
    STATUSES = 500                     # 100 to 599
    NO_TTL = -1
    MOST_KEY_PARTS = 16


cdef enum Honor:
    """Whose Cache-Control counts."""
    HONOR_BOTH = 0
    HONOR_ANSWERS = 1
    HONOR_NEITHER = 2                  # but no-store, private, and who may see what


cdef enum SetCookie:
    """What becomes of an answer with Set-Cookie."""
    COOKIE_BYPASS = 0                  # it is not stored
    COOKIE_STRIP = 1                   # it is stored without them
    COOKIE_STORE = 2


cdef enum PartKind:
    """What a part of a key, or of `bypass`, is made of."""
    OF_HEADER = 0
    OF_COOKIE = 1
    OF_PARAM = 2
    OF_CLAIM = 3
    OF_CLIENT_IP = 4
    OF_IDENTITY = 5


cdef enum MethodKind:
    """What a method is for the cache of a route."""
    PLAIN_GET = 0                      # is answered from the store, and its answer is stored
    PLAIN_HEAD = 1                     # is answered from what GET has stored
    WITH_BODY = 2                      # POST or QUERY where they are named: as GET, with the body in the key
    PASSES_BY = 3                      # safe, and neither answered nor stored
    INVALIDATES = 4                    # unsafe, or unknown


cdef class KeyPart:
    cdef readonly int kind             # PartKind
    cdef readonly bytes name           # of a header field in lower case; empty where the kind needs none


cdef class CacheRules:
    cdef readonly tuple methods        # bytes
    cdef bint has_get                  # among them
    cdef bint has_head
    cdef readonly int64_t max_key_body  # bytes
    cdef readonly tuple key            # of KeyPart
    cdef readonly tuple bypass         # of KeyPart
    cdef readonly bint filters_query
    cdef readonly bint only            # the patterns are those that stay; else those that go
    cdef readonly tuple patterns       # bytes
    cdef readonly bint sort
    cdef readonly tuple drop           # bytes, names in lower case
    cdef uint64_t drop_bits            # `bits_of` them
    cdef readonly tuple vary           # bytes, names in lower case, in order
    cdef readonly tuple vary_except    # the same
    cdef readonly tuple targeted       # the same, in the order of preference
    cdef uint64_t targeted_bits
    cdef int honors                    # Honor
    cdef readonly double heuristic     # share of Date − Last-Modified, 0: none
    cdef readonly bint private
    cdef readonly bint shared
    cdef int cookies                   # SetCookie
    cdef readonly int64_t max_object   # bytes
    cdef readonly int64_t stale_while_revalidate  # milliseconds, as all below
    cdef readonly int64_t stale_if_error
    cdef readonly int64_t retry_stale
    cdef readonly int64_t hit_for_miss
    cdef readonly int64_t collapse_timeout
    cdef readonly bint collapse
    cdef readonly tuple tags           # str
    cdef readonly bint cache_status
    cdef readonly bint etag
    cdef int64_t[500] ttls             # milliseconds for each status, NO_TTL: none
    cdef bint identity_in_key

    cdef int64_t ttl_of(self, int status) noexcept nogil
    cdef int method_kind(self, Head request) noexcept


cdef bint has_name(tuple names, const unsigned char* text, Py_ssize_t length) noexcept
