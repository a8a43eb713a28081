# Fetches: what is asked for the store, by exchanges without a client. Part of cached.pyx.


cdef class Fetch(NoClient):
    def __cinit__(self):
        memset(&self.key, 0, sizeof(Buffer))

    def __dealloc__(self):
        free_buffer(&self.key)

    cdef int send_interim(self, Exchange x) except -1:
        """A 1xx is for the client that made this be asked; it lies in ``x.response``."""
        cdef Exchange patron = self.patron
        if patron is None or patron.response_started:
            return 0
        x.response, patron.response = patron.response, x.response
        try:
            patron.interim()
        finally:
            x.response, patron.response = patron.response, x.response
        return 0

    cdef int left_alone(self) except -1:
        """Its patron has left. What it brings goes into the store all the same, if it may."""
        if self.unsent is not None:
            self.copy.client_gone(STOPPED)
        return 0

    cdef int settled(self, Exchange x) except -1:
        """Its exchange is over, however that came."""
        self.exchange = None
        self.copy = None
        return fetch_ended(self.by, self)


cdef int fetch_raised(Cached by, Fetch f, object error) except -1:
    """Logged here, once. Who waits for the fetch is told when its exchange is over."""
    cdef Exchange copy = f.copy
    text = f"the cache of route {by.route.decode()!r} raised {type(error).__name__}: {error}"
    f.engine.log("error", text, exception=error)
    return end_fetch(f, copy, POLICY_FAILED) if copy is not None else 0


cdef int land(Cached by, Exchange x, const Ticket* ticket, bint stored, const Judgement* judged, int64_t now) noexcept:
    """All of an answer is there: those who wait take it from the store, or ask each for themselves."""
    if stored and judged.freshness.fresh_until > now:
        by.cache.flights.complete(ticket)
    else:
        by.cache.flights.refuse(ticket, x.engine.wheel.now + by.rules.hit_for_miss)
    return 0


cdef bint lands(Fetch f) noexcept:
    """Whether its flight is still to be ended; the caller ends it now."""
    if not f.flies:
        return False
    f.flies = False
    f.by.cache.flying -= 1
    return True


cdef int strip_wishes(Head request) noexcept:
    """Conditions and ranges are the client's: the store needs the whole."""
    cdef Field* field
    cdef const unsigned char* name
    cdef int i
    for i in range(request.count):
        field = &request.fields[i]
        name = request.p + field.name
        if same(name, field.name_length, b"if-none-match", 13) or same(name, field.name_length, b"range", 5) \
                or same(name, field.name_length, b"if-modified-since", 17) \
                or same(name, field.name_length, b"if-range", 8):
            field.flags |= DROPPED
    return 0


cdef int fetch_begin(Cached by, Fetch f, Exchange copy, Exchange x) except -1:
    """The request as it is asked for the store."""
    cdef WorkerCache cache = by.cache
    cdef bytes line, name, value
    cdef bytes mark
    strip_wishes(copy.request)
    if by.rules.filters_query or by.rules.sort:
        copy.has_query = make_query(x, cache, by.rules)
        copy.query_owner = PyBytes_FromStringAndSize(cache.query.data, cache.query.length)
        copy.query = <const unsigned char*>PyBytes_AS_STRING(copy.query_owner)
        copy.query_length = cache.query.length
    if f.stored is not None:
        cache.lines.length = 0
        put_validators(&cache.lines, f.stored)
        if copy.request_extra is None:
            copy.request_extra = []
        for line in cache.lines.data[:cache.lines.length].split(b"\r\n"):
            name, mark, value = line.partition(b": ")
            if mark:
                copy.request_extra.append((name, value))
    copy.phase = PHASE_DELIVERY
    copy.delivery = by.inner
    return 0


