"""May an answer be stored, for whom, how long is it fresh, and may it be used for a request (RFC 9111 sections 3, 4.2).

Theory of operation
-------------------
`judge` looks at an answer once, when its head has come. It goes through what forbids to store it, in the order of
`Obstacle`; `renew` finds the lifetime by the first rule that applies and turns it into four times of a clock that
nobody sets: `Freshness`, which is all that the store keeps. The wall clock is needed for Date, Expires and
Last-Modified only, at that moment.

Age counts from when the request was sent: born = received − max(apparent age, Age + time that the answer took).

`use_of` compares these times and the directives of a later request with the present: a few comparisons, no text.

Who may see it narrows what RFC 9111 allows: an identity that a policy of the gateway has established counts as an
Authorization field (section 3.5) whatever field the credential came in, and neither `ttl` nor heuristics touch an
answer to a request with Cookie, Authorization or identity, unless that is in the key or the answer is ``public``.

Saying stale-while-revalidate or stale-if-error outweighs what s-maxage implies (section 5.2.2.10) only where the answer
itself says it.
"""

from libc.stdint cimport int64_t, uint32_t

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.tuple cimport PyTuple_GET_SIZE

from fastgate._core.delivery.cache.dates cimport read_date
from fastgate._core.delivery.cache.directives cimport (
    ANY_STALE,
    MOST_SECONDS,
    MUST_REVALIDATE,
    MUST_UNDERSTAND,
    NO_CACHE,
    NO_SECONDS,
    NO_STORE,
    ONLY_IF_CACHED,
    PRIVATE,
    PROXY_REVALIDATE,
    PUBLIC,
    TARGETED,
    Directives,
    read_age,
    read_directives,
)
from fastgate._core.delivery.cache.rules cimport (
    COOKIE_BYPASS,
    HONOR_BOTH,
    HONOR_NEITHER,
    NO_TTL,
    OF_COOKIE,
    OF_HEADER,
    PLAIN_GET,
    WITH_BODY,
    CacheRules,
    KeyPart,
)
from fastgate._core.delivery.cache.spans cimport blank, exactly
from fastgate._core.delivery.cache.vary cimport NEVER_THE_SAME, read_vary
from fastgate._core.exchange.field_lines cimport next_known, next_line
from fastgate._core.exchange.head cimport AUTHORIZATION, CONTENT_TYPE, COOKIE, DATE, Head, same

cdef enum:
    MOST_OF_A_DAY = 86400              # seconds that a heuristic gives at most


# -- requests


cdef bint has_cookie(Head request, const char* name, Py_ssize_t length) noexcept:
    """Whether the request has a cookie of this name, also one that the upstream does not get."""
    cdef const unsigned char* p
    cdef Py_ssize_t size, at, equal, end
    cdef int i
    for i in range(request.count):
        if request.fields[i].id != COOKIE:
            continue
        p = request.p + request.fields[i].value
        size = request.fields[i].value_length
        at = 0
        while at < size:
            while at < size and blank(p[at]):
                at += 1
            equal = at
            while equal < size and p[equal] != b"=" and p[equal] != b";":
                equal += 1
            end = equal
            while end > at and blank(p[end - 1]):
                end -= 1
            if equal < size and p[equal] == b"=" and exactly(p + at, end - at, name, length):
                return True
            while equal < size and p[equal] != b";":
                equal += 1
            at = equal + 1
    return False


cdef bint has_part(Head request, KeyPart part) noexcept:
    """Whether the request has the field or cookie."""
    if part.kind == OF_HEADER:
        return next_line(request, PyBytes_AS_STRING(part.name), PyBytes_GET_SIZE(part.name), 0) >= 0
    return part.kind == OF_COOKIE and has_cookie(request, PyBytes_AS_STRING(part.name), PyBytes_GET_SIZE(part.name))


cdef uint32_t request_facts(CacheRules rules, Head request, bint identity, bint forwarded) noexcept:
    """`RequestFacts`. ``identity``: a policy has established one; ``forwarded``: the upstream sees a credential."""
    cdef uint32_t facts = 0
    cdef Py_ssize_t i
    cdef KeyPart part
    if not (identity or forwarded or PyTuple_GET_SIZE(rules.bypass)) \
            and not request.seen & (<uint32_t>1 << AUTHORIZATION | <uint32_t>1 << COOKIE):
        return 0
    if identity:
        facts |= HAS_IDENTITY
    if forwarded:
        facts |= CREDENTIAL_FORWARDED
    if request.seen & <uint32_t>1 << AUTHORIZATION:
        facts |= HAS_AUTHORIZATION
    if request.seen & <uint32_t>1 << COOKIE:
        facts |= HAS_COOKIE
        for i in range(PyTuple_GET_SIZE(rules.key)):
            part = <KeyPart>rules.key[i]
            if part.kind == OF_COOKIE or (
                part.kind == OF_HEADER and exactly(
                    <const unsigned char*>PyBytes_AS_STRING(part.name), PyBytes_GET_SIZE(part.name), b"cookie", 6
                )
            ):
                if has_part(request, part):
                    facts |= COOKIE_IN_KEY
    for i in range(PyTuple_GET_SIZE(rules.bypass)):
        if has_part(request, <KeyPart>rules.bypass[i]):
            facts |= BYPASSED
    return facts


