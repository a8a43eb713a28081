"""Shows what the cache's rules make of dates, directives and heads to those who test them. The gateway never loads it.

Theory of operation
-------------------
Each text is put at the end of a block of memory behind which nothing can be read (`probes.core.at_the_edge`), so that a
reader that looks one byte too far ends the process. Results are numbers, bytes and dicts; a number that is not there is
None.
"""

from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from fastgate._core.delivery.cache.conditions cimport (
    A_PART,
    NOT_HERE,
    NOT_MODIFIED,
    NOT_SATISFIABLE,
    THE_WHOLE,
    Selection,
    agrees,
    in_not_modified,
    same_representation,
    wishes,
)
from fastgate._core.delivery.cache.conditions cimport select as select_part
from fastgate._core.delivery.cache.dates cimport read_date
from fastgate._core.delivery.cache.directives cimport (
    ANY_STALE,
    CACHE_CONTROL,
    IMMUTABLE,
    MUST_REVALIDATE,
    MUST_UNDERSTAND,
    NO_CACHE,
    NO_CACHE_FIELDS,
    NO_SECONDS,
    NO_STORE,
    NO_TRANSFORM,
    ONLY_IF_CACHED,
    PRAGMA,
    PRIVATE,
    PRIVATE_FIELDS,
    PROXY_REVALIDATE,
    PUBLIC,
    TARGETED,
    Directives,
    excepted,
    no_directives,
    read_age,
    read_dictionary,
    read_directives,
    read_line,
    read_request_directives,
)
from fastgate._core.delivery.cache.freshness cimport (
    BY_BYPASS,
    BY_COOKIE,
    BY_CREDENTIAL,
    BY_END,
    BY_LENGTH,
    BY_METHOD,
    BY_NO_LIFETIME,
    BY_NO_STORE,
    BY_PRIVATE,
    BY_REQUEST,
    BY_SET_COOKIE,
    BY_STATUS,
    BY_TYPE,
    BY_VARY,
    FOR_ALL,
    FOR_IDENTITY,
    NEVER_STALE,
    NO_MAX_STALE,
    OF_EXPIRES,
    OF_HEURISTIC,
    OF_MAX_AGE,
    OF_S_MAXAGE,
    OF_TTL,
    USE_FRESH,
    USE_STALE,
    USE_WHILE_REVALIDATING,
    VALIDATE_ALWAYS,
    VALIDATE_NO_CACHE,
    VALIDATE_REQUESTED,
    VALIDATE_STALE,
    Freshness,
    Judgement,
    Moments,
    age_at,
    request_facts,
    usable_after_failure,
    use_of,
)
from fastgate._core.delivery.cache.freshness cimport judge as judge_answer
from fastgate._core.delivery.cache.freshness cimport only_if_cached as wants_504
from fastgate._core.delivery.cache.heads cimport (
    FWD_PARTIAL,
    SAYS_COLLAPSED,
    SAYS_STORED,
    SAYS_TTL,
    CacheStatus,
    put_age,
    put_cache_status,
    put_merged,
    put_validators,
)
from fastgate._core.delivery.cache.key cimport (
    NAMESPACE,
    KeyFacts,
    KeyStart,
    Text,
    put_primary,
    put_query,
    put_secondary,
    renew_start,
)
from fastgate._core.delivery.cache.rules cimport CacheRules
from fastgate._core.delivery.cache.stored_head cimport make_head
from fastgate._core.delivery.cache.tags cimport TOO_MANY_TAGS, Tags, put_tag, read_groups, read_tags
from fastgate._core.delivery.cache.vary cimport (
    NEVER_THE_SAME,
    VaryNames,
    join_names,
    put_record,
    put_value,
    read_record,
    read_vary,
)
from fastgate._core.exchange.field_lines cimport bits_of
from fastgate._core.exchange.head cimport NAMES_PASS, Field, Head
from fastgate._core.exchange.head_index cimport OwnLines, no_lines, open_head
from fastgate._core.memory.buffer cimport Buffer, free_buffer
from fastgate._core.probes.core cimport at_the_edge