cdef int fetch_of_view(Cached by, Fetch f, const View* stale) except -1:
    """What is stale and can be validated is validated."""
    cdef Head head = Head.__new__(Head)
    if not open_view(by.cache, head, stale, NULL) or not has_validator(head):
        return 0
    f.stored = head
    f.stored_number = stale.record.number
    return 0


cdef inline uint32_t facts_of(Cached by, Exchange x) noexcept:
    return request_facts(
        by.rules, x.request, x.identity is not None,
        names_in(x.request) & by.credential_bits != 0 and forwards_credential(x, by.credentials),
    )


cdef Fetch fetch_for(Cached by, Exchange x, Visit v):
    """A fetch of what this request asks for."""
    cdef Fetch f = Fetch.__new__(Fetch)
    f.by = by
    put(&f.key, v.key.data, v.key.length)
    f.hash = v.hash
    f.primary_hash = v.primary_hash
    f.primary_length = v.primary_length
    f.method = v.method
    f.facts = facts_of(by, x)
    f.asked = v.asked
    f.forwarded = v.forwarded
    f.number = v.asked_number
    f.asked_at = v.asked_at
    return f


cdef int start_fetch(
    Cached by, Exchange x, Visit v, const Ticket* ticket, uint64_t number, const View* stale, bint background
) except -1:
    cdef Fetch f
    cdef Exchange copy
    v.asked_number = number
    v.asked_at = v.now
    by.counts[asked_for[v.forwarded]] += 1
    if stale == NULL and not background and not v.wishes and not by.rules.filters_query and not by.rules.sort:
        return lead(by, x, v, ticket)
    f = fetch_for(by, x, v)
    if ticket != NULL:
        f.flies = True
        f.ticket = ticket[0]
        by.cache.flying += 1
    if stale != NULL:
        f.replaces = True
        fetch_of_view(by, f, stale)
    copy = copy_of(x, f)
    f.copy = copy
    if background:
        if x.route.total_timeout:
            copy.total_due = x.engine.wheel.now + x.route.total_timeout
    else:
        copy.total_due = x.total_due
        f.patron = x
        f.visit = v
        v.fetch = f
        v.mode = WAITING
        x.wait(0)
    copy.wait(0)
    fetch_begin(by, f, copy, x)
    try:
        return by.inner.begin(copy)
    except BaseException:
        if not copy.over:
            copy.finish(POLICY_FAILED)
        raise


cdef void moments_since(int64_t asked, Moments* moments) noexcept:
    """Of an answer that is there now."""
    moments.wall = <int64_t>time(NULL)
    moments.asked = asked
    moments.received = <int64_t>boottime_ms()


cdef bint is_useless(Cached by, Head head, const Judgement* judged, int64_t now) noexcept:
    """Whether what may be stored would never be used."""
    return judged.freshness.fresh_until <= now and max(judged.freshness.swr_until, judged.freshness.sie_until) <= now \
        and not has_validator(head) and not by.rules.etag


