# Answers that go through and still say something of what is stored, or could be. Part of cached.pyx.


cdef int hint_of(Cached by, Exchange x, Visit v) except -1:
    """A 304, a part or the whole goes to a client whose request the store could not answer. If the whole may be stored,
    the next such request asks for that: clients with caches of their own, and players that ask for ranges only, would
    keep this one empty.
    """
    cdef Head head = x.response
    cdef Moments moments
    cdef Judgement judged
    cdef int status = head.status
    cdef int64_t length = head.content_length
    cdef int64_t total = whole_length(head) if status == 206 else max(length, 0)
    if total < 0:
        return 0
    moments_since(<int64_t>boottime_ms(), &moments)
    head.status = 200
    head.content_length = total
    judge(by.rules, PLAIN_GET, facts_of(by, x), &v.asked, head, head, &moments, &judged)
    head.status = status
    head.content_length = length
    if judged.obstacle == NO_OBSTACLE and judged.freshness.fresh_until > moments.received:
        throw_out(by.cache.store, v.hash)
    return 0


cdef int64_t whole_length(Head head) noexcept:
    """The length of the whole, as a part says it (RFC 9110 section 14.4); -1: it does not."""
    cdef int line = next_line(head, b"content-range", 13, 0)
    cdef const unsigned char* p
    cdef int64_t total = -1
    cdef uint32_t i
    if line < 0:
        return -1
    p = head.p + head.fields[line].value
    for i in range(head.fields[line].value_length):
        if p[i] == c"/":
            total = 0
        elif total >= 0:
            if not 48 <= p[i] <= 57 or total > MOST_LENGTH:
                return -1
            total = total * 10 + p[i] - 48
    return total


# -- answers to POST that are stored for GET (RFC 9110 section 9.3.3)


cdef int expect_post(Cached by, Exchange x, Visit v) except -1:
    """Before a POST is sent: what purges there were, and that its address has been asked for."""
    v.asked_number = sent_now(by, x, v)
    v.asked_at = <int64_t>boottime_ms()
    return 0


cdef bint sees_more(Cached by, Exchange x) except -1:
    """Whether the upstream got another query than the key has: such an answer may depend on what the key leaves out."""
    cdef WorkerCache cache = by.cache
    if not x.has_query or not (by.rules.filters_query or by.rules.sort):
        return False
    if not make_query(x, cache, by.rules) or cache.query.length != x.query_length:
        return True
    return x.query_length > 0 and memcmp(cache.query.data, x.query, x.query_length) != 0


cdef bint is_post(Head request) noexcept:
    return exactly(request.p + request.method.start, request.method.length, b"POST", 4)


cdef int answer_to_post(Cached by, Exchange x, Visit v) except -1:
    """The answer to an unsafe request: removes what is stored of its address; of a POST it may be what GET gets."""
    cdef Purges purges = by.cache.purges
    cdef uint64_t tags[OWN_TAGS]
    cdef uint64_t before, checked
    cdef uint64_t asked = v.asked_number
    cdef int count, removed
    cdef bint stored = False
    if is_post(x.request) and x.response.status == 200 and not sees_more(by, x) \
            and is_own_location(by, x, v) and may_be_stored(by, x, v):
        count = own_tags(v, x, by.cache, by.rules, by.route, tags)
        checked = asked
        stored = purges.compare(
            asked, &checked, tags, count, <const unsigned char*>by.cache.address.data, by.cache.address.length,
            v.path_at
        ) == PURGED_NOT
    before = atomic_load_acquire(&purges.head.number)
    removed = invalidate(by.aside, x, by.cache, by.rules)
    if stored and atomic_load_acquire(&purges.head.number) == before + <uint64_t>removed:
        # No purge but those of this answer itself came since it was asked for.
        v.tapped = []
        v.tapped_head = Head.__new__(Head)
        v.tapped_head.copy(x.response)
        v.tapped_size = 0
        v.tap_number = before + <uint64_t>removed
    return 0


cdef bint is_own_location(Cached by, Exchange x, Visit v) except -1:
    """Whether Content-Location is the address of the request."""
    cdef bytes named
    make_address(v, x, by.cache, None, False)
    named = named_in(v, by.cache, x.response, b"content-location", 16)
    return named is not None and named == by.cache.address.data[:by.cache.address.length]


cdef bint may_be_stored(Cached by, Exchange x, Visit v) except -1:
    cdef Moments moments
    cdef Judgement judged
    moments_since(v.asked_at, &moments)
    read_request_directives(x.request, &v.asked)
    judge(by.rules, PLAIN_GET, facts_of(by, x), &v.asked, x.response, x.response, &moments, &judged)
    return judged.obstacle == NO_OBSTACLE and (
        judged.rule == OF_S_MAXAGE or judged.rule == OF_MAX_AGE or judged.rule == OF_EXPIRES
    )


cdef int tap(Cached by, Exchange x, Visit v, bytes piece, bint last) except -1:
    """A piece of such an answer on its way to the client; with the last one all of it is stored."""
    cdef Moments moments
    cdef Judgement judged
    cdef Entry entry
    cdef Asked asked
    cdef bytes body
    if piece is not None:
        v.tapped.append(piece)
        v.tapped_size += PyBytes_GET_SIZE(piece)
    if v.tapped_size > by.rules.max_object:
        v.tapped = None
        return 0
    if not last:
        return 0
    body = b"".join(v.tapped)
    v.tapped = None
    if v.tapped_head.content_length >= 0 and v.tapped_head.content_length != PyBytes_GET_SIZE(body):
        return 0
    v.method = PLAIN_GET
    make_key(v, x, by.cache, by.rules, by.namespace, by.upstream, by.credentials)
    v.take_key(&by.cache.key)
    set_asked(&asked, &v.key, v.primary_length, v.primary_hash, v.tap_number)
    moments_since(v.asked_at, &moments)
    judge(by.rules, PLAIN_GET, facts_of(by, x), &v.asked, v.tapped_head, v.tapped_head, &moments, &judged)
    if judged.obstacle == NO_OBSTACLE \
            and entry_of(by, x, &asked, v.tapped_head, &judged, &entry, PyBytes_GET_SIZE(body), moments.received):
        entry.body = PyBytes_AS_STRING(body)
        by.counts[ROUTE_STORED] += put_object(by.cache.store, &entry, <uint64_t>moments.received)
    v.tapped_head = None
    return 0