cdef dict WORDS = {
    "no-store": NO_STORE, "no-cache": NO_CACHE, "no-cache=": NO_CACHE_FIELDS, "private": PRIVATE,
    "private=": PRIVATE_FIELDS, "public": PUBLIC, "must-revalidate": MUST_REVALIDATE,
    "proxy-revalidate": PROXY_REVALIDATE, "must-understand": MUST_UNDERSTAND, "no-transform": NO_TRANSFORM,
    "immutable": IMMUTABLE, "only-if-cached": ONLY_IF_CACHED, "max-stale": ANY_STALE,
}
cdef dict SOURCES = {CACHE_CONTROL: "cache-control", TARGETED: "targeted", PRAGMA: "pragma"}
cdef dict OBSTACLES = {
    BY_BYPASS: "bypass", BY_METHOD: "method", BY_STATUS: "status", BY_TYPE: "type", BY_NO_STORE: "no-store",
    BY_REQUEST: "request", BY_PRIVATE: "private", BY_SET_COOKIE: "set-cookie", BY_VARY: "vary", BY_END: "end",
    BY_LENGTH: "length", BY_NO_LIFETIME: "lifetime", BY_CREDENTIAL: "credential", BY_COOKIE: "cookie",
}
cdef dict AUDIENCES = {FOR_IDENTITY: "identity", FOR_ALL: "all"}
cdef dict LIFETIMES = {
    OF_S_MAXAGE: "s-maxage", OF_MAX_AGE: "max-age", OF_EXPIRES: "expires", OF_TTL: "ttl", OF_HEURISTIC: "heuristic",
}
cdef dict FLAGS = {"validate": VALIDATE_ALWAYS, "never-stale": NEVER_STALE, "no-max-stale": NO_MAX_STALE}
cdef dict USES = {
    USE_FRESH: "fresh", USE_STALE: "stale", USE_WHILE_REVALIDATING: "while revalidating",
    VALIDATE_STALE: "validate: stale", VALIDATE_REQUESTED: "validate: request",
    VALIDATE_NO_CACHE: "validate: no-cache",
}
cdef dict ANSWERED = {THE_WHOLE: 200, NOT_MODIFIED: 304, A_PART: 206, NOT_SATISFIABLE: 416, NOT_HERE: None}


cdef Head head_of(bytes data, bint request):
    """A head that is read where nothing lies behind it."""
    cdef Head head = Head.__new__(Head)
    if head.scan(at_the_edge(data), len(data), request, 1 << 20) != len(data) or head.index(request, NAMES_PASS) != 0:
        raise ValueError("not a valid head")
    return head


cdef object or_none(uint32_t seconds):
    return None if seconds == NO_SECONDS else seconds


cdef dict shown(const Directives* found):
    cdef dict said = {
        "max-age": or_none(found.max_age),
        "s-maxage": or_none(found.s_maxage),
        "min-fresh": or_none(found.min_fresh),
        "max-stale=": or_none(found.max_stale),
        "stale-while-revalidate": or_none(found.swr),
        "stale-if-error": or_none(found.sie),
    }
    said = {name: seconds for name, seconds in said.items() if seconds is not None}
    said.update({name: True for name, bit in WORDS.items() if found.words & <uint32_t>bit})
    return said


def date(bytes text, int64_t now):
    """The seconds since 1970 of an HTTP date; None: it is none."""
    cdef int64_t seconds = 0
    return seconds if read_date(at_the_edge(text), len(text), now, &seconds) else None


def line(bytes text):
    """What one line of Cache-Control says: the names of directives with their seconds, or True."""
    cdef Directives found
    no_directives(&found)
    read_line(at_the_edge(text), len(text), &found)
    return shown(&found)


def dictionary(bytes text):
    """What one line of a targeted field says; None: it is not a dictionary of Structured Fields."""
    cdef Directives found
    no_directives(&found)
    return shown(&found) if read_dictionary(at_the_edge(text), len(text), &found) else None