cdef int fetched_head(Cached by, Fetch f, Exchange copy, bytes piece, bint last) except -1:
    """The answer to a fetch has its head, and perhaps all of it."""
    cdef Head head = copy.response
    cdef Moments moments
    cdef Judgement judged
    cdef Entry entry
    cdef Asked asked
    cdef Store* s = by.cache.store
    cdef int64_t now
    cdef int status = head.status
    cdef Py_ssize_t size = PyBytes_GET_SIZE(piece) if piece is not None else 0
    cdef bint stored = False
    copy.status = status
    if f.stored is not None and status == 304:
        return freshened(by, f, copy)
    if f.replaces and is_failure(status) and spared(by, f, retry_after_of(head)):
        return end_fetch(f, copy, OK)
    moments_since(f.asked_at, &moments)
    set_asked(&asked, &f.key, f.primary_length, f.primary_hash, f.number)
    now = moments.received
    judge(by.rules, f.method, f.facts, &f.asked, head, head, &moments, &judged)
    if judged.obstacle != NO_OBSTACLE:
        by.counts[ROUTE_NOT_STORED + judged.obstacle] += 1
        return give_away(by, f, copy, piece, last, NULL)
    if is_useless(by, head, &judged, now):
        return give_away(by, f, copy, piece, last, NULL)
    if last:
        if size > by.rules.max_object or (head.content_length >= 0 and head.content_length != size and status != 204):
            return give_away(by, f, copy, piece, last, NULL)
        if entry_of(by, copy, &asked, head, &judged, &entry, size, now):
            if size:
                entry.body = PyBytes_AS_STRING(piece)
            stored = put_object(s, &entry, now)
            by.counts[ROUTE_STORED] += stored
        return give_whole(by, f, copy, piece, last, &judged, stored)
    if not entry_of(by, copy, &asked, head, &judged, &entry, head.content_length, now):
        return give_away(by, f, copy, piece, last, "not-stored")
    if head.content_length >= 0:
        stored = begin_filling(s, &entry, now, &f.filling) and reserve(s, &f.filling, head.content_length, now)
    else:
        # What comes beyond `max_object` is for those who read along by then.
        stored = begin_stream(s, &entry, FILLED_ABANDONED, now, &f.filling)
        if stored and f.filling.view.record.body_length < by.rules.max_object:
            # A store that is too small for that: who read along might not get all.
            abandon(s, &f.filling)
            stored = False
        stored = stored and reserve(s, &f.filling, by.rules.max_object, now)
        keep_entry(f, &entry)
    if not stored or (size and not append(s, &f.filling, PyBytes_AS_STRING(piece), <uint32_t>size, now)):
        return give_away(by, f, copy, piece, last, "not-stored")
    f.size = size
    return read_along(by, f, copy, &judged)


cdef inline void clear_entry(Entry* entry) noexcept:
    """Nothing, in no bytes."""
    memset(entry, 0, sizeof(Entry))
    entry.key = entry.head = entry.fields = entry.body = b""


cdef bint entry_of(
    Cached by, Exchange x, const Asked* asked, Head answer, const Judgement* judged, Entry* entry, int64_t length,
    int64_t now
) except -1:
    """What is to be stored of an answer to ``x``, in the buffers of the worker. False: it cannot be stored.

    Where its Vary names fields, the record of the URL says so from then on.
    """
    cdef WorkerCache cache = by.cache
    cdef CacheRules rules = by.rules
    cdef Store* s = cache.store
    cdef VaryNames names, known
    cdef View view
    cdef bint has_record = False
    cdef const char* key = asked.key
    cdef Py_ssize_t key_length = asked.primary_length
    cdef int count
    cdef bytes tag
    cdef bytes date = None
    clear_entry(entry)
    count = judged.vary.count
    entry.hash = asked.primary_hash
    if count or asked.length > asked.primary_length:
        names = judged.vary
        if follows_client(&names, x):
            return False
        cache.key.length = 0
        put(&cache.key, asked.key, asked.primary_length)
        has_record = look(s, asked.primary_hash, cache.key.data, cache.key.length, 0, &view) \
            and view.record.flags & IS_VARY_RECORD and names_of(cache, &view, &cache.query, &known)
        if has_record:
            if join_names(&names, &known) == NEVER_THE_SAME:
                return False
            count = known.count
        if names.count and (not has_record or names.count != count):
            cache.text.length = 0
            put_record(&cache.text, &names)
            entry.key = cache.key.data
            entry.key_length = <uint32_t>cache.key.length
            entry.head = cache.text.data
            entry.head_length = <uint32_t>cache.text.length
            entry.flags = IS_VARY_RECORD
            entry.purge = entry.checked = asked.number
            entry.dies = FOREVER
            put_object(s, entry, <uint64_t>now)
            clear_entry(entry)
            entry.hash = asked.primary_hash
        if names.count:
            if put_secondary(&cache.key, x.request, x.request_extra, &names) < 0:
                return False
            key_length = cache.key.length
            key = cache.key.data
            entry.hash = hash_key(s, key, key_length)
    if key_length > 65535:
        return False
    if rules.etag and answer.status == 200 and next_line(answer, b"etag", 4, 0) < 0:
        tag = b'ETag: "%016x%016x"' % (x.engine.random(), x.engine.random())
        no_lines(&cache.own)
        put_bytes(&cache.own.text, tag)
        end_line(&cache.own, 4)
        extend_head(answer, &cache.own)
    if not answer.seen & <uint32_t>1 << DATE:
        date = x.engine.date()
    if not make_head(
        &cache.text, &cache.index, rules, answer, &judged.said, by.request_id, length, date
    ):
        return False
    if not add_tags(by.aside, x, cache, rules, answer):
        return False
    set_entry(cache, entry, &judged.freshness, now, has_validator(answer))
    entry.key = key
    entry.key_length = <uint32_t>key_length
    entry.body_length = <uint32_t>length
    entry.purge = entry.checked = asked.number
    return True


