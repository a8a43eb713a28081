"""Conditions and ranges against a stored answer, what is stored of a head, and the merge of a 304."""

import random

import pytest
from core import reference_conditions as reference
from core.cache_heads import HEADS, MUTATED, MUTATED_LONG, answer_head, in_a_field, mutations, request_head, seeded
from core.reference_cache import Fields

from fastgate._core.delivery.cache.rules import CacheRules
from fastgate._core.probes import cache_rules

NOW = 1_793_000_000
DATES = [
    b"Mon, 26 Oct 2026 07:33:19 GMT", b"Mon, 26 Oct 2026 07:33:20 GMT", b"Mon, 26 Oct 2026 07:33:21 GMT",
    b"Monday, 26-Oct-26 07:33:20 GMT", b"mon, 26 oct 2026 07:33:20 gmt", b"0", b"",
]  # fmt: skip
TAGS = [b'"a"', b'W/"a"', b'"b"', b'w/"a"', b"a", b'""', b'"a,b"', b'"a b"', b'"a" x', b'W/"b"']
LISTS = [
    *TAGS, b"*", b'"x", "a"', b'"x" , W/"a",', b', "b"', b'x, "a"', b'"a,b", "c"', b'*, "a"', b'"x" "a"', b'"x"',
    b'"x', b"",
]  # fmt: skip
RANGES = [
    b"bytes=0-0", b"bytes=1-3", b"bytes=5-", b"bytes=9-", b"bytes=10-", b"bytes=-3", b"bytes=-0",
    b"bytes=-99", b"bytes=3-1", b"bytes=0-99", b"bytes=0-1,3-4", b"bytes=0-1,", b"bytes=,, 2-3 ,",
    b"bytes= 0-1", b"bytes=", b"bytes=-", b"bytes=a-b", b"Bytes=2-5", b"items=0-1",
    b"bytes=99999999999999999999999-", b"bytes=0-99999999999999999999999", b"bytes=1 -3", b"bytes 0-1",
    b"bytes=-5-6", b"bytes=1-3 x", b"bytes=,", b"bytes=-99999999999999999999999",
    b"bytes=-9999999999999999999", b"bytes=9223372036854775807-", b"bytes=0-9999999999999999999",
]  # fmt: skip
ALPHABET = b'"\\,*W/=-0123456789 \tabytesGMT:\x7f\xff'


def drawn_stored(draw: random.Random) -> Fields:
    fields: list[tuple[bytes, bytes]] = [(b"Content-Length", b"10")]
    fields += [(b"ETag", tag) for tag in draw.choices(TAGS, k=draw.choice([0, 1, 1, 1, 2]))]
    fields += [(b"Last-Modified", date) for date in draw.choices(DATES, k=draw.choice([0, 1, 1, 2]))]
    fields += [(b"Date", date) for date in draw.choices(DATES, k=draw.choice([0, 1, 1]))]
    return fields


def drawn_request(draw: random.Random) -> Fields:
    fields: list[tuple[bytes, bytes]] = []
    if draw.random() < 0.4:
        fields += [(b"If-None-Match", text) for text in draw.choices(LISTS, k=draw.choice([1, 1, 1, 2]))]
    if draw.random() < 0.4:
        fields += [(b"If-Modified-Since", text) for text in draw.choices(DATES, k=draw.choice([1, 1, 1, 2]))]
    if draw.random() < 0.6:
        fields += [(b"Range", text) for text in draw.choices(RANGES, k=draw.choice([1] * 9 + [2]))]
        if draw.random() < 0.4:
            fields += [(b"If-Range", text) for text in draw.choices([*TAGS, *DATES], k=draw.choice([1] * 9 + [2]))]
    if draw.random() < 0.05:
        fields.append((draw.choice([b"If-Match", b"If-Unmodified-Since"]), b"*"))
    draw.shuffle(fields)
    return fields


Case = tuple[bytes, Fields, int, Fields, int]


def check(case: Case) -> object:
    method, asked, status, stored, length = case
    found, _ = cache_rules.select(
        request_head(asked, method), answer_head(stored, status), length, received=NOW, now=NOW
    )
    assert found == reference.select(method, asked, status, stored, length, NOW, NOW), case
    return found[0] if isinstance(found, tuple) else found


def drawn_case(draw: random.Random) -> Case:
    method = draw.choice([b"GET"] * 8 + [b"HEAD", b"QUERY", b"POST"])
    status = draw.choice([200] * 9 + [404])
    if draw.random() < 0.1:  # the date of If-Range is the stored one, strong or not
        date = draw.choice(DATES)
        stored = [(b"Last-Modified", date), (b"Date", draw.choice(DATES))]
        return b"GET", [(b"If-Range", date), (b"Range", b"bytes=1-3")], status, stored, 10
    return method, drawn_request(draw), status, drawn_stored(draw), draw.choice([10, 10, 10, 0, 1])


def test_generated_requests_get_what_the_reference_gives() -> None:
    draw = seeded()
    seen = [check(drawn_case(draw)) for _ in range(HEADS)]
    assert all(seen.count(status) > HEADS / 50 for status in (200, 206, 304, 416, None)), seen


