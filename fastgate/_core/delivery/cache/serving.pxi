# How a stored answer leaves the store: with its head as it was, or as a condition or a range makes it. Part of
# cached.pyx.


cdef int put_status(
    Cached by, Visit v, int forwarded, int status, int64_t ttl, int parts, const char* detail
) except -1:
    """Adds Cache-Status to the lines of the gateway's own, if the route says it."""
    cdef CacheStatus said
    if not by.rules.cache_status:
        return 0
    said.forwarded = forwarded
    said.forward_status = status
    said.ttl = ttl
    said.parts = parts | (SAYS_COLLAPSED if v.collapsed and forwarded != FWD_NOT else 0)
    said.detail = detail
    return put_cache_status(&by.cache.own, &said)


cdef inline int64_t floor_seconds(int64_t milliseconds) noexcept nogil:
    """Towards the past: what has been stale for a moment has -1."""
    return milliseconds // 1000 if milliseconds >= 0 else -((999 - milliseconds) // 1000)


cdef int serve(Cached by, Exchange x, Visit v, const View* view, bint stale, const char* detail) except -1:
    """Answers from the store."""
    cdef Freshness freshness
    cdef OwnLines* lines = &by.cache.own
    freshness_of(view, &freshness)
    if stale:
        # What was waited for came fresh: it is another one, or has become stale since.
        v.collapsed = False
    v.result = CACHE_STALE if stale else CACHE_COLLAPSED if v.collapsed else CACHE_HIT
    no_lines(lines)
    put_age(lines, age_at(&freshness, v.now))
    put_status(
        by, v, v.forwarded if v.collapsed else FWD_NOT, 0, floor_seconds(freshness.fresh_until - v.now), SAYS_TTL,
        detail
    )
    return serve_view(by, x, v, view)


cdef int serve_validated(Cached by, Exchange x, Visit v, const View* view) except -1:
    """Answers from the store what the upstream has just confirmed."""
    cdef Freshness freshness
    cdef OwnLines* lines = &by.cache.own
    freshness_of(view, &freshness)
    v.result = CACHE_REVALIDATED
    no_lines(lines)
    put_age(lines, age_at(&freshness, v.now))
    put_status(by, v, v.forwarded, 304, floor_seconds(freshness.fresh_until - v.now), SAYS_TTL | SAYS_STORED, NULL)
    return serve_view(by, x, v, view)


cdef int serve_view(Cached by, Exchange x, Visit v, const View* view) except -1:
    """The head with the lines that were prepared, and the body."""
    cdef OwnLines* lines = &by.cache.own
    if v.wishes:
        if open_view(by.cache, x.response, view, NULL):
            return serve_selected(by, x, v, view)
    elif open_view(by.cache, x.response, view, lines):
        return serve_body(by, x, v, view, 0, view.record.body_length)
    return gone(by, x, v)


cdef int gone(Cached by, Exchange x, Visit v) except -1:
    """What was found is not whole any more: somebody needed its place."""
    x.response.release()
    v.collapsed = False
    v.turns += 1
    if v.turns <= MOST_TURNS:
        return by.look_up(x, v)
    return by.pass_by(x, v, FWD_MISS)


cdef int serve_selected(Cached by, Exchange x, Visit v, const View* view) except -1:
    """What the conditions and the range of the request leave of a stored answer, whose head lies in ``x.response``."""
    cdef Head head = x.response
    cdef int64_t length = view.record.body_length
    cdef Selection selection
    cdef Freshness freshness
    cdef int64_t now = <int64_t>time(NULL)
    freshness_of(view, &freshness)
    select(x.request, head, length, now - age_at(&freshness, v.now), now, &selection)
    if selection.answered == A_PART:
        put_range(&by.cache.own, selection.first, selection.last, length)
        restate(head, 206, b"Partial Content", &by.cache.own)
        head.content_length = selection.last - selection.first + 1
        return serve_body(by, x, v, view, <uint32_t>selection.first, selection.last + 1)
    if selection.answered == THE_WHOLE or selection.answered == NOT_HERE:
        extend_head(head, &by.cache.own)
        return serve_body(by, x, v, view, 0, length)
    bare(head, selection.answered, length, &by.cache.own)
    by.counts[answered_as[v.result]] += 1
    v.mode = NOTHING
    x.given_by = CACHE_ANSWERED
    return by.tell_answered(x, None, True)


cdef int bare(Head head, int answered, int64_t length, OwnLines* lines) except -1:
    """304 or 416 in the place of an answer of which only the head is needed."""
    cdef int i
    for i in range(head.count):
        if answered == NOT_MODIFIED and in_not_modified(head, i):
            continue
        if head.fields[i].id != DATE:
            head.fields[i].flags |= DROPPED
    if answered == NOT_MODIFIED:
        restate(head, 304, b"Not Modified", lines)
        head.content_length = -1
    else:
        put(&lines.text, b"Content-Range: bytes */", 23)
        put_number(&lines.text, length)
        end_line(lines, 13)
        restate(head, 416, b"Range Not Satisfiable", lines)
        head.content_length = 0
    return 0


cdef int put_range(OwnLines* lines, int64_t first, int64_t last, int64_t length) except -1:
    put(&lines.text, b"Content-Range: bytes ", 21)
    put_number(&lines.text, first)
    put(&lines.text, b"-", 1)
    put_number(&lines.text, last)
    put(&lines.text, b"/", 1)
    put_number(&lines.text, length)
    return end_line(lines, 13)