cdef void set_asked(
    Asked* asked, const Buffer* key, Py_ssize_t primary_length, uint64_t primary_hash, uint64_t number
) noexcept:
    """The key is the caller's as long as this is in use."""
    asked.key = key.data
    asked.length = key.length
    asked.primary_length = primary_length
    asked.primary_hash = primary_hash
    asked.number = number


cdef int keep_entry(Fetch f, const Entry* entry) except -1:
    """What is stored of the head, for when the length of the body is known."""
    f.entry = entry[0]
    f.entry_key = entry.key[:entry.key_length]
    f.entry_head = entry.head[:entry.head_length]
    f.entry_fields = entry.fields[:entry.fields_length]
    return 0


cdef bint publish_body(Cached by, Fetch f, int64_t now) except -1:
    """The body is whole: it is stored. False: it is not, and who reads it along sees that it has ended."""
    cdef uint64_t place, generation
    if f.entry_key is None:
        return publish(by.cache.store, &f.filling)
    set_length(PyBytes_AS_STRING(f.entry_fields), f.size)
    f.entry.key = PyBytes_AS_STRING(f.entry_key)
    f.entry.head = PyBytes_AS_STRING(f.entry_head)
    f.entry.fields = PyBytes_AS_STRING(f.entry_fields)
    if f.size > by.rules.max_object:
        # Its use is over at once: who reads along has it, and nobody finds it.
        f.entry.dies = 1
    return publish_stream(by.cache.store, &f.filling, &f.entry, <uint64_t>now, &place, &generation)


cdef void set_length(char* fields, int64_t length) noexcept:
    """The length of the body, in the index of a stored head."""
    cdef HeadIndex about
    memcpy(&about, fields, sizeof(HeadIndex))
    about.content_length = length
    memcpy(fields, &about, sizeof(HeadIndex))


cdef int end_fetch(Fetch f, Exchange copy, int cause) except -1:
    """Nothing more is wanted of it."""
    return copy.finish(cause) if not copy.over else 0


cdef Exchange take_patron(Fetch f):
    """The exchange that waits for it, which it lets go of; None: there is none."""
    cdef Exchange x = f.patron
    f.patron = None
    if x is not None:
        f.visit.fetch = None
        tell_log(f.copy, x)
    return x


cdef void tell_log(Exchange copy, Exchange x) noexcept:
    """Who was asked for the patron's answer, and when."""
    if copy is None:
        return
    x.tries = copy.tries
    x.target_name = copy.target_name
    x.connected_at = copy.connected_at
    x.response_at = copy.response_at


