from libc.stdint cimport int64_t, uint32_t

from fastgate._core.delivery.cache.directives cimport MOST_SECONDS, Directives
from fastgate._core.delivery.cache.rules cimport CacheRules
from fastgate._core.delivery.cache.vary cimport VaryNames
from fastgate._core.exchange.head cimport Head


cdef enum RequestFacts:
    """What is known of a request when its answer is judged, as bits."""
    HAS_IDENTITY = 1                   # a policy of this gateway has established it
    HAS_AUTHORIZATION = 2              # the field is there
    CREDENTIAL_FORWARDED = 4           # the upstream sees a credential, whatever field it is in
    HAS_COOKIE = 8
    COOKIE_IN_KEY = 16                 # one of the cookies that the request has, or the field
    BYPASSED = 32                      # `bypass` matches


cdef enum Audience:
    """For whom an answer is stored."""
    FOR_NONE = 0
    FOR_IDENTITY = 1
    FOR_ALL = 2


cdef enum Obstacle:
    """Why an answer is not stored; the first that applies."""
    NO_OBSTACLE = 0
    BY_BYPASS
    BY_METHOD
    BY_STATUS
    BY_TYPE                            # an event stream, or parts that replace each other
    BY_NO_STORE
    BY_REQUEST                         # the request's own no-store
    BY_PRIVATE
    BY_SET_COOKIE
    BY_VARY
    BY_END                             # the body ends with the connection
    BY_LENGTH                          # it is larger than `max_object`
    BY_NO_LIFETIME                     # nothing says that it may be stored
    BY_CREDENTIAL
    BY_COOKIE


cdef enum Lifetime:
    """Which rule gave a lifetime."""
    OF_NOTHING = 0
    OF_S_MAXAGE
    OF_MAX_AGE
    OF_EXPIRES
    OF_TTL
    OF_HEURISTIC


cdef enum Staleness:
    """What is kept of directives for later requests, as bits."""
    VALIDATE_ALWAYS = 1                # no-cache
    NEVER_STALE = 2                    # no-cache, must-revalidate, proxy-revalidate
    NO_MAX_STALE = 4                   # these, or s-maxage: clients cannot ask for it when it is stale


cdef enum Use:
    """How a stored answer may be used for a request."""
    USE_FRESH = 0
    USE_STALE = 1                      # max-stale of the request
    USE_WHILE_REVALIDATING = 2
    VALIDATE_STALE = 3                 # validate first: it is stale
    VALIDATE_REQUESTED = 4             # the request wants it fresher than it is
    VALIDATE_NO_CACHE = 5              # the answer wants it each time


# When an answer came.
cdef struct Moments:
    int64_t wall                       # seconds since 1970, when its head was received
    int64_t asked                      # milliseconds of a clock that nobody sets, when its request was sent
    int64_t received                   # of the same clock, when its head was received


# What the store keeps; milliseconds of the clock of `Moments`.
cdef struct Freshness:
    int64_t born                       # when its age was 0
    int64_t fresh_until
    int64_t swr_until                  # fresh_until at least
    int64_t sie_until
    uint32_t flags                     # Staleness


cdef struct Judgement:
    Directives said
    Freshness freshness
    int64_t lifetime                   # milliseconds
    int rule                           # Lifetime
    int audience                       # Audience
    int obstacle                       # Obstacle
    VaryNames vary                     # which fields select the answer, if there is no obstacle


cdef uint32_t request_facts(CacheRules rules, Head request, bint identity, bint forwarded) noexcept
cdef void judge(
    CacheRules rules, int method, uint32_t facts, const Directives* asked, Head answer, Head message,
    const Moments* moments, Judgement* judgement
) noexcept
cdef int use_of(CacheRules rules, const Freshness* freshness, const Directives* asked, int64_t now) noexcept
cdef bint usable_after_failure(
    CacheRules rules, const Freshness* freshness, const Directives* asked, int64_t now
) noexcept
cdef bint only_if_cached(CacheRules rules, const Directives* asked) noexcept


cdef inline int64_t age_at(const Freshness* freshness, int64_t now) noexcept nogil:
    """current_age in seconds (RFC 9111 section 4.2.3), for Age; at most 2³¹."""
    cdef int64_t age = (now - freshness.born) // 1000 if now > freshness.born else 0
    return age if age < <int64_t>MOST_SECONDS else <int64_t>MOST_SECONDS