def directives(bytes head, tuple targeted=(), names=()):
    """What the head of an answer says, from where (``source``), and which of ``names`` are not to be stored."""
    cdef Directives found
    cdef Head answer = head_of(head, False)
    read_directives(answer, targeted, bits_of(targeted), &found)
    said = shown(&found)
    source = SOURCES.get(found.source)
    if found.source == TARGETED:
        source = targeted[found.targeted]
    listed = [name for name in names if excepted(answer, targeted, &found, <bytes>name, len(<bytes>name))]
    return said, source, listed


def request_directives(bytes head):
    """What the head of a request says, and from where."""
    cdef Directives found
    read_request_directives(head_of(head, True), &found)
    return shown(&found), SOURCES.get(found.source)


def age(bytes head):
    """The seconds of Age in the head of an answer; None: there is none that counts."""
    cdef uint32_t seconds = 0
    return seconds if read_age(head_of(head, False), &seconds) else None


def judge(
    CacheRules rules not None, bytes request, bytes answer, *, bint identity=False, bint forwarded=False,
    int64_t wall=0, int64_t asked=0, int64_t received=0, bytes update=None,
):
    """What is said of an answer when it comes: whether it is stored, for whom, and how long it is fresh."""
    cdef Head head = head_of(request, True)
    cdef Directives wanted
    cdef Judgement judgement
    cdef Moments moments
    cdef Head came
    cdef int method = rules.method_kind(head)
    moments.wall = wall
    moments.asked = asked
    moments.received = received
    read_request_directives(head, &wanted)
    facts = request_facts(rules, head, identity, forwarded)
    came = head_of(answer, False)
    judge_answer(rules, method, facts, &wanted, came, came if update is None else kept(update), &moments, &judgement)
    return {
        "obstacle": OBSTACLES.get(judgement.obstacle),
        "audience": AUDIENCES.get(judgement.audience),
        "rule": LIFETIMES.get(judgement.rule),
        "lifetime": judgement.lifetime,
        "born": judgement.freshness.born,
        "fresh_until": judgement.freshness.fresh_until,
        "swr_until": judgement.freshness.swr_until,
        "sie_until": judgement.freshness.sie_until,
        "flags": {name for name, bit in FLAGS.items() if judgement.freshness.flags & <uint32_t>bit},
    }


def use(CacheRules rules not None, dict judged, bytes request, int64_t now):
    """How a stored answer may be used for a request; whether it may after a failed validation; whether the client wants
    504 without it; its age.
    """
    cdef Directives wanted
    cdef Freshness freshness
    freshness.born = judged["born"]
    freshness.fresh_until = judged["fresh_until"]
    freshness.swr_until = judged["swr_until"]
    freshness.sie_until = judged["sie_until"]
    freshness.flags = 0
    for name in judged["flags"]:
        freshness.flags |= <uint32_t>FLAGS[name]
    read_request_directives(head_of(request, True), &wanted)
    return (
        USES[use_of(rules, &freshness, &wanted, now)],
        usable_after_failure(rules, &freshness, &wanted, now),
        wants_504(rules, &wanted),
        age_at(&freshness, now),
    )


def method_kind(CacheRules rules not None, bytes request):
    """What the method of a request is for the cache: the number of a `MethodKind`."""
    return rules.method_kind(head_of(request, True))


cdef class Written:
    """What is written into a buffer, as bytes."""

    cdef Buffer buffer

    def __dealloc__(self):
        free_buffer(&self.buffer)

    cdef bytes text(self):
        return self.buffer.data[:self.buffer.length] if self.buffer.length else b""


def vary(CacheRules rules not None, bytes answer, bytes record=None):
    """The record of the fields that select an answer, joined with those of another record; None: it fits no other
    request, or they are too many.
    """
    cdef VaryNames names, others
    cdef Written written = Written()
    cdef Head head = head_of(answer, False)
    cdef const unsigned char* p
    if read_vary(rules, head, &names) == NEVER_THE_SAME:
        return None
    if record is not None:
        p = <const unsigned char*>PyBytes_AS_STRING(record)
        if read_record(p, len(record), &others) == NEVER_THE_SAME:
            raise ValueError("not a valid record")
        if join_names(&names, &others) == NEVER_THE_SAME:
            return None
    put_record(&written.buffer, &names)
    return written.text()