cdef int give_whole(
    Cached by, Fetch f, Exchange copy, bytes piece, bint last, const Judgement* judged, bint stored
) except -1:
    """All of the answer is there, and stored if that was possible: it goes to the patron."""
    cdef Visit v = f.visit
    cdef Exchange x = take_patron(f)
    cdef int64_t now = <int64_t>boottime_ms()
    if lands(f):
        land(by, copy, &f.ticket, stored, judged, now)
    if x is None:
        return end_fetch(f, copy, OK)
    x.response, copy.response = copy.response, x.response
    end_fetch(f, copy, OK)
    v.mode = NOTHING
    v.result = CACHE_MISS
    if v.wishes:
        return serve_wishes(by, x, v, x.response.status, piece, judged, stored)
    put_forwarded(by, x, v, judged, stored, now, NULL)
    return by.tell_answered(x, piece, last)


cdef int put_forwarded(
    Cached by, Exchange x, Visit v, const Judgement* judged, bint stored, int64_t now, const char* detail
) except -1:
    """Cache-Status of an answer that the upstream has just given. What was not ``stored`` needs no judgement."""
    cdef OwnLines* lines = &by.cache.own
    if not by.rules.cache_status:
        return 0
    no_lines(lines)
    put_status(
        by, v, v.forwarded, x.response.status, floor_seconds(judged.freshness.fresh_until - now) if stored else 0,
        (SAYS_TTL | SAYS_STORED) if stored else 0, detail
    )
    return extend_head(x.response, lines)


cdef int read_along(Cached by, Fetch f, Exchange copy, const Judgement* judged) except -1:
    """The answer is being filled: the patron and those who follow read it from the store."""
    cdef Exchange x
    cdef Visit v = f.visit
    cdef uint64_t place[FLIGHT_PLACES]
    cdef Reader reader
    if f.flies:
        memset(place, 0, sizeof(place))
        place[0] = place_of(&f.filling.view)
        place[1] = f.filling.view.generation
        if judged.freshness.fresh_until > <int64_t>boottime_ms():
            by.cache.flights.answered(&f.ticket, place, f.size)
        elif lands(f):
            by.cache.flights.refuse(&f.ticket, copy.engine.wheel.now + by.rules.hit_for_miss)
    if f.patron is None or v.wishes:
        # For a part of it the whole is awaited.
        return 0
    reader = PatronReader.__new__(PatronReader)
    if not reader.set_out(by.cache, by.counts, &f.filling.view, 0, copy.response.content_length):
        x = take_patron(f)
        return by.tell_failed(x, RESPONSE_CUT)
    (<PatronReader>reader).fetch = f
    f.reader = reader
    x = f.patron
    tell_log(copy, x)
    x.response, copy.response = copy.response, x.response
    v.mode = SERVING
    v.result = CACHE_MISS
    v.reader = reader
    put_forwarded(by, x, v, judged, True, <int64_t>boottime_ms(), NULL)
    return reader.begin(by, x, NULL, 0)


cdef class PatronReader(Reader):
    """What the patron of a fetch reads: its own worker fills it, and tells it directly."""
    cdef Fetch fetch
    cdef int64_t limit                 # how far the store has it, if it did not take all

    def __cinit__(self):
        self.limit = -1

    cdef int64_t there(self) noexcept:
        return self.limit if self.limit >= 0 else Reader.there(self)

    cdef int idle(self) except -1:
        if self.lent:
            self.took(0)
        if self.broken:
            return self.cut_off()
        if self.held == 0 and 0 <= self.limit <= self.position:
            return pass_on_rest(self.fetch.by, self.fetch)
        return 0


