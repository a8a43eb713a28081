from libc.stdint cimport uint32_t, uint64_t

from fastgate._core.exchange.head cimport Head


cdef extern from * nogil:
    """
    #define FG_NO_SECONDS 0xFFFFFFFFU
    #define FG_MOST_SECONDS 2147483648U
    """
    uint32_t NO_SECONDS "FG_NO_SECONDS"      # the directive is not there
    uint32_t MOST_SECONDS "FG_MOST_SECONDS"  # what a larger number counts as (RFC 9111 section 1.2.2)


cdef enum Words:
    """What directives without a number say, as bits."""
    NO_STORE = 1
    NO_CACHE = 2                       # unqualified; or its list is empty or cannot be read
    NO_CACHE_FIELDS = 4                # no-cache="…" of some fields
    PRIVATE = 8                        # as NO_CACHE
    PRIVATE_FIELDS = 16
    PUBLIC = 32
    MUST_REVALIDATE = 64
    PROXY_REVALIDATE = 128
    MUST_UNDERSTAND = 256
    NO_TRANSFORM = 512
    IMMUTABLE = 1024
    ONLY_IF_CACHED = 2048
    ANY_STALE = 4096                   # max-stale without a number


cdef enum Source:
    """Where directives were read."""
    NOWHERE = 0
    CACHE_CONTROL = 1
    TARGETED = 2                       # a field of RFC 9213
    PRAGMA = 3


cdef struct Directives:
    uint32_t words                     # Words
    uint32_t max_age                   # seconds, at most MOST_SECONDS; NO_SECONDS: not there
    uint32_t s_maxage
    uint32_t min_fresh
    uint32_t max_stale
    uint32_t swr                       # stale-while-revalidate
    uint32_t sie                       # stale-if-error
    int source                         # Source
    int targeted                       # place in the list of targeted fields, -1: none of them


cdef void read_directives(Head head, tuple targeted, uint64_t bits, Directives* found) noexcept
cdef void read_request_directives(Head head, Directives* found) noexcept
cdef bint excepted(
    Head head, tuple targeted, const Directives* found, const unsigned char* name, Py_ssize_t length
) noexcept
cdef void read_line(const unsigned char* p, Py_ssize_t length, Directives* found) noexcept nogil
cdef bint read_dictionary(const unsigned char* p, Py_ssize_t length, Directives* found) noexcept nogil
cdef void no_directives(Directives* found) noexcept nogil
cdef bint read_seconds(const unsigned char* p, Py_ssize_t length, uint32_t* seconds) noexcept nogil
cdef bint read_age(Head head, uint32_t* seconds) noexcept