# -- answers


cdef bint understood(int status) noexcept nogil:
    """The final status codes of RFC 9110 section 15 whose answers can be stored as a whole."""
    return 200 <= status <= 205 or 300 <= status <= 303 or status in (305, 307, 308) or 400 <= status <= 417 \
        or status in (421, 422, 426) or 500 <= status <= 505


cdef bint never_stored(int status) noexcept nogil:
    """Parts, answers to conditions, and what RFC 6585 forbids to store."""
    return status < 200 or status in (206, 304, 428, 429, 431, 511)


cdef bint heuristic_status(int status) noexcept nogil:
    """RFC 9110 section 15.1, without 206."""
    return status in (200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501)


cdef bint endless_type(Head answer) noexcept:
    """Whether it is an event stream, or parts of which each replaces the one before."""
    cdef const unsigned char* p
    cdef Py_ssize_t end
    cdef int line = next_known(answer, CONTENT_TYPE, 0)
    while line >= 0:
        p = answer.p + answer.fields[line].value
        end = 0
        if answer.fields[line].value_length < 17 or (p[0] | 32) not in (b"t", b"m"):
            line = next_line(answer, b"content-type", 12, line + 1)
            continue
        while end < <Py_ssize_t>answer.fields[line].value_length and p[end] != b";":
            end += 1
        while end > 0 and blank(p[end - 1]):
            end -= 1
        if same(p, end, b"text/event-stream", 17) or same(p, end, b"multipart/x-mixed-replace", 25):
            return True
        line = next_line(answer, b"content-type", 12, line + 1)
    return False


cdef bint date_in(Head answer, int line, int next, int64_t wall, int64_t* seconds) noexcept:
    """The date in the one line of a name; False: there is none, or there are several (``next``), or it is no date."""
    if line < 0 or next >= 0:
        return False
    return read_date(answer.p + answer.fields[line].value, answer.fields[line].value_length, wall, seconds)


cdef int64_t date_of(Head answer, int64_t wall) noexcept:
    """Date; where it is missing or cannot be read, when the answer was received (RFC 9110 section 6.6.1)."""
    cdef int64_t seconds = wall
    cdef int line = next_known(answer, DATE, 0)
    if line >= 0:
        date_in(answer, line, next_line(answer, b"date", 4, line + 1), wall, &seconds)
    return seconds


cdef int64_t capped(int64_t seconds) noexcept nogil:
    """As a lifetime, in milliseconds."""
    if seconds <= 0:
        return 0
    return (seconds if seconds < <int64_t>MOST_SECONDS else <int64_t>MOST_SECONDS) * 1000


cdef int64_t lifetime_of_expires(Head answer, int64_t wall) noexcept:
    """Expires − Date in milliseconds; -1: there is no Expires. What is no date is past (section 5.3); of several lines
    the earliest counts.
    """
    cdef int line = next_line(answer, b"expires", 7, 0)
    cdef int64_t expires = 0
    cdef int64_t earliest = 0
    cdef bint any = False
    if line < 0:
        return -1
    while line >= 0:
        if not read_date(answer.p + answer.fields[line].value, answer.fields[line].value_length, wall, &expires):
            return 0
        if not any or expires < earliest:
            earliest = expires
        any = True
        line = next_line(answer, b"expires", 7, line + 1)
    return capped(earliest - date_of(answer, wall))


cdef int64_t lifetime_of_heuristic(CacheRules rules, Head answer, int64_t wall) noexcept:
    """A share of the time since Last-Modified in milliseconds; -1: nothing is known of it."""
    cdef int64_t modified = 0
    cdef int64_t since
    cdef double share
    cdef int line
    if rules.heuristic <= 0:
        return -1
    line = next_line(answer, b"last-modified", 13, 0)
    if not date_in(answer, line, next_line(answer, b"last-modified", 13, line + 1), wall, &modified):
        return -1
    since = date_of(answer, wall) - modified
    if since <= 0:
        return 0
    share = <double>since * rules.heuristic
    return (<int64_t>share if share < MOST_OF_A_DAY else MOST_OF_A_DAY) * 1000