cdef int take_piece(Cached by, Fetch f, Exchange copy, bytes piece, bint last) except -1:
    """More of the body of an answer that is being filled."""
    cdef Store* s = by.cache.store
    cdef int64_t now
    cdef Py_ssize_t size = PyBytes_GET_SIZE(piece) if piece is not None else 0
    cdef Reader reader
    if f.unsent is not None:
        # The store did not take all: the patron gets this when it has what the store took.
        if piece is not None:
            f.unsent.append(piece)
        f.complete = last
        return 0
    now = <int64_t>boottime_ms()
    if f.entry_key is not None and f.size + size > by.rules.max_object and f.patron is not None \
            and not (f.flies and by.cache.flights.is_joined(&f.ticket)):
        # It will not be stored, and nobody but the patron reads it.
        return not_stored(by, f, copy, piece, last)
    if size and not append(s, &f.filling, PyBytes_AS_STRING(piece), <uint32_t>size, now):
        return not_stored(by, f, copy, piece, last)
    f.size += size
    reader = f.reader
    if not last:
        if f.flies:
            by.cache.flights.fill(&f.ticket, f.filling.filled)
        return reader.go() if reader is not None else 0
    if f.entry_key is None and f.filling.filled != f.filling.view.record.body_length:
        return fetch_fails(by, f, copy, RESPONSE_CUT)
    by.counts[ROUTE_STORED] += publish_body(by, f, now)
    f.complete = True
    if lands(f):
        by.cache.flights.complete(&f.ticket)
    if reader is None and f.patron is not None:
        return give_part(by, f, copy)
    end_fetch(f, copy, OK)
    return reader.go() if reader is not None else 0


cdef int give_part(Cached by, Fetch f, Exchange copy) except -1:
    """The whole is stored, of which the patron wants a part, or to know whether it has changed."""
    cdef Visit v = f.visit
    cdef Exchange x = take_patron(f)
    end_fetch(f, copy, OK)
    v.mode = NOTHING
    v.turns += 1
    return by.look_up(x, v) if v.turns <= MOST_TURNS else by.pass_by(x, v, v.forwarded)


cdef int not_stored(Cached by, Fetch f, Exchange copy, bytes piece, bint last) except -1:
    """The store is full, or the body longer than it may be: the patron gets the rest past the store."""
    cdef PatronReader reader = <PatronReader>f.reader
    cdef Exchange x
    cdef Visit v
    if lands(f):
        # Who has nothing of it yet asks anew.
        by.cache.flights.fail(&f.ticket, OK)
    abandon(by.cache.store, &f.filling)
    if reader is None and f.patron is not None:
        # It has nothing yet, and asks by itself.
        v = f.visit
        x = take_patron(f)
        end_fetch(f, copy, STOPPED)
        return by.pass_by(x, v, v.forwarded)
    if reader is None or f.patron is None:
        return end_fetch(f, copy, STOPPED)
    f.unsent = [piece]
    f.complete = last
    reader.limit = f.size
    if not last and copy.source is not None:
        copy.source.hold(HOLD_WAIT)
    return reader.go()


cdef int pass_on_rest(Cached by, Fetch f) except -1:
    """The patron has what the store took: the rest comes to it directly."""
    cdef Exchange copy = f.copy
    cdef Exchange x = take_patron(f)
    cdef PatronReader reader = <PatronReader>f.reader
    cdef list pieces = f.unsent
    cdef bytes piece
    cdef bint last = f.complete
    cdef uint64_t generation
    f.unsent = None
    f.reader = None
    reader.exchange = None
    reader.let_go()
    if x is None:
        return 0
    f.visit.reader = None
    f.visit.mode = PASSING
    x.source = None
    if not last:
        by.inner.move(copy, x)
        copy.delivery = None
        copy.source = None
    end_fetch(f, copy, OK)
    generation = x.generation
    piece = b"".join(pieces)
    by.tell_piece(x, piece, last)
    if not last and x.generation == generation and x.source is not None:
        x.source.release(HOLD_WAIT)
    return 0


cdef int give_away(Cached by, Fetch f, Exchange copy, bytes piece, bint last, const char* detail) except -1:
    """The answer is for the patron alone, with the connection that it comes from."""
    cdef Visit v = f.visit
    cdef Exchange x = take_patron(f)
    if lands(f):
        by.cache.flights.refuse(&f.ticket, copy.engine.wheel.now + by.rules.hit_for_miss)
    if x is None:
        return end_fetch(f, copy, OK)
    x.response, copy.response = copy.response, x.response
    v.mode = PASSING
    v.result = CACHE_MISS
    x.status = copy.status
    if not last:
        by.inner.move(copy, x)
    copy.delivery = None
    copy.source = None
    end_fetch(f, copy, OK)
    put_forwarded(by, x, v, NULL, False, 0, detail)
    return by.tell_answered(x, piece, last)


