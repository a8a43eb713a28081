# What 304 and the answer to a HEAD say of a stored answer. Part of cached.pyx.


cdef int freshened(Cached by, Fetch f, Exchange copy) except -1:
    """304: what is stored is still right, and gets the fields of this answer (RFC 9111 section 4.3.4)."""
    cdef WorkerCache cache = by.cache
    cdef Store* s = cache.store
    cdef Head update = copy.response
    cdef Head merged
    cdef Moments moments
    cdef Judgement judged
    cdef Entry entry
    cdef Asked asked
    cdef View view
    cdef Exchange x
    cdef Visit v = f.visit
    cdef bint kept
    if not same_representation(f.stored, update) or not find_stored(by, f, &view) \
            or view.record.number != f.stored_number:
        return fetch_again(by, f, copy)
    merged = merge(by, f.stored, update, view.record.body_length)
    if merged is None:
        return fetch_again(by, f, copy)
    moments_since(f.asked_at, &moments)
    set_asked(&asked, &f.key, f.primary_length, f.primary_hash, f.number)
    judge(by.rules, f.method, f.facts, &f.asked, merged, update, &moments, &judged)
    kept = judged.obstacle == NO_OBSTACLE \
        and entry_of(by, copy, &asked, merged, &judged, &entry, view.record.body_length, moments.received) \
        and replace_head(s, &view, &entry, moments.received)
    if lands(f):
        land(by, copy, &f.ticket, kept, &judged, moments.received)
    x = take_patron(f)
    end_fetch(f, copy, OK)
    if x is None:
        return 0
    v.now = moments.received
    v.result = CACHE_REVALIDATED
    if kept and find_stored(by, f, &view):
        return serve_validated(by, x, v, &view)
    # It may not be stored any longer, but it is what the client asked for.
    if still(s, &view) and serve_merged(by, x, v, merged, &view):
        if judged.obstacle != NO_OBSTACLE:
            remove_this(s, &view)
        return 0
    v.turns += 1
    return by.look_up(x, v) if v.turns <= MOST_TURNS else by.tell_failed(x, CONNECT_FAILED)


cdef Head merge(Cached by, Head stored, Head update, int64_t length):
    """The head of a stored answer with the fields of what has confirmed it; None: there is no such head."""
    cdef WorkerCache cache = by.cache
    cdef Head merged = Head.__new__(Head)
    cdef bytes start = b"HTTP/1.1 %03d %b" % (
        stored.status, stored.p[stored.reason.start:stored.reason.start + stored.reason.length]
    )
    cache.lines.length = 0
    put_merged(&cache.lines, by.rules, stored, update, by.request_id)
    lines = PyBytes_FromStringAndSize(cache.lines.data, cache.lines.length)
    if merged.fill(start, lines, False, MAX_HEAD, NAMES_PASS) != OK:
        return None
    merged.content_length = length
    return merged


cdef int fetch_again(Cached by, Fetch f, Exchange copy) except -1:
    """The same request without conditions: what was to be validated is another one, or gone."""
    f.stored = None
    by.inner.leave(copy)
    copy.response.release()
    copy.request_extra = [
        pair for pair in copy.request_extra if pair[0] != b"If-None-Match" and pair[0] != b"If-Modified-Since"
    ]
    copy.delivery = by.inner
    return by.inner.begin(copy)


cdef int freshen_by_head(Cached by, Exchange x, Visit v) except -1:
    """The answer to a HEAD that went upstream: what GET has stored is still right, and gets its fields, or is removed
    (RFC 9111 section 4.3.5).
    """
    cdef WorkerCache cache = by.cache
    cdef Head stored, merged
    cdef Moments moments
    cdef Judgement judged
    cdef Entry entry
    cdef Asked asked
    cdef View view
    if sees_more(by, x) or not find_again(by, x, v, &view):
        return 0
    stored = Head.__new__(Head)
    if not open_view(cache, stored, &view, NULL) or stored.status != 200:
        return 0
    if not agrees(stored, x.response, view.record.body_length):
        remove_this(cache.store, &view)
        return 0
    v.take_key(&cache.key)
    set_asked(&asked, &v.key, v.primary_length, v.primary_hash, view.record.purge)
    merged = merge(by, stored, x.response, view.record.body_length)
    if merged is None:
        return 0
    moments_since(v.now, &moments)
    judge(by.rules, PLAIN_GET, facts_of(by, x), &v.asked, merged, x.response, &moments, &judged)
    if judged.obstacle != NO_OBSTACLE:
        remove_this(cache.store, &view)
    elif entry_of(by, x, &asked, merged, &judged, &entry, view.record.body_length, moments.received):
        replace_head(cache.store, &view, &entry, moments.received)
    return 0