cdef bint credential_counts(CacheRules rules, uint32_t facts) noexcept:
    """Whether section 3.5 is about this request. With `shared` only a credential that is forwarded counts."""
    if not facts & (HAS_IDENTITY | HAS_AUTHORIZATION):
        return False
    return not rules.shared or (facts & CREDENTIAL_FORWARDED) != 0


cdef bint identity_separates(CacheRules rules, uint32_t facts) noexcept:
    """Whether no other identity has the key of this request."""
    return rules.identity_in_key and (facts & HAS_IDENTITY) != 0


cdef void renew(
    CacheRules rules, uint32_t facts, const Directives* said, Head answer, Head message, const Moments* moments,
    Judgement* judgement
) noexcept:
    """Finds the lifetime of an answer, how old it is and how long it may be used stale.

    ``message`` is what has come, whose Age counts. For an answer that a 304 has updated, ``answer`` is the merged head.
    """
    cdef Freshness* freshness = &judgement.freshness
    cdef bint public = (said.words & PUBLIC) != 0
    cdef bint defaults = public or (
        (not facts & HAS_COOKIE or facts & COOKIE_IN_KEY)
        and (not credential_counts(rules, facts) or identity_separates(rules, facts))
    )
    cdef bint origin = rules.honors != HONOR_NEITHER
    cdef int64_t lifetime = -1
    cdef int64_t swr, sie, apparent, age
    cdef uint32_t seconds = 0
    cdef uint32_t flags = 0
    judgement.rule = OF_NOTHING
    if origin:
        if said.s_maxage != NO_SECONDS:
            lifetime = capped(said.s_maxage)
            judgement.rule = OF_S_MAXAGE
        elif said.max_age != NO_SECONDS:
            lifetime = capped(said.max_age)
            judgement.rule = OF_MAX_AGE
        elif said.source != TARGETED:
            lifetime = lifetime_of_expires(answer, moments.wall)
            if lifetime >= 0:
                judgement.rule = OF_EXPIRES
    if lifetime < 0 and defaults:
        lifetime = rules.ttl_of(answer.status)
        if lifetime != NO_TTL:
            judgement.rule = OF_TTL
        elif origin and (public or heuristic_status(answer.status)):
            lifetime = lifetime_of_heuristic(rules, answer, moments.wall)
            if lifetime >= 0:
                judgement.rule = OF_HEURISTIC
    if lifetime < 0:
        lifetime = 0
    judgement.lifetime = lifetime
    # how old it was when it came (section 4.2.3)
    apparent = (moments.wall - date_of(answer, moments.wall)) * 1000
    age = moments.received - moments.asked
    if age < 0:
        age = 0
    if read_age(message, &seconds):
        age += <int64_t>seconds * 1000
    if apparent > age:
        age = apparent
    freshness.born = moments.received - age
    freshness.fresh_until = freshness.born + lifetime
    # and how long it is good when it is stale
    if said.words & (NO_CACHE | MUST_REVALIDATE | PROXY_REVALIDATE):
        flags = NEVER_STALE | NO_MAX_STALE
    elif said.s_maxage != NO_SECONDS:
        flags = NO_MAX_STALE
    if said.words & NO_CACHE and origin:
        flags |= VALIDATE_ALWAYS
    swr = 0 if flags & NO_MAX_STALE else rules.stale_while_revalidate
    sie = 0 if flags & NO_MAX_STALE else rules.stale_if_error
    if origin and not flags & NEVER_STALE:
        if said.swr != NO_SECONDS:
            swr = capped(said.swr)
        if said.sie != NO_SECONDS:
            sie = capped(said.sie)
    freshness.swr_until = freshness.fresh_until + swr
    freshness.sie_until = freshness.fresh_until + sie
    freshness.flags = flags


cdef void judge(
    CacheRules rules, int method, uint32_t facts, const Directives* asked, Head answer, Head message,
    const Moments* moments, Judgement* judgement
) noexcept:
    """Says whether an answer may be stored, for whom, and how long it is fresh.

    ``method`` is a `MethodKind`, ``facts`` are `RequestFacts`, ``asked`` the directives of the request. ``message`` is
    what has come: the answer itself, or a 304 that has updated it; ``answer`` has the status and the length of the
    stored answer then.
    """
    read_directives(answer, rules.targeted, rules.targeted_bits, &judgement.said)
    renew(rules, facts, &judgement.said, answer, message, moments, judgement)
    judgement.audience = FOR_NONE
    judgement.obstacle = obstacle_to(rules, method, facts, asked, answer, judgement)
    if judgement.obstacle == NO_OBSTACLE:
        judgement.audience = FOR_IDENTITY if identity_separates(rules, facts) else FOR_ALL