cdef int fetch_fails(Cached by, Fetch f, Exchange copy, int cause) except -1:
    """There is no answer, or the rest of it does not come."""
    cdef Exchange x
    cdef Visit v = f.visit
    cdef Reader reader = f.reader
    if lands(f):
        by.cache.flights.fail(&f.ticket, cause)
    if f.unsent is not None and f.patron is not None:
        x = take_patron(f)
        end_fetch(f, copy, cause)
        return by.tell_failed(x, cause)
    if f.filling.active:
        by.counts[ROUTE_FETCHES_ABANDONED] += 1
        abandon(by.cache.store, &f.filling)
        x = take_patron(f) if reader is None else None
        end_fetch(f, copy, cause)
        if reader is not None:
            return reader.go()
        return by.tell_failed(x, cause) if x is not None else 0
    if f.replaces and spared(by, f, 0):
        return end_fetch(f, copy, cause)
    x = take_patron(f)
    end_fetch(f, copy, cause)
    if x is None:
        return 0
    v.mode = NOTHING
    return by.tell_failed(x, cause)


cdef int64_t retry_after_of(Head head) noexcept:
    """Milliseconds that an answer asks to wait, 60 seconds at most; 0: it does not say."""
    cdef int line = next_line(head, b"retry-after", 11, 0)
    cdef int64_t seconds = 0
    cdef const unsigned char* p
    cdef uint32_t i
    if line < 0 or head.fields[line].value_length == 0:
        return 0
    p = head.p + head.fields[line].value
    for i in range(head.fields[line].value_length):
        if not 48 <= p[i] <= 57:
            return 0
        seconds = min(seconds * 10 + p[i] - 48, <int64_t>60)
    return seconds * 1000


cdef bint spared(Cached by, Fetch f, int64_t retry_after) except -1:
    """Validation has failed: what is stale answers the patron, if it may. Nobody tries again for a while."""
    cdef WorkerCache cache = by.cache
    cdef Freshness freshness
    cdef View view
    cdef Exchange x
    cdef Visit v = f.visit
    cdef int64_t now = <int64_t>boottime_ms()
    if not find_stored(by, f, &view):
        return False
    freshness_of(&view, &freshness)
    set_retry_at(cache.store, &view, <uint64_t>(now + max(by.rules.retry_stale, retry_after)))
    if not usable_after_failure(by.rules, &freshness, &f.asked, now):
        return False
    if lands(f):
        cache.flights.fail(&f.ticket, OK)
    x = take_patron(f)
    if x is not None:
        v.now = now
        x.response.release()
        serve(by, x, v, &view, True, "stale-if-error")
    return True


cdef int fetch_ended(Cached by, Fetch f) except -1:
    """Its exchange is over. Where that came without an answer (time is up, the gateway stops) others have to know."""
    cdef Exchange x
    cdef Reader reader = f.reader
    cdef int cause = STOPPED if f.engine.draining else TOTAL_TIMEOUT
    f.reader = None
    if f.filling.active:
        abandon(by.cache.store, &f.filling)
    if lands(f):
        if cause == STOPPED:
            # As long as nothing of it has come, another worker may ask instead; else there is nothing to give up.
            by.cache.flights.give_up(&f.ticket)
        by.cache.flights.fail(&f.ticket, cause)
    if f.patron is None or f.complete:
        return 0
    if reader is not None:
        return reader.go()
    if f.replaces and spared(by, f, 0):
        return 0
    x = take_patron(f)
    return by.tell_failed(x, cause)
