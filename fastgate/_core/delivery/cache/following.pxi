# Who asks the upstream for what is not stored: this request, or one that asks already and that it follows. Part of
# cached.pyx.


cdef int ask(Cached by, Exchange x, Visit v, const View* stale, bint direct) except -1:
    """The upstream has to be asked: by this request, or by one that asks already. ``direct``: by this one."""
    cdef WorkerCache cache = by.cache
    cdef Ticket ticket
    cdef Ticket retired
    cdef FlightView flight
    cdef uint64_t tags[OWN_TAGS]
    cdef uint64_t number, checked
    cdef int how, count
    v.take_key(&cache.key)
    # The number first, and then the request.
    number = sent_now(by, x, v)
    if direct:
        return start_fetch(by, x, v, NULL, number, stale, False)
    how = cache.flights.enter(v.hash, number, NULL, x.engine.wheel.now, &ticket)
    if how == FLIGHT_FOLLOW:
        cache.flights.look(&ticket, &flight)
        checked = flight.number
        count = own_tags(v, x, cache, by.rules, by.route, tags)
        if cache.purges.compare(
            flight.number, &checked, tags, count, <const unsigned char*>cache.address.data, cache.address.length,
            v.path_at
        ) != PURGED_NOT:
            # What it brings was generated before a purge, and this request came after that.
            retired = ticket
            how = cache.flights.enter(v.hash, number, &retired, x.engine.wheel.now, &ticket)
    if how == FLIGHT_FOLLOW:
        v.follower = Follower.__new__(Follower)
        v.follower.by = by
        v.follower.x = x
        v.follower.visit = v
        v.follower.ticket = ticket
        v.follower.number = number
        v.mode = FOLLOWING
        x.wait(by.rules.collapse_timeout)
        return follow(by, x, v)
    return start_fetch(by, x, v, &ticket if how == FLIGHT_LEAD else NULL, number, stale, False)


cdef int refresh(Cached by, Exchange x, Visit v, const View* stale) except -1:
    """Validates in the background what is stale and is used meanwhile, unless somebody does already."""
    cdef WorkerCache cache = by.cache
    cdef Ticket ticket
    cdef uint64_t number
    v.take_key(&cache.key)
    number = sent_now(by, x, v)
    v.forwarded = FWD_STALE
    if cache.flights.enter(v.hash, number, NULL, x.engine.wheel.now, &ticket) == FLIGHT_LEAD:
        return start_fetch(by, x, v, &ticket, number, stale, True)
    return 0


cdef int alone(Cached by, Exchange x, Visit v) except -1:
    """It does not wait any longer, and asks by itself."""
    cdef View view
    cdef uint64_t number
    cdef bint stale
    x.wait(0)
    v.mode = NOTHING
    v.now = <int64_t>boottime_ms()
    stale = find_again(by, x, v, &view)
    v.take_key(&by.cache.key)
    number = sent_now(by, x, v)
    return start_fetch(by, x, v, NULL, number, &view if stale else NULL, False)


cdef int follow(Cached by, Exchange x, Visit v) except -1:
    """Looks how the fetch of another exchange is, and goes on as that allows."""
    cdef Follower follower = v.follower
    cdef FlightView flight
    cdef int cause
    while True:
        by.cache.flights.look(&follower.ticket, &flight)
        if flight.state == FLIGHT_FILLING and not v.wishes:
            if join(by, x, v, &follower.ticket, flight.place[0], flight.place[1]):
                return 0
            return alone(by, x, v)
        if flight.state != FLIGHT_ASKING and flight.state != FLIGHT_FILLING:
            break
        follower.seen_state = flight.state
        follower.seen_filled = flight.filled
        if by.cache.flights.wait(follower):
            return 0
    v.mode = NOTHING
    x.wait(0)
    if flight.state == FLIGHT_FAILED:
        cause = <int>flight.cause
        if serve_stale(by, x, v):
            return 0
        if cause != OK:
            return by.tell_failed(x, cause)
    elif flight.state == FLIGHT_COMPLETE or flight.state == FLIGHT_GIVEN_UP:
        v.collapsed = flight.state == FLIGHT_COMPLETE
    else:
        return alone(by, x, v)
    v.turns += 1
    return by.look_up(x, v) if v.turns <= MOST_TURNS else alone(by, x, v)


cdef bint join(Cached by, Exchange x, Visit v, const Ticket* ticket, uint64_t place, uint64_t generation) except -1:
    """Reads along what another exchange's fetch fills. False: it is not for this request."""
    cdef WorkerCache cache = by.cache
    cdef Freshness freshness
    cdef VaryNames names
    cdef View view
    cdef Reader reader
    if not look_at(cache.store, place, generation, &view):
        return False
    freshness_of(&view, &freshness)
    if use_of(by.rules, &freshness, &v.asked, <int64_t>boottime_ms()) != USE_FRESH:
        return False
    no_lines(&cache.own)
    v.collapsed = True
    put_status(by, v, v.forwarded, 0, 0, 0, NULL)
    v.collapsed = False
    if not open_view(cache, x.response, &view, &cache.own):
        return False
    cache.key.length = 0
    put(&cache.key, v.key.data, v.key.length)
    if not has_key(&view, &cache.key):
        # The first answer of a URL with variants: the values that it names have to be those of this request.
        cache.key.length = v.primary_length
        if read_vary(by.rules, x.response, &names) == NEVER_THE_SAME \
                or put_secondary(&cache.key, x.request, x.request_extra, &names) < 0:
            return False
    if not has_key(&view, &cache.key) or not still(cache.store, &view):
        x.response.release()
        return False
    if v.follower.number != view.record.purge \
            and validity(v, x, cache, by.rules, by.route, &view) != PURGED_NOT:
        # By a tag that was not known before the head came. Who asked before the purge might have it, but when that
        # was is not known.
        x.response.release()
        return False
    reader = Reader.__new__(Reader)
    if not reader.set_out(cache, by.counts, &view, 0, x.response.content_length):
        x.response.release()
        return False
    reader.follow(ticket)
    v.mode = SERVING
    v.collapsed = True
    v.result = CACHE_COLLAPSED
    by.counts[ROUTE_COLLAPSED] += 1
    v.reader = reader
    x.wait(0)
    x.given_by = CACHE_ANSWERED
    reader.begin(by, x, NULL, 0)
    return True


cdef class Follower(Waiter):
    cdef int told(self, int state, uint64_t filled) except -1:
        if self.visit.mode != FOLLOWING or self.visit.follower is not self:
            return 0
        try:
            return follow(self.by, self.x, self.visit)
        except Exception as error:
            return self.x.delivery_raised(error)


cdef bint has_key(const View* view, const Buffer* key) noexcept:
    """Whether the record is of this whole key."""
    return view.record.key_length == key.length and memcmp(view.key, key.data, key.length) == 0


cdef uint64_t sent_now(Cached by, Exchange x, Visit v) except? 0:
    """The number of purges before the request is sent; that its addresses were asked for is noted."""
    cdef WorkerCache cache = by.cache
    cdef uint64_t number
    number = cache.purges.sent(mark_of_request(v, x, cache, by.rules))
    if x.forward_path is not None:
        make_address(v, x, cache, by.rules, True)
        cache.purges.sent(mark_of_address(v, cache, cache.address.data, cache.address.length))
    return number
