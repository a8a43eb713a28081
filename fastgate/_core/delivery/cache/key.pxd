from libc.stdint cimport uint64_t

from fastgate._core.delivery.cache.rules cimport CacheRules
from fastgate._core.delivery.cache.vary cimport VaryNames
from fastgate._core.exchange.head cimport Head
from fastgate._core.memory.buffer cimport Buffer
from fastgate._core.memory.hashing cimport SipHash

cdef enum:
    NAMESPACE = 16                     # bytes of the digest of a route and of its configuration
    DIGEST = 32                        # bytes of a SHA-256
    MOST_PARAMETERS = 64               # of a query that is sorted
    START_PARTS = 5                    # route, upstream, scheme, host, port


cdef struct Text:
    const unsigned char* p
    Py_ssize_t length                  # -1: it is not there, which is something else than empty


# What of a key does not stand in the head of the request. Texts lie in the order of their tags: see `put_texts`.
cdef struct KeyFacts:
    Text route                         # NAMESPACE bytes
    Text upstream                      # that a split has chosen
    Text scheme                        # scheme, host and port as the upstream is told them
    Text host
    Text port
    Text path                          # as it is forwarded
    Text query                         # as `put_query` has left it
    Text identity
    Text credential                    # the SHA-256 of one that is forwarded
    Text content_type                  # of a request whose body is in the key
    Text body                          # its SHA-256
    const Text* parts                  # one for each of `CacheRules.key`; of header:NAME and cookie:NAME it is not read


# The parts of a key that most requests of a worker have alike, route to port, as they were last written.
cdef struct KeyStart:
    Buffer text
    SipHash hash                       # of it, for who has set them: see `key_lookup`
    uint64_t mark                      # of its origin
    Py_ssize_t at[START_PARTS]         # where each of these parts lies
    Py_ssize_t length[START_PARTS]


# Makes it the start of this key. True: it was that of another one.
cdef bint renew_start(KeyStart* start, const KeyFacts* facts) except -1
cdef int put_primary(
    Buffer* buffer, const KeyStart* start, CacheRules rules, Head request, list extra, const KeyFacts* facts
) except -1
cdef int put_secondary(Buffer* buffer, Head request, list extra, const VaryNames* names) except -2
cdef int put_query(Buffer* buffer, CacheRules rules, const unsigned char* p, Py_ssize_t length) except -1
cdef int put_cookie(Buffer* buffer, Head request, bytes name) except -1