cdef int restate(Head head, int status, bytes phrase, OwnLines* lines) except -1:
    """Another status, and lines of the gateway's own behind the fields. The phrase lies behind the text of the head."""
    cdef Py_ssize_t length
    cdef bytes text
    extend_head(head, lines)
    length = head.length
    text = head.p[:length] + phrase
    head.data = text
    head.p = <const unsigned char*>PyBytes_AS_STRING(text)
    head.reason.start = <uint32_t>length
    head.reason.length = <uint32_t>PyBytes_GET_SIZE(phrase)
    head.status = status
    return 0


cdef int serve_body(Cached by, Exchange x, Visit v, const View* view, uint32_t first, int64_t stop) except -1:
    """Tells the head in ``x.response`` and gives the bytes of the body from ``first`` to before ``stop``."""
    cdef Store* s = by.cache.store
    cdef int64_t size = stop - first
    cdef bytes piece = None
    cdef Reader reader = None
    if x.is_head:
        size = 0
    if 0 < size <= COPIED:
        piece = PyBytes_FromStringAndSize(NULL, size)
        if not copy_body(s, view, first, PyBytes_AS_STRING(piece), <uint32_t>size):
            return gone(by, x, v)
    elif size > 0:
        reader = Reader.__new__(Reader)
        if not reader.set_out(by.cache, by.counts, view, first, stop):
            return gone(by, x, v)
    # From here on it is this answer that the client gets.
    if size == view.record.body_length and x.response.status != 206:
        v.number = view.record.number
        v.cache = by.cache
    by.counts[answered_as[v.result]] += 1
    x.given_by = CACHE_ANSWERED
    if reader is not None:
        v.mode = SERVING
        v.reader = reader
        return reader.begin(by, x, NULL, 0)
    by.counts[ROUTE_BYTES_SAVED] += size
    v.mode = NOTHING
    return by.tell_answered(x, piece, True)


cdef int serve_wishes(
    Cached by, Exchange x, Visit v, int status, bytes piece, const Judgement* judged, bint stored
) except -1:
    """A fresh answer of the upstream, for a client with conditions or a range of its own: it lies in ``x.response``."""
    cdef Head head = x.response
    cdef OwnLines* lines = &by.cache.own
    cdef Selection selection
    cdef int64_t length = PyBytes_GET_SIZE(piece) if piece is not None else 0
    cdef int64_t now = <int64_t>time(NULL)
    no_lines(lines)
    put_status(
        by, v, v.forwarded, status, floor_seconds(judged.freshness.fresh_until - <int64_t>boottime_ms()),
        (SAYS_STORED | SAYS_TTL) if stored else 0, NULL
    )
    select(x.request, head, length, now, now, &selection)
    if selection.answered == A_PART:
        put_range(lines, selection.first, selection.last, length)
        restate(head, 206, b"Partial Content", lines)
        head.content_length = selection.last - selection.first + 1
        return by.tell_answered(x, piece[selection.first:selection.last + 1], True)
    if selection.answered == THE_WHOLE or selection.answered == NOT_HERE:
        extend_head(head, lines)
        return by.tell_answered(x, piece, True)
    bare(head, selection.answered, length, lines)
    return by.tell_answered(x, None, True)


cdef bint serve_merged(Cached by, Exchange x, Visit v, Head merged, const View* view) except -1:
    """What a 304 has confirmed and may not be stored any longer. False: it is gone."""
    cdef bytes body = PyBytes_FromStringAndSize(NULL, view.record.body_length)
    cdef Judgement judged
    if not copy_body(by.cache.store, view, 0, PyBytes_AS_STRING(body), view.record.body_length):
        return False
    x.response.copy(merged)
    memset(&judged, 0, sizeof(Judgement))
    v.mode = NOTHING
    serve_wishes(by, x, v, 304, body or None, &judged, False)
    return True


cdef bint find_again(Cached by, Exchange x, Visit v, View* view) except -1:
    """Whether something is stored for the request, whose key other requests have overwritten since it was looked up."""
    make_key(v, x, by.cache, by.rules, by.namespace, by.upstream, by.credentials)
    return find(v, x, by.cache, by.rules, by.route, view) == FOUND


cdef bint find_stale(Cached by, Exchange x, Visit v, View* view) except -1:
    """What is stale and may be used because the upstream cannot be asked. False: there is nothing."""
    cdef Freshness freshness
    v.now = <int64_t>boottime_ms()
    if not find_again(by, x, v, view):
        return False
    freshness_of(view, &freshness)
    return usable_after_failure(by.rules, &freshness, &v.asked, v.now)


cdef bint serve_stale(Cached by, Exchange x, Visit v) except -1:
    """Answers with it. False: there is nothing."""
    cdef View view
    if not find_stale(by, x, v, &view):
        return False
    serve(by, x, v, &view, True, "stale-if-error")
    return True


cdef bint find_stored(Cached by, Fetch f, View* view) except -1:
    """What a fetch validates, as it is stored now. False: it is gone, or another one is in its place."""
    cdef WorkerCache cache = by.cache
    cache.key.length = 0
    put(&cache.key, f.key.data, f.key.length)
    return look(cache.store, f.hash, cache.key.data, cache.key.length, <uint64_t>boottime_ms(), view) \
        and view.record.flags & IS_VARY_RECORD == 0