cdef int obstacle_to(
    CacheRules rules, int method, uint32_t facts, const Directives* asked, Head answer, Judgement* judgement
) noexcept:
    cdef uint32_t words = judgement.said.words
    cdef int status = answer.status
    if facts & BYPASSED:
        return BY_BYPASS
    if method != PLAIN_GET and method != WITH_BODY:
        return BY_METHOD
    if never_stored(status) or (words & MUST_UNDERSTAND and not understood(status)):
        return BY_STATUS
    if endless_type(answer):
        return BY_TYPE
    if words & NO_STORE and not words & MUST_UNDERSTAND:
        return BY_NO_STORE
    if rules.honors == HONOR_BOTH and asked.words & NO_STORE:
        return BY_REQUEST
    if words & PRIVATE and not (rules.private and facts & HAS_IDENTITY):
        return BY_PRIVATE
    if rules.cookies == COOKIE_BYPASS and next_line(answer, b"set-cookie", 10, 0) >= 0:
        return BY_SET_COOKIE
    if read_vary(rules, answer, &judgement.vary) == NEVER_THE_SAME:
        return BY_VARY
    if not answer.chunked and answer.content_length < 0 and status != 204:
        return BY_END
    if answer.content_length > rules.max_object:
        return BY_LENGTH
    if not allowed(rules, answer, judgement):
        return BY_NO_LIFETIME
    if credential_counts(rules, facts) and not identity_separates(rules, facts) \
            and not words & (PUBLIC | MUST_REVALIDATE) and judgement.said.s_maxage == NO_SECONDS:
        return BY_CREDENTIAL
    if facts & HAS_COOKIE and not facts & COOKIE_IN_KEY and not words & PUBLIC \
            and judgement.rule not in (OF_S_MAXAGE, OF_MAX_AGE, OF_EXPIRES):
        return BY_COOKIE
    return NO_OBSTACLE


cdef bint allowed(CacheRules rules, Head answer, const Judgement* judgement) noexcept:
    """Whether something says that it may be stored: the last condition of section 3."""
    if judgement.rule != OF_NOTHING:
        return True
    if rules.honors == HONOR_NEITHER:
        return False
    return (judgement.said.words & (PUBLIC | PRIVATE)) != 0 or heuristic_status(answer.status)


# -- later requests


cdef int use_of(CacheRules rules, const Freshness* freshness, const Directives* asked, int64_t now) noexcept:
    """How a stored answer may be used at this time for a request with these directives: `Use`."""
    cdef bint counts = rules.honors == HONOR_BOTH
    cdef bint patient = False          # the client takes what is stale
    cdef int64_t over = now - freshness.fresh_until
    if freshness.flags & VALIDATE_ALWAYS:
        return VALIDATE_NO_CACHE
    if counts:
        if asked.words & NO_CACHE:
            return VALIDATE_REQUESTED
        if asked.max_age != NO_SECONDS and now - freshness.born > <int64_t>asked.max_age * 1000:
            return VALIDATE_REQUESTED
        if asked.min_fresh != NO_SECONDS and -over < <int64_t>asked.min_fresh * 1000:
            return VALIDATE_REQUESTED if over < 0 else VALIDATE_STALE
    if over < 0:
        return USE_FRESH
    if counts:
        if asked.max_stale != NO_SECONDS:
            patient = over <= <int64_t>asked.max_stale * 1000
        else:
            patient = (asked.words & ANY_STALE) != 0
        if patient and not freshness.flags & NO_MAX_STALE:
            return USE_STALE
        # A client that says how stale it may be, or how old and nothing of stale answers, wants none that is older
        # (sections 5.2.1.1 and 5.2.1.2).
        if not patient and (asked.max_stale != NO_SECONDS or asked.max_age != NO_SECONDS):
            return VALIDATE_STALE
    return USE_WHILE_REVALIDATING if now < freshness.swr_until else VALIDATE_STALE


cdef bint usable_after_failure(
    CacheRules rules, const Freshness* freshness, const Directives* asked, int64_t now
) noexcept:
    """Whether a stored answer may be used when its validation has failed (RFC 5861 section 4)."""
    if freshness.flags & (NEVER_STALE | VALIDATE_ALWAYS):
        return False
    if rules.honors == HONOR_BOTH:
        if asked.words & NO_CACHE:
            return False
        if asked.sie != NO_SECONDS and not freshness.flags & NO_MAX_STALE \
                and now < freshness.fresh_until + <int64_t>asked.sie * 1000:
            return True
    return now < freshness.sie_until


cdef bint only_if_cached(CacheRules rules, const Directives* asked) noexcept:
    """Whether the client wants 504 where nothing stored can be used (section 5.2.1.7)."""
    return rules.honors == HONOR_BOTH and (asked.words & ONLY_IF_CACHED) != 0