def record(bytes text):
    """The names of a record; None: it is none."""
    cdef VaryNames names
    if read_record(at_the_edge(text), len(text), &names) == NEVER_THE_SAME:
        return None
    return [(<const char*>names.name[i])[:names.length[i]] for i in range(names.count)]


def selecting_value(bytes request, bytes name):
    """The value of a request field as it stands in a key; None: the request does not have the field."""
    cdef Written written = Written()
    cdef const unsigned char* p = <const unsigned char*>PyBytes_AS_STRING(name)
    return written.text() if put_value(&written.buffer, head_of(request, True), p, len(name)) else None


cdef Text text_of(object text):
    cdef Text made
    made.p = NULL
    made.length = -1
    if text is not None:
        made.p = <const unsigned char*>PyBytes_AS_STRING(<bytes?>text)
        made.length = PyBytes_GET_SIZE(<bytes>text)
    return made


cdef KeyStart _start               # of the last key, as a worker has it


def key(CacheRules rules not None, bytes request, bytes record=b"", *, bytes route, list parts=None, **texts):
    """The bytes of a key: the primary one, and behind it the fields of a record; None: their values are too long.

    ``texts``: upstream, scheme, host, port, path, query, identity, credential, content_type, body; ``parts``: one for
    each of the rules' key. What is None is not there.
    """
    cdef KeyFacts facts
    cdef VaryNames names
    cdef Written written = Written()
    cdef Head head = head_of(request, True)
    cdef Text* given
    cdef int i
    parts = parts or [None] * len(rules.key)
    if len(route) != NAMESPACE or len(parts) != len(rules.key):
        raise ValueError("a route has 16 bytes, and each part of the key a text or None")
    if read_record(<const unsigned char*>PyBytes_AS_STRING(record), len(record), &names) == NEVER_THE_SAME:
        raise ValueError("not a valid record")
    facts.route.p = <const unsigned char*>PyBytes_AS_STRING(route)
    facts.route.length = NAMESPACE
    facts.upstream = text_of(texts.get("upstream"))
    facts.scheme = text_of(texts.get("scheme"))
    facts.host = text_of(texts.get("host"))
    facts.port = text_of(texts.get("port"))
    facts.path = text_of(texts.get("path"))
    facts.query = text_of(texts.get("query"))
    facts.identity = text_of(texts.get("identity"))
    facts.credential = text_of(texts.get("credential"))
    facts.content_type = text_of(texts.get("content_type"))
    facts.body = text_of(texts.get("body"))
    given = <Text*>calloc(len(parts) + 1, sizeof(Text))
    if given == NULL:
        raise MemoryError
    try:
        for i in range(len(parts)):
            given[i] = text_of(parts[i])
        facts.parts = given
        renew_start(&_start, &facts)
        put_primary(&written.buffer, &_start, rules, head, None, &facts)
        if put_secondary(&written.buffer, head, None, &names) < 0:
            return None
        return written.text()
    finally:
        free(given)


def query(CacheRules rules not None, bytes text):
    """A query as it is forwarded; None: nothing is left of it."""
    cdef Written written = Written()
    return written.text() if put_query(&written.buffer, rules, at_the_edge(text), len(text)) else None


def select(bytes request, bytes stored, int64_t length, *, int64_t received=0, int64_t now=0):
    """What a client gets of a stored answer: 200, 304, 206 with the first and the last byte, 416, or None: the request
    passes by. The second is what the request wishes, as bits.
    """
    # Only one of them can lie where nothing is behind it.
    cdef Head answer = kept(stored)
    cdef Head head = head_of(request, True)
    cdef Selection selection
    select_part(head, answer, length, received, now, &selection)
    status = ANSWERED[selection.answered]
    return (status, selection.first, selection.last) if status == 206 else status, wishes(head)


cdef Head kept(bytes data):
    """A head in memory of its own."""
    cdef Head head = Head.__new__(Head)
    head.data = data
    if head.scan(<const unsigned char*>PyBytes_AS_STRING(data), len(data), False, 1 << 20) != len(data) \
            or head.index(False, NAMES_PASS) != 0:
        raise ValueError("not a valid head")
    return head