def mutated_conditions(count: int) -> None:
    draw = seeded()
    seen = set()
    for _ in range(count):
        method, asked, status, stored, length = drawn_case(draw)
        fields = list(draw.choice([asked, stored]))
        if fields:
            place = draw.randrange(len(fields))
            name, value = fields[place]
            if name != b"Content-Length":
                changed = in_a_field(next(mutations(draw, 1, [value], ALPHABET)))
                stored = [(key, changed if (key, text) == (name, value) else text) for key, text in stored]
                asked = [(key, changed if (key, text) == (name, value) else text) for key, text in asked]
        seen.add(check((method, asked, status, stored, length)))
    assert seen == {200, 206, 304, 416, None}


def test_mutated_conditions() -> None:
    mutated_conditions(MUTATED // 2)


@pytest.mark.long
def test_a_million_mutated_conditions() -> None:
    mutated_conditions(MUTATED_LONG)


@pytest.mark.parametrize(("asked", "status"), [
    ([(b"If-None-Match", b'W/"a"')], 304),
    ([(b"If-None-Match", b'"x", "a"')], 304),
    ([(b"If-None-Match", b"*")], 304),
    ([(b"If-None-Match", b'"x"'), (b"If-Modified-Since", DATES[1])], 200),
    ([(b"If-Modified-Since", DATES[1])], 304),
    ([(b"If-Modified-Since", DATES[0])], 200),
    ([(b"If-Modified-Since", b"yesterday")], 200),
    ([(b"If-Match", b'"x"')], None),
    ([(b"If-Unmodified-Since", DATES[0])], None),
    ([(b"If-None-Match", b'"a"'), (b"Range", b"bytes=1-2")], 304),
    ([(b"Range", b"bytes=1-2")], (206, 1, 2)),
    ([(b"Range", b"bytes=-4")], (206, 6, 9)),
    ([(b"Range", b"bytes=10-")], 416),
    ([(b"Range", b"bytes=0-1,4-5")], 200),
    ([(b"Range", b"bytes=1-2"), (b"If-Range", b'"a"')], (206, 1, 2)),
    ([(b"Range", b"bytes=1-2"), (b"If-Range", b'W/"a"')], 200),
    ([(b"Range", b"bytes=1-2"), (b"If-Range", b'"b"')], 200),
    ([(b"Range", b"bytes=1-2"), (b"If-Range", DATES[1])], (206, 1, 2)),
])  # fmt: skip
def test_what_a_client_gets(asked: Fields, status: object) -> None:
    stored = [(b"ETag", b'"a"'), (b"Last-Modified", DATES[1]), (b"Date", DATES[2])]
    assert cache_rules.select(request_head(asked), answer_head(stored), 10, now=NOW)[0] == status


def test_what_has_no_last_modified_is_as_old_as_its_date_or_its_arrival() -> None:
    request = request_head([(b"If-Modified-Since", DATES[1])])
    for stored, status in (([(b"Date", DATES[1])], 304), ([(b"Date", DATES[2])], 200)):
        assert cache_rules.select(request, answer_head(stored), 10, received=NOW + 9, now=NOW)[0] == status
    assert cache_rules.select(request, answer_head([]), 10, received=NOW, now=NOW)[0] == 304
    assert cache_rules.select(request, answer_head([]), 10, received=NOW + 1, now=NOW)[0] == 200


def test_what_a_304_carries() -> None:
    names = [
        b"Date", b"ETag", b"Content-Location", b"Cache-Control", b"Expires", b"Vary", b"CDN-Cache-Control",
        b"Last-Modified", b"Content-Type", b"X-A", b"Set-Cookie", b"Xcache-Control",
    ]  # fmt: skip
    fields = [(name, b"a") for name in names]
    assert cache_rules.not_modified_fields(answer_head(fields)) == names[:7]
    assert b"Last-Modified" in cache_rules.not_modified_fields(answer_head(fields[2:]))


# -- what is stored, and the merge of a 304

STORED = [
    (b"Content-Type", b"a/b"), (b"X-A", b"1"), (b"X-A", b"2"), (b"X-B", b"3"), (b"Set-Cookie", b"a=b"), (b"Age", b"5"),
    (b"Connection", b"X-B"), (b"Proxy-Authentication-Info", b"x"), (b"Cache-Control", b'private="x-a"'), (b"x-b", b""),
    (b"Content-Encoding", b"gzip"), (b"X-Request-Id", b"7"), (b"Cache-Control", b'max-age=5, no-cache="X-C"'),
    (b"X-C", b"4"), (b"Keep-Alive", b"timeout=5"), (b"Trailer", b"X-A"), (b"ETag", b'"a"'), (b"ETag", b'"b"'),
    (b"ETag", b'W/"a"'), (b"Last-Modified", DATES[0]), (b"Last-Modified", DATES[1]), (b"Content-Length", b"5"),
    (b"Fastgate-Cache-Control", b'private="x-c", max-age=1'), (b"Content-Range", b"bytes 0-1/2"),
    (b"Proxy-Authenticate", b"Basic"),
]  # fmt: skip


def drawn_head(draw: random.Random) -> Fields:
    seen = set()
    fields = []
    for name, value in draw.sample(STORED, k=draw.randint(1, 14)):
        if name == b"Content-Length" and name in seen:
            continue
        seen.add(name)
        fields.append((name, value))
    return fields


def lines(fields: Fields) -> bytes:
    return b"".join(b"%b: %b\r\n" % field for field in fields)


def test_generated_heads_are_stored_and_merged_as_by_the_reference() -> None:
    draw = seeded()
    refused = 0
    for _ in range(HEADS):
        stored, update = drawn_head(draw), drawn_head(draw)
        set_cookie = draw.choice(["bypass", "strip", "store"])
        rules = CacheRules(set_cookie=set_cookie)
        names = [b"x-request-id"] if set_cookie == "store" else [b"x-request-id", b"set-cookie"]
        excepted, _ = reference.excepted_by(stored, rules.targeted)
        expected = reference.storable(stored, names, excepted)
        assert cache_rules.stored_lines(rules, answer_head(stored), b"x-request-id") == lines(expected), stored
        new = reference.merged(stored, update, rules.targeted, names)
        found = cache_rules.merged_lines(rules, answer_head(stored), answer_head(update, 304), b"x-request-id")
        assert found == (None if new is None else lines(new)), (stored, update)
        refused += new is None
        length = draw.choice([5, 6])
        agrees = cache_rules.head_agrees(answer_head(stored), answer_head(update), length)
        assert agrees == reference.head_agrees(stored, update, length), (stored, update)
    assert HEADS / 20 < refused < HEADS * 0.8


def test_a_304_never_changes_the_length_or_the_coding() -> None:
    stored = [(b"Content-Encoding", b"gzip"), (b"X-A", b"1"), (b"X-B", b"2")]
    update = [(b"Content-Encoding", b"br"), (b"Content-Length", b"9"), (b"X-A", b"7"), (b"X-C", b"8")]
    found = cache_rules.merged_lines(CacheRules(), answer_head(stored), answer_head(update, 304))
    assert found == b"Content-Encoding: gzip\r\nX-B: 2\r\nX-A: 7\r\nX-C: 8\r\n"


def test_a_304_of_another_strong_validator_updates_nothing() -> None:
    stored = answer_head([(b"ETag", b'"a"')])
    assert cache_rules.merged_lines(CacheRules(), stored, answer_head([(b"ETag", b'"b"')], 304)) is None
    assert cache_rules.merged_lines(CacheRules(), stored, answer_head([(b"ETag", b'W/"a"')], 304)) is not None
    assert cache_rules.merged_lines(CacheRules(), stored, answer_head([], 304)) is not None


@pytest.mark.parametrize(("fields", "agrees"), [
    ([], True), ([(b"ETag", b'"a"')], True), ([(b"ETag", b'W/"a"')], False), ([(b"Last-Modified", DATES[0])], True),
    ([(b"Last-Modified", DATES[1])], False), ([(b"Content-Length", b"10")], True), ([(b"Content-Length", b"9")], False),
])  # fmt: skip
def test_a_head_is_about_the_stored_answer_where_all_that_it_says_agrees(fields: Fields, agrees: bool) -> None:
    stored = [(b"ETag", b'"a"'), (b"Last-Modified", DATES[0])]
    assert cache_rules.head_agrees(answer_head(stored), answer_head(fields), 10) == agrees


def test_both_validators_are_sent() -> None:
    fields = [(b"ETag", b'W/"a"'), (b"Last-Modified", DATES[0])]
    assert (
        cache_rules.validators(answer_head(fields)) == b'If-None-Match: W/"a"\r\nIf-Modified-Since: %b\r\n' % DATES[0]
    )
    assert cache_rules.validators(answer_head([])) == b""


# -- what the cache says of itself


def test_age_is_written_as_digits() -> None:
    assert cache_rules.age_line(0) == b"Age: 0\r\n"
    assert cache_rules.age_line(2**31) == b"Age: 2147483648\r\n"


def test_cache_status() -> None:
    assert cache_rules.cache_status(ttl=30) == b"Cache-Status: fastgate; hit; ttl=30\r\n"
    assert cache_rules.cache_status(ttl=-5) == b"Cache-Status: fastgate; hit; ttl=-5\r\n"
    words = ["bypass", "method", "uri-miss", "vary-miss", "miss", "request", "stale", "partial"]
    for number, word in enumerate(words, 1):
        assert cache_rules.cache_status(number) == b"Cache-Status: fastgate; fwd=%b\r\n" % word.encode()
    assert (
        cache_rules.cache_status(7, forward_status=304, ttl=9, stored=True, collapsed=True, detail=b"set-cookie")
        == b"Cache-Status: fastgate; fwd=stale; fwd-status=304; ttl=9; stored; collapsed; detail=set-cookie\r\n"
    )
