# The usual miss: the request itself is the fetch, as long as its answer may come in one piece. Part of cached.pyx.
#
# Its client waits for the same answer as those that follow, and nothing of the request has to be changed. If the answer
# comes whole it is stored and sent on at once, without an exchange of its own. If only its beginning comes, or the
# client leaves, the fetch goes on in one: see fetch.pxi.


cdef int lead(Cached by, Exchange x, Visit v, const Ticket* ticket) except -1:
    v.mode = LEADING
    v.flies = ticket != NULL
    if ticket != NULL:
        v.ticket = ticket[0]
        by.cache.flying += 1
    return by.inner.begin(x)


cdef bint lands_here(Cached by, Visit v) noexcept:
    """Whether the flight that the request leads is still to be ended; the caller ends it now."""
    if not v.flies:
        return False
    v.flies = False
    by.cache.flying -= 1
    return True


cdef int lead_answered(Cached by, Exchange x, Visit v, bytes piece, bint last) except -1:
    cdef Head head = x.response
    cdef Moments moments
    cdef Judgement judged
    cdef Entry entry
    cdef Asked asked
    cdef Py_ssize_t size = PyBytes_GET_SIZE(piece) if piece is not None else 0
    cdef bint storable, stored = False
    moments_since(v.asked_at, &moments)
    judge(by.rules, v.method, facts_of(by, x), &v.asked, head, head, &moments, &judged)
    storable = judged.obstacle == NO_OBSTACLE and not is_useless(by, head, &judged, moments.received)
    if storable and not last:
        return go_on_apart(by, x, v, piece)
    if storable and size <= by.rules.max_object \
            and (head.content_length < 0 or head.content_length == size or head.status == 204):
        set_asked(&asked, &v.key, v.primary_length, v.primary_hash, v.asked_number)
        if entry_of(by, x, &asked, head, &judged, &entry, size, moments.received):
            if size:
                entry.body = PyBytes_AS_STRING(piece)
            entry.is_new = v.forwarded == FWD_URI_MISS
            stored = put_object(by.cache.store, &entry, <uint64_t>moments.received)
            by.counts[ROUTE_STORED] += stored
    elif judged.obstacle != NO_OBSTACLE:
        by.counts[ROUTE_NOT_STORED + judged.obstacle] += 1
    if lands_here(by, v):
        land(by, x, &v.ticket, stored, &judged, moments.received)
    v.mode = NOTHING if last else PASSING
    put_forwarded(by, x, v, &judged, stored, moments.received, NULL)
    return by.tell_answered(x, piece, last)


cdef int go_on_apart(Cached by, Exchange x, Visit v, bytes piece) except -1:
    """The answer of which ``piece`` is the beginning is taken by a fetch from here on."""
    cdef Fetch f = fetch_of_lead(by, x, v)
    cdef Exchange copy = f.copy
    copy.response, x.response = x.response, copy.response
    copy.response_at = x.response_at
    copy.connected_at = x.connected_at
    f.patron = x
    f.visit = v
    v.fetch = f
    v.mode = WAITING
    copy.total_due = x.total_due
    x.wait(0)
    copy.wait(0)
    return fetched_head(by, f, copy, piece, False)


cdef Fetch fetch_of_lead(Cached by, Exchange x, Visit v):
    """A fetch that does what the request has done until now."""
    cdef Fetch f = fetch_for(by, x, v)
    cdef Exchange copy
    if v.flies:
        v.flies = False
        f.flies = True
        f.ticket = v.ticket
    copy = copy_of(x, f)
    f.copy = copy
    copy.phase = PHASE_DELIVERY
    copy.delivery = by.inner
    by.inner.move(x, copy)
    x.source = None
    x.body_flows = False
    return f


cdef int lead_left(Cached by, Exchange x, Visit v) except -1:
    """The request is over before its answer came: its fetch goes on, for those who follow and for the store."""
    cdef Fetch f
    if x.cause == TOTAL_TIMEOUT or x.cause == STOPPED or x.engine.draining and not v.flies:
        if lands_here(by, v):
            by.cache.flights.fail(&v.ticket, x.cause)
        return by.inner.leave(x)
    f = fetch_of_lead(by, x, v)
    f.copy.total_due = x.total_due
    return f.copy.wait(0)


cdef int lead_failed(Cached by, Exchange x, Visit v, int cause) except -1:
    if lands_here(by, v):
        by.cache.flights.fail(&v.ticket, cause)
    v.mode = NOTHING
    return by.tell_failed(x, cause)