def not_modified_fields(bytes stored):
    """The names of the fields of a stored answer that belong in a 304."""
    cdef Head head = kept(stored)
    return [head.p[head.fields[i].name:head.fields[i].name + head.fields[i].name_length]
            for i in range(head.count) if in_not_modified(head, i)]


def stored_lines(CacheRules rules not None, bytes answer, bytes request_id=None):
    """The lines of an answer that are stored. AssertionError: their index is not the one that reading them gives."""
    cdef Directives found
    cdef Written written = Written()
    cdef Written index = Written()
    cdef Head head = kept(answer)
    cdef Head read, opened = Head.__new__(Head)
    read_directives(head, rules.targeted, rules.targeted_bits, &found)
    if not make_head(&written.buffer, &index.buffer, rules, head, &found, request_id, head.content_length, None):
        raise ValueError("the head is too large to be stored")
    text = written.text()
    read = kept(text)
    if not open_head(opened, text, index.buffer.data, index.buffer.length) or opened.count != read.count or memcmp(
        opened.fields, read.fields, read.count * sizeof(Field)
    ):
        raise AssertionError(f"the index of {text!r} is wrong")
    return text[text.index(b"\r\n") + 2:len(text) - 2]


def merged_lines(CacheRules rules not None, bytes stored, bytes update, bytes request_id=None):
    """The lines of a stored answer after a 304; None: the 304 is about another representation."""
    cdef Written written = Written()
    cdef Head old = kept(stored)
    cdef Head new = kept(update)
    if not same_representation(old, new):
        return None
    put_merged(&written.buffer, rules, old, new, request_id)
    return written.text()


def head_agrees(bytes stored, bytes answer, int64_t length):
    """Whether the answer to a HEAD is about a stored answer with a body of this length."""
    return agrees(kept(stored), kept(answer), length)


def validators(bytes stored):
    """The conditions of a request that validates a stored answer, as lines."""
    cdef Written written = Written()
    put_validators(&written.buffer, kept(stored))
    return written.text()


cdef OwnLines _own


def age_line(int64_t seconds):
    """Age as the cache writes it."""
    no_lines(&_own)
    put_age(&_own, seconds)
    return _own.text.data[:_own.text.length]


def cache_status(
    int forwarded=0, *, int forward_status=0, ttl=None, bint stored=False, bint collapsed=False, bytes detail=None
):
    """Cache-Status as the cache writes it; ``forwarded`` is the number of a `Forwarded`."""
    cdef CacheStatus status
    if not 0 <= forwarded <= FWD_PARTIAL:
        raise ValueError("not a reason to forward")
    status.forwarded = forwarded
    status.forward_status = forward_status
    status.parts = (0 if ttl is None else SAYS_TTL) | (SAYS_STORED if stored else 0) \
        | (SAYS_COLLAPSED if collapsed else 0)
    status.ttl = 0 if ttl is None else ttl
    status.detail = NULL if detail is None else PyBytes_AS_STRING(detail)
    no_lines(&_own)
    put_cache_status(&_own, &status)
    return _own.text.data[:_own.text.length]


cdef list tag_texts(const Tags* found):
    cdef Written written
    cdef list texts = []
    for i in range(found.count):
        written = Written()
        put_tag(&written.buffer, &found.tag[i])
        texts.append((written.text(), bool(found.tag[i].group)))
    return texts


def tags(bytes answer):
    """The tags of an answer, each with whether it is a group; None: they are too many."""
    cdef Tags found
    cdef Head head = head_of(answer, False)
    return tag_texts(&found) if read_tags(head, &found) != TOO_MANY_TAGS else None


def invalidated_groups(bytes answer):
    """The groups of Cache-Group-Invalidation; None: they are too many."""
    cdef Tags found
    cdef Head head = head_of(answer, False)
    found.count = 0
    if read_groups(head, b"cache-group-invalidation", 24, &found) == TOO_MANY_TAGS:
        return None
    return [text for text, _ in tag_texts(&found)]
