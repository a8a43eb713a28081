"""Answers from the store of the response cache, in the place of those of an upstream.

Theory of operation
-------------------
`Cached` is a delivery around another one. When a request begins it is known as the upstream will get it, and so is its
key. What is stored under it answers the request, or is validated first; else the answer is fetched.

A *fetch* is an exchange of its own, without a client (`Fetch`): it asks who is within and takes the answer at the pace
of the upstream, into the store. The exchange that it was begun for, its *patron*, reads from there as all others do. So
a client that is slow or leaves holds nobody up, and no request is changed that a client waits for. An answer that may
not be stored is handed over to the patron, with the connection that it comes from; the fetch ends then.

Of all requests of the host for one key one fetch is a *flight* (`memory.cache.flights`): the others follow it, in
whatever worker, and read what it fills. Those that may not share its answer go at once, each with a fetch of its own.

What a request does that changes nothing here (`PASSING`) goes to who is within, and its answer comes back the same way:
other methods, HEAD, conditions and ranges that nothing stored can answer, what the route's `bypass` names. The answer
of an unsafe method removes what is stored of its address before its client has it.

Who asks the upstream: `following.pxi`. The usual miss, which needs no second exchange: `leading.pxi`. Fetches:
`fetch.pxi`, and what they find out about stored answers: `validating.pxi`. How an answer leaves the store:
`serving.pxi`. What goes through: `passing.pxi`, `invalidating.pxi`.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.tuple cimport PyTuple_GET_SIZE
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset
from libc.time cimport time

from fastgate._core.delivery.cache.conditions cimport (
    A_PART,
    HAS_ORIGIN_CONDITION,
    NOT_HERE,
    NOT_MODIFIED,
    THE_WHOLE,
    Selection,
    agrees,
    in_not_modified,
    same_representation,
    select,
    wishes,
)
from fastgate._core.delivery.cache.directives cimport (
    NO_CACHE,
    NO_STORE,
    no_directives,
    read_request_directives,
)
from fastgate._core.delivery.cache.freshness cimport (
    BYPASSED,
    NO_OBSTACLE,
    OF_EXPIRES,
    OF_MAX_AGE,
    OF_S_MAXAGE,
    USE_FRESH,
    USE_STALE,
    USE_WHILE_REVALIDATING,
    VALIDATE_NO_CACHE,
    VALIDATE_REQUESTED,
    VALIDATE_STALE,
    Freshness,
    Judgement,
    Moments,
    age_at,
    judge,
    only_if_cached,
    request_facts,
    usable_after_failure,
    use_of,
)
from fastgate._core.delivery.cache.heads cimport (
    FWD_BYPASS,
    FWD_METHOD,
    FWD_MISS,
    FWD_NOT,
    FWD_REQUEST,
    FWD_STALE,
    FWD_URI_MISS,
    FWD_VARY_MISS,
    SAYS_COLLAPSED,
    SAYS_STORED,
    SAYS_TTL,
    CacheStatus,
    put_age,
    put_cache_status,
    put_merged,
    put_validators,
)
from fastgate._core.delivery.cache.key cimport NAMESPACE, put_secondary
from fastgate._core.delivery.cache.locations cimport target_of
from fastgate._core.delivery.cache.key_lookup cimport (
    FOUND,
    IS_VARY_RECORD,
    NO_VARIANT,
    OWN_TAGS,
    PURGED,
    find,
    follows_client,
    forwards_credential,
    freshness_of,
    make_address,
    make_key,
    make_query,
    mark_of_address,
    mark_of_request,
    names_of,
    own_tags,
    validity,
)
from fastgate._core.delivery.cache.rules cimport (
    HONOR_BOTH,
    INVALIDATES,
    PASSES_BY,
    PLAIN_GET,
    WITH_BODY,
    CacheRules,
    has_name,
)
from fastgate._core.delivery.cache.spans cimport exactly
from fastgate._core.delivery.cache.stored_head cimport (
    add_tags,
    group_tag,
    has_validator,
    make_head,
    open_view,
    set_entry,
)
from fastgate._core.delivery.cache.tags cimport Tags, read_groups
from fastgate._core.delivery.cache.vary cimport NEVER_THE_SAME, VaryNames, join_names, put_record, read_vary
from fastgate._core.exchange.cache_result cimport (
    CACHE_BYPASS,
    CACHE_COLLAPSED,
    CACHE_HIT,
    CACHE_MISS,
    CACHE_RESULTS,
    CACHE_REVALIDATED,
    CACHE_STALE,
    CACHE_FACTS,
)
from fastgate._core.exchange.causes cimport (
    CACHE_ANSWERED,
    CONNECT_FAILED,
    NOT_CACHED,
    OK,
    POLICY_FAILED,
    RESPONSE_CUT,
    STOPPED,
    TOTAL_TIMEOUT,
)
from fastgate._core.exchange.exchange cimport (
    HOLD_WAIT,
    PHASE_DELIVERY,
    Delivery,
    Exchange,
    NoClient,
    copy_of,
)
from fastgate._core.exchange.field_lines cimport bits_of, names_in, next_line
from fastgate._core.exchange.head cimport DATE, DROPPED, NAMES_PASS, Field, Head, same
from fastgate._core.exchange.head_index cimport HeadIndex, OwnLines, end_line, extend_head, no_lines
from fastgate._core.memory.buffer cimport Buffer, free_buffer, put, put_bytes, put_number
from fastgate._core.memory.cache.cache_counts cimport (
    ROUTE_BYPASSED,
    ROUTE_BYTES_SAVED,
    ROUTE_COLLAPSED,
    ROUTE_FETCHES_ABANDONED,
    ROUTE_HITS,
    ROUTE_MISS,
    ROUTE_MISS_METHOD,
    ROUTE_MISS_PARTIAL,
    ROUTE_MISS_REQUEST,
    ROUTE_MISS_STALE,
    ROUTE_MISS_URI,
    ROUTE_MISS_VARY,
    ROUTE_NOT_STORED,
    ROUTE_REVALIDATED,
    ROUTE_STALE,
    ROUTE_STORED,
)
from fastgate._core.memory.cache.cache_store cimport (
    Entry,
    Store,
    View,
    abandon,
    append,
    begin_filling,
    begin_stream,
    copy_body,
    hash_key,
    look,
    look_at,
    place_of,
    publish,
    publish_stream,
    remove_this,
    replace_head,
    reserve,
    retry_at,
    set_retry_at,
    still,
    throw_out,
    touch,
    was_thrown_out,
)
from fastgate._core.memory.cache.cache_store cimport put as put_object
from fastgate._core.memory.cache.flights cimport (
    FLIGHT_ASKING,
    FLIGHT_COMPLETE,
    FLIGHT_FAILED,
    FLIGHT_FILLING,
    FLIGHT_FOLLOW,
    FLIGHT_GIVEN_UP,
    FLIGHT_LEAD,
    FLIGHT_PLACES,
    FlightView,
    Ticket,
)
from fastgate._core.memory.cache.layout cimport FILLED_ABANDONED, FOREVER
from fastgate._core.memory.cache.purges cimport PURGED_NOT, TAG_URI, Purges

cdef extern from "memory/atomics.h" nogil:
    uint64_t boottime_ms()
    uint64_t atomic_load_acquire(const uint64_t* word)

# Of what says in a request how a stored answer may be used.
cdef uint64_t USE_BITS = bits_of((
    b"range", b"if-range", b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since",
    b"cache-control", b"pragma",
))

cdef int64_t MOST_LENGTH = 1000000000000000     # bytes of a body

cdef enum:
    COPIED = 4096                      # bytes of a body that are copied instead of pinned
    MOST_TURNS = 3                     # how often a request is looked up anew because what it found had gone
    MAX_HEAD = 65536
    VERSION_KEPT = 86400000            # milliseconds for which what was made of a body is kept

cdef int asked_for[9]                  # what a request counts as that is sent on, by `Forwarded`
asked_for[:] = [
    ROUTE_BYPASSED, ROUTE_BYPASSED, ROUTE_MISS_METHOD, ROUTE_MISS_URI, ROUTE_MISS_VARY, ROUTE_MISS, ROUTE_MISS_REQUEST,
    ROUTE_MISS_STALE, ROUTE_MISS_PARTIAL,
]
cdef int answered_as[CACHE_RESULTS]    # what one counts as that is answered from the store, by `CacheResult`
answered_as[:] = [
    ROUTE_HITS, ROUTE_HITS, ROUTE_HITS, ROUTE_STALE, ROUTE_REVALIDATED, ROUTE_COLLAPSED, ROUTE_HITS,
]

include "following.pxi"
include "leading.pxi"
include "fetch.pxi"
include "passing.pxi"
include "validating.pxi"
include "serving.pxi"
include "invalidating.pxi"


cdef class Visit(Lookup):
    def __cinit__(self):
        memset(&self.key, 0, sizeof(Buffer))

    def __dealloc__(self):
        free_buffer(&self.key)

    cdef void take_key(self, Buffer* key) noexcept:
        self.key, key[0] = key[0], self.key

    cdef void reset(self) noexcept:
        Lookup.reset(self)
        self.mode = NOTHING
        self.stale = self.collapsed = False
        self.turns = 0
        self.number = 0
        self.tapped = self.tapped_head = None
        self.key.length = 0
        self.fetch = None
        self.reader = None
        self.follower = None

    cdef bint keeps_versions(self) noexcept:
        return self.number != 0

    cdef bytes version(self, bytes name):
        cdef Store* s = self.cache.store
        cdef View view
        cdef bytes body
        put_version_key(self, name)
        if not look(
            s, hash_key(s, self.cache.key.data, self.cache.key.length), self.cache.key.data, self.cache.key.length,
            boottime_ms(), &view
        ):
            return None
        body = PyBytes_FromStringAndSize(NULL, view.record.body_length)
        if not copy_body(s, &view, 0, PyBytes_AS_STRING(body), view.record.body_length):
            return None
        touch(s, &view)
        return body

    cdef int keep_version(self, bytes name, bytes body) except -1:
        cdef Store* s = self.cache.store
        cdef Entry entry
        clear_entry(&entry)
        put_version_key(self, name)
        entry.key = self.cache.key.data
        entry.key_length = <uint32_t>self.cache.key.length
        entry.hash = hash_key(s, entry.key, entry.key_length)
        entry.body = PyBytes_AS_STRING(body)
        entry.body_length = <uint32_t>PyBytes_GET_SIZE(body)
        entry.dies = boottime_ms() + VERSION_KEPT
        put_object(s, &entry, boottime_ms())
        return 0


cdef int put_version_key(Visit v, bytes name) except -1:
    """The key of a version: the number of the answer, which no other one has, and the name. No key of an answer begins
    with 0.
    """
    v.cache.key.length = 0
    put(&v.cache.key, b"\0", 1)
    put(&v.cache.key, &v.number, sizeof(uint64_t))
    return put_bytes(&v.cache.key, name)


cdef inline Visit visit_of(Exchange x):
    """What is known of it; made when it is first asked for."""
    return <Visit>x.places[CACHE_FACTS] if x.places[CACHE_FACTS] != NULL else first_visit(x)


cdef Visit first_visit(Exchange x):
    cdef Visit v = Visit.__new__(Visit)
    x.remember(v, CACHE_FACTS)
    return v


cdef Fetch fetch_of(Exchange x):
    """The fetch that an exchange is; None: it is that of a client, or a copy of another kind."""
    return <Fetch>x.client if x.is_copy and isinstance(x.client, Fetch) else None


cdef class Cached(Around):
    def __init__(
        self, Delivery inner not None, CacheRules rules not None, WorkerCache cache not None, *,
        bytes namespace not None, str route not None, str upstream=None, str request_id=None, credentials=()
    ):
        if len(namespace) != NAMESPACE:
            raise ValueError(f"namespace: has {len(namespace)} bytes; it needs {NAMESPACE}")
        self.inner = inner
        self.rules = rules
        self.cache = cache
        self.namespace = namespace
        self.route = route.encode()
        self.upstream = upstream.encode() if upstream is not None else None
        self.request_id = request_id.lower().encode() if request_id is not None else None
        self.credentials = tuple([name.lower().encode() for name in credentials])
        self.credential_bits = bits_of((b"authorization", *self.credentials))
        self.aside = Lookup.__new__(Lookup)
        self.counts = cache.counts.row_of(self.route)
        inner.enclose(self)

    # -- the exchange's side

    cdef int begin(self, Exchange x) except -1:
        cdef Visit v = visit_of(x)
        v.result = CACHE_BYPASS
        drop_fields(x.request, self.rules)
        v.method = self.rules.method_kind(x.request)
        if x.upgrading:
            return self.pass_by(x, v, FWD_BYPASS)
        if v.method >= PASSES_BY:
            if v.method == INVALIDATES and is_post(x.request):
                expect_post(self, x, v)
            return self.pass_by(x, v, FWD_METHOD)
        if v.method == WITH_BODY:
            if x.body_lost or x.body_kept > self.rules.max_key_body \
                    or x.request.content_length > self.rules.max_key_body:
                return self.pass_by(x, v, FWD_BYPASS)
            if not x.request_complete:
                v.mode = READING
                v.buffered = x.buffering
                x.buffering = True
                x.wait(0)
                return x.client.send_continue(x) if x.expects_continue else 0
        elif x.body is not None or not x.request_complete:
            return self.pass_by(x, v, FWD_BYPASS)
        return self.look_up(x, v)

    cdef int pass_by(self, Exchange x, Visit v, int forwarded) except -1:
        """Who is within answers, and nothing is stored."""
        v.mode = PASSING
        v.forwarded = forwarded
        self.counts[asked_for[forwarded]] += 1
        return self.inner.begin(x)

    cdef int more(self, Exchange x, bytes piece, bint complete) except -1:
        cdef Visit v = visit_of(x)
        if v.mode == PASSING:
            return self.inner.more(x, piece, complete)
        if v.mode == READING:
            if x.body_kept > self.rules.max_key_body:
                # Too long for a key: it goes on as it comes.
                x.buffering = v.buffered
                return self.pass_by(x, v, FWD_BYPASS)
            if complete:
                return self.look_up(x, v)
        return 0

    cdef int tunnel_bytes(self, Exchange x, bytes data) except -1:
        return self.inner.tunnel_bytes(x, data)

    cdef int late(self, Exchange x) except -1:
        cdef Visit v
        if fetch_of(x) is not None:
            return self.inner.late(x)
        v = visit_of(x)
        if v.mode == PASSING or v.mode == LEADING:
            return self.inner.late(x)
        if v.mode == FOLLOWING:
            self.cache.flights.leave(v.follower)
            return alone(self, x, v)
        return 0

    cdef int leave(self, Exchange x) except -1:
        cdef Visit v
        cdef Fetch f = fetch_of(x)
        cdef Reader reader
        cdef int mode
        if f is not None:
            return self.inner.leave(x)
        v = visit_of(x)
        mode = v.mode
        f = v.fetch
        reader = v.reader
        if mode == NOTHING and f is None and reader is None:
            return 0
        v.mode = NOTHING
        v.fetch = None
        v.reader = None
        if reader is not None:
            reader.leave()
        if f is not None:
            f.patron = None
            f.visit = None
            f.reader = None
            f.left_alone()
        if mode == FOLLOWING:
            self.cache.flights.leave(v.follower)
        if mode == LEADING:
            return lead_left(self, x, v)
        return self.inner.leave(x) if mode == PASSING else 0

    cdef int move(self, Exchange x, Exchange to) except -1:
        cdef Visit v = visit_of(x)
        if v.mode == LEADING and lands_here(self, v):
            self.cache.flights.give_up(&v.ticket)
        if v.mode == PASSING or v.mode == LEADING:
            visit_of(to).mode = PASSING
            return self.inner.move(x, to)
        self.leave(x)
        return self.begin(to)

    # -- the side of who is within

    cdef int answered(self, Exchange x, bytes piece, bint last) except -1:
        cdef Fetch f = fetch_of(x)
        cdef Visit v
        cdef View view
        if f is None:
            v = visit_of(x)
            if v.mode == LEADING:
                return lead_answered(self, x, v, piece, last)
            if v.stale and is_failure(x.response.status) and find_stale(self, x, v, &view):
                # A HEAD: what GET has stored is stale, and good enough.
                self.inner.leave(x)
                x.response.release()
                return serve(self, x, v, &view, True, "stale-if-error")
            self.passed_on(x, v)
            if v.tapped is not None:
                tap(self, x, v, piece, last)
            return self.tell_answered(x, piece, last)
        try:
            return fetched_head(self, f, x, piece, last)
        except Exception as error:
            return fetch_raised(self, f, error)

    cdef int piece(self, Exchange x, bytes piece, bint last) except -1:
        cdef Fetch f = fetch_of(x)
        if f is None:
            if visit_of(x).tapped is not None:
                tap(self, x, visit_of(x), piece, last)
            return self.tell_piece(x, piece, last)
        try:
            return take_piece(self, f, x, piece, last)
        except Exception as error:
            return fetch_raised(self, f, error)

    cdef int failed(self, Exchange x, int cause) except -1:
        cdef Fetch f = fetch_of(x)
        if f is None:
            if visit_of(x).mode == LEADING:
                return lead_failed(self, x, visit_of(x), cause)
            if visit_of(x).stale and x.phase == PHASE_DELIVERY and serve_stale(self, x, visit_of(x)):
                return 0
            return self.tell_failed(x, cause)
        try:
            return fetch_fails(self, f, x, cause)
        except Exception as error:
            return fetch_raised(self, f, error)

    cdef int passed_on(self, Exchange x, Visit v) except -1:
        """An answer on its way through: what it changes is changed before its client has it."""
        cdef int status = x.response.status
        if status < 200:
            return 0
        if v.method == INVALIDATES and status < 400:
            answer_to_post(self, x, v)
        elif v.result == CACHE_MISS and v.wishes and (status == 200 or status == 304 or status == 206) \
                and not x.is_head:
            hint_of(self, x, v)
        elif x.is_head and status == 200 and v.result == CACHE_MISS:
            freshen_by_head(self, x, v)
        return put_forwarded(self, x, v, NULL, False, 0, NULL)

    # -- looking

    cdef int look_up(self, Exchange x, Visit v) except -1:
        """The request is whole: from the store, if that has what it asks for."""
        cdef CacheRules rules = self.rules
        cdef WorkerCache cache = self.cache
        cdef Freshness freshness
        cdef View view
        cdef int found
        cdef int use = USE_FRESH
        v.now = <int64_t>boottime_ms()
        v.stale = False
        if PyTuple_GET_SIZE(rules.bypass) and request_facts(rules, x.request, False, False) & BYPASSED:
            return self.pass_by(x, v, FWD_BYPASS)
        if is_plain(x.request):
            v.wishes = 0
            no_directives(&v.asked)
        else:
            v.wishes = wishes(x.request)
            if v.wishes & HAS_ORIGIN_CONDITION:
                return self.pass_by(x, v, FWD_BYPASS)
            read_request_directives(x.request, &v.asked)
        make_key(v, x, cache, rules, self.namespace, self.upstream, self.credentials)
        found = find(v, x, cache, rules, self.route, &view)
        v.result = CACHE_MISS
        if found == FOUND:
            freshness_of(&view, &freshness)
            use = use_of(rules, &freshness, &v.asked, v.now)
            if v.soft and use <= USE_WHILE_REVALIDATING:
                use = VALIDATE_STALE
            if use == USE_FRESH or use == USE_STALE:
                touch(cache.store, &view)
                return serve(self, x, v, &view, use == USE_STALE, NULL)
            if use == USE_WHILE_REVALIDATING:
                if retry_at(&view) <= <uint64_t>v.now:
                    refresh(self, x, v, &view)
                touch(cache.store, &view)
                return serve(self, x, v, &view, True, NULL)
            if use != VALIDATE_REQUESTED and retry_at(&view) > <uint64_t>v.now \
                    and usable_after_failure(rules, &freshness, &v.asked, v.now):
                return serve(self, x, v, &view, True, "retry-later")
            v.stale = True
            v.forwarded = FWD_REQUEST if use == VALIDATE_REQUESTED else FWD_STALE
        else:
            v.forwarded = FWD_VARY_MISS if found == NO_VARIANT else FWD_MISS if found == PURGED else FWD_URI_MISS
        if only_if_cached(rules, &v.asked):
            return self.tell_failed(x, NOT_CACHED)
        if x.is_head or (not v.stale and v.wishes and not was_thrown_out(cache.store, v.hash)):
            # What such a request gets may be a part, or say that nothing has changed: see `hint_of`.
            return self.pass_by(x, v, v.forwarded)
        if rules.honors == HONOR_BOTH and v.asked.words & NO_STORE:
            return self.pass_by(x, v, v.forwarded)
        return ask(
            self, x, v, &view if v.stale else NULL,
            use == VALIDATE_REQUESTED or use == VALIDATE_NO_CACHE
            or (rules.honors == HONOR_BOTH and v.asked.words & NO_CACHE) or not rules.collapse
        )


cdef inline bint is_failure(int status) noexcept:
    """The statuses for which something stale may be used instead (RFC 5861 section 4)."""
    return status == 500 or 502 <= status <= 504


cdef inline bint is_plain(Head request) noexcept:
    """Whether no field looks like one that says how a stored answer may be used: most requests have none."""
    return not names_in(request) & USE_BITS


cdef int drop_fields(Head request, CacheRules rules) except -1:
    """Fields that the upstream of a cached route does not get."""
    cdef Field* field
    cdef int i
    if not names_in(request) & rules.drop_bits:
        return 0
    for i in range(request.count):
        field = &request.fields[i]
        if has_name(rules.drop, request.p + field.name, field.name_length):
            field.flags |= DROPPED
    return 0
