"""Vary, its record and the bytes of a key: two requests have one key only where a plain reading makes them one."""

import random
from itertools import pairwise
from typing import Any

import pytest
from core import reference_freshness, reference_key
from core.cache_heads import HEADS, MUTATED, MUTATED_LONG, answer_head, in_a_field, mutations, request_head, seeded
from core.reference_cache import Fields

from fastgate._core.delivery.cache.rules import CacheRules
from fastgate._core.probes import cache_rules

ROUTE = b"r" * 16
VALUES = {
    b"accept-encoding": [
        b"gzip", b"GZIP", b"x-gzip", b"gzip, br", b"br,gzip", b"br;q=0.5, gzip", b"gzip;q=0", b"", b"identity",
        b"identity;q=0", b"*", b"*;q=0", b"gzip, *", b"*, gzip;q=0", b"gzip;q=0, *;q=1.000", b"*;q=0, identity",
        b"*, identity;q=0", b"gzip;q=1.5", b"gzip ; q=0.001", b"gzip;level=1", b"gzip, gzip;q=0", b"a b", b"/identity",
    ],
    b"accept-language": [b"de, en", b"en, de", b"DE,EN", b"de;q=0.9 , en", b'de, "A"', b"de,en", b""],
    b"accept": [b"text/html", b"text/html, */*", b"text/html,*/*", b"TEXT/HTML", b'a;x="b, c"', b'a;x="b,c"',
                b'a;x="b'],
    b"cookie": [
        b"a=1; b=2", b"b=2; a=1", b"a=1", b"a=1 , 2", b"a=1,2", b"A=1", b"a=", b"a", b"a=1;a=2", b"a =3; a=1",
        b"a\t=1", b"",
    ],
    b"x-a": [b"1", b"1 ,2", b"1,2", b"2", b'"1 ,2"', b""],
}  # fmt: skip
ALPHABET = b'"\\,;=q01.* \t/-abzAZgip&%_+\xff'


def drawn_request(draw: random.Random) -> Fields:
    fields = []
    for name, values in VALUES.items():
        lines = draw.choices(values, k=draw.choice([0, 1, 1, 1, 2]))
        fields += [(draw.choice([name, name.title()]), value) for value in lines]
    draw.shuffle(fields)
    return fields


@pytest.mark.parametrize("name", VALUES)
def test_values_are_one_where_they_mean_the_same(name: bytes) -> None:
    draw = seeded()
    cases: list[Fields] = [[(name, value)] for value in VALUES[name]] + [[]]
    cases += [[(name, value) for value in draw.choices(VALUES[name], k=draw.randint(1, 3))] for _ in range(60)]
    seen = [(cache_rules.selecting_value(request_head(fields), name), fields) for fields in cases]
    for value, fields in seen:
        for other, others in seen:
            same = reference_key.selecting_value(fields, name) == reference_key.selecting_value(others, name)
            assert (value == other) == same, (fields, others, value, other)


@pytest.mark.parametrize(("name", "one", "other", "same"), [
    (b"accept-encoding", b"gzip, deflate, br", b"br, gzip;q=0.9, deflate, zstd;q=0", True),
    (b"accept-encoding", b"gzip", b"br", False),
    (b"accept-encoding", b"gzip", b"gzip, identity;q=0", False),
    (b"accept-encoding", b"*", b"gzip, *", True),
    (b"accept-encoding", b"*", b"gzip;q=0, *", False),
    (b"accept-language", b"de-CH, en", b"DE-ch,en", True),
    (b"accept-language", b"de, en", b"en, de", False),
    (b"accept", b"a, b", b"a,b", True),
    (b"accept", b"a, b", b"A, b", False),
    (b"accept", b'"a, b"', b'"a,b"', False),
    (b"cookie", b"a=1 ,2", b"a=1,2", False),
])  # fmt: skip
def test_what_is_one_value(name: bytes, one: bytes, other: bytes, same: bool) -> None:
    values = [cache_rules.selecting_value(request_head([(name, value)]), name) for value in (one, other)]
    assert (values[0] == values[1]) == same


def test_a_field_that_is_missing_differs_from_an_empty_one() -> None:
    assert cache_rules.selecting_value(request_head([]), b"accept") is None
    assert cache_rules.selecting_value(request_head([(b"Accept", b"")]), b"accept") == b""


def test_what_the_upstream_does_not_get_does_not_select() -> None:
    fields = [(b"Connection", b"X-A"), (b"X-A", b"1")]
    assert cache_rules.selecting_value(request_head(fields), b"x-a") is None


# -- Vary


def vary_of(rules: dict[str, Any], *lines: bytes) -> bytes | None:
    return cache_rules.vary(CacheRules(**rules), answer_head([(b"Vary", line) for line in lines]))


def test_names_are_sorted_and_each_there_once() -> None:
    assert vary_of({}, b"Origin, accept-encoding", b"ACCEPT-Encoding") == b"accept-encoding,origin"
    assert vary_of({"vary": ["X-B"], "vary_except": ["Origin"]}, b"Origin, X-C") == b"x-b,x-c"
    assert vary_of({}) == b""


@pytest.mark.parametrize("lines", [[b"*"], [b"a, *"], [b"a", b"*"], [b"a b"], [b'"a"'], [b"a;b"]])
def test_what_fits_no_other_request(lines: list[bytes]) -> None:
    assert vary_of({"vary_except": ["*"]}, *lines) is None


def test_more_than_16_names_fit_no_other_request() -> None:
    assert vary_of({}, b",".join(b"a%d" % i for i in range(16))) is not None
    assert vary_of({}, b",".join(b"a%d" % i for i in range(17))) is None
    assert vary_of({"vary": ["x"]}, b",".join(b"a%d" % i for i in range(16))) is None


def test_records_are_joined() -> None:
    head = answer_head([(b"Vary", b"b, d")])
    assert cache_rules.vary(CacheRules(), head, b"a,b,e") == b"a,b,d,e"
    assert cache_rules.vary(CacheRules(), head, b",".join(b"x%02d" % i for i in range(15))) is None


def mutated_vary(count: int) -> None:
    draw = seeded()
    seeds = [b"Origin, Accept-Encoding", b"a,b,c", b"*", b"a, ,b", VALUES_LONG, b""]
    stored = 0
    for text in mutations(draw, count, seeds, b", \t*aAzZ-\"';\xff"):
        lines = [in_a_field(text), draw.choice([b"x", b"", b"X, y"])]
        options = draw.choice([{}, {"vary": ["m"]}, {"vary_except": ["A", "x"]}])
        expected = reference_freshness.selecting(
            reference_freshness.Rules(**options), [(b"Vary", line) for line in lines]
        )
        found = vary_of(options, *lines)
        assert found == (None if expected is None else b",".join(expected)), (lines, options)
        stored += found is not None
        if found is not None:
            assert cache_rules.record(found) == expected
    assert count / 10 < stored < count


VALUES_LONG = b",".join(b"v%d" % i for i in range(15))


def test_mutated_vary() -> None:
    mutated_vary(MUTATED // 4)


@pytest.mark.long
def test_a_million_mutated_vary() -> None:
    mutated_vary(MUTATED_LONG)


def mutated_records(count: int) -> None:
    draw = seeded()
    for text in mutations(draw, count, [b"a,b,c", VALUES_LONG, b"accept-encoding,origin", b""], b",aAb\x00 z\xff"):
        names = text.split(b",") if text else []
        ordered = all(one.lower() < other.lower() for one, other in pairwise(names))
        tokens = all(reference_key.re.fullmatch(reference_freshness.reference.TOKEN, name) for name in names)
        expected = names if ordered and tokens and len(names) <= 16 else None
        assert cache_rules.record(text) == expected, text


def test_mutated_records() -> None:
    mutated_records(MUTATED)


@pytest.mark.long
def test_a_million_mutated_records() -> None:
    mutated_records(MUTATED_LONG)


def mutated_values(count: int) -> None:
    """Pairs of values of a field: one key only where they mean the same."""
    draw = seeded()
    same = 0
    for _ in range(count):
        name = draw.choice(list(VALUES))
        one = draw.choice(VALUES[name])
        other = draw.choice([next(mutations(draw, 1, [one], ALPHABET)), draw.choice(VALUES[name])])
        pair: list[Fields] = [[(name, one)], [(name, in_a_field(other))]]
        equal = reference_key.selecting_value(pair[0], name) == reference_key.selecting_value(pair[1], name)
        values = [cache_rules.selecting_value(request_head(fields), name) for fields in pair]
        assert (values[0] == values[1]) == equal, pair
        same += equal
    assert count / 50 < same < count


def test_mutated_values() -> None:
    mutated_values(MUTATED)


@pytest.mark.long
def test_a_million_mutated_values() -> None:
    mutated_values(MUTATED_LONG)


# -- keys


TEXTS = ("upstream", "scheme", "host", "port", "path", "query", "identity", "credential", "content_type", "body")


def test_no_two_requests_have_one_key_that_do_not_mean_the_same() -> None:
    """Pairs that differ in little: parts that are moved into each other, that are empty or missing."""
    draw = seeded()
    rules = CacheRules(key=["header:X-A", "cookie:a", "param:p", "identity", "header:Accept"])
    equal = 0
    for _ in range(HEADS // 2):
        pair = []
        texts: dict[str, bytes | None] = {name: draw.choice([b"", b"a", b"ab", None]) for name in TEXTS}
        fields = drawn_request(draw)
        param = draw.choice([b"", b"a", b"ab", None])
        for _ in range(2):
            for _ in range(draw.randrange(3)):
                texts = {**texts, draw.choice(TEXTS): draw.choice([b"", b"a", b"ab", b"b", None])}
            if draw.random() < 0.1:
                fields = drawn_request(draw)
            if draw.random() < 0.5:  # one field, among others empty or missing
                name = draw.choice([b"x-a", b"accept", b"cookie"])
                fields = [field for field in fields if field[0].lower() != name]
                fields += draw.choice([[], [(name, b"")], [(name, draw.choice(VALUES[name]))]])
            if draw.random() < 0.2:
                param = draw.choice([b"", b"a", None])
            record = draw.choice([b"", b"x-a", b"accept,x-a", b"accept", b"accept-encoding"])
            meaning = (
                texts,
                [reference_key.selecting_value(fields, b"x-a"), reference_key.selecting_value(fields, b"accept")],
                [reference_key.cookies(fields, b"a"), param],
                record,
                [reference_key.selecting_value(fields, name) for name in record.split(b",")],
            )
            made = cache_rules.key(
                rules, request_head(fields), record, route=ROUTE, parts=[None, None, param, None, None], **texts
            )
            pair.append((meaning, made, fields))
        (one, one_key, _), (other, other_key, _) = pair
        assert (one == other) == (one_key == other_key), pair
        equal += one == other
    assert 0 < equal < HEADS // 2


def test_keys_of_two_routes_differ() -> None:
    head = request_head([])
    rules = CacheRules()
    keys = {cache_rules.key(rules, head, route=bytes([i]) * 16, path=b"/") for i in range(3)}
    assert len(keys) == 3


def test_values_of_more_than_8192_bytes_have_no_variant() -> None:
    fields = [(b"X-A", b"a" * 8000), (b"X-B", b"b" * 500)]
    assert cache_rules.key(CacheRules(), request_head(fields), b"x-a", route=ROUTE) is not None
    assert cache_rules.key(CacheRules(), request_head(fields), b"x-a,x-b", route=ROUTE) is None


def test_the_identity_is_in_the_key_where_the_rules_say_so_only() -> None:
    def keys(**options: Any) -> int:
        rules = CacheRules(**options)
        return len(
            {cache_rules.key(rules, request_head([]), route=ROUTE, identity=name) for name in (b"a", b"b", None)}
        )

    assert keys() == 1
    assert keys(private=True) == 3
    assert keys(key=["identity"]) == 3


# -- the query


QUERIES = [
    b"a=1&b=2", b"b=2&a=1", b"utm_source=x&a=1", b"a=1&utm%5Fsource=x", b"utm_source=x", b"", b"a", b"a&&b", b"&",
    b"a=1&a=0",
    b"%61=1&a=2&A=3", b"utm_=1&utm=2&utm_x_y", b"a+b=1&a%20b=2", b"a%2=1", b"a%", b"=1", b"a==&b", b"xutm_a=1",
]  # fmt: skip
QUERY_RULES: list[dict[str, Any]] = [
    {"except": ["utm_*"]}, {"except": ["utm_*", "a"], "sort": True}, {"only": ["a", "b*"]}, {"only": []},
    {"sort": True}, {"except": ["*_*"]}, {"only": ["a b", "*m*"], "sort": True}, {"except": ["*"]},
    {"except": ["**x*y"]},
]  # fmt: skip


def query_of(text: bytes, rules: dict[str, Any]) -> tuple[bytes | None, bytes | None]:
    return (
        cache_rules.query(CacheRules(query=rules), text),
        reference_key.query(text, only=rules.get("only"), without=rules.get("except"), sort=rules.get("sort", False)),
    )


@pytest.mark.parametrize("rules", QUERY_RULES, ids=str)
def test_queries(rules: dict[str, Any]) -> None:
    for text in QUERIES:
        found, expected = query_of(text, rules)
        assert found == expected, text


def test_what_is_left_of_a_query() -> None:
    rules = CacheRules(query={"except": ["utm_*"], "sort": True})
    assert cache_rules.query(rules, b"b=2&utm_source=x&a=1&b=1") == b"a=1&b=2&b=1"
    assert cache_rules.query(rules, b"utm_source=x") is None
    assert cache_rules.query(rules, b"") == b""
    assert cache_rules.query(CacheRules(), b"b&a") == b"b&a"


def test_a_query_of_very_many_parameters_is_not_sorted() -> None:
    text = b"&".join(b"p%d" % i for i in range(65, 0, -1))
    assert cache_rules.query(CacheRules(query={"sort": True}), text) == text


def mutated_queries(count: int) -> None:
    draw = seeded()
    for text in mutations(
        draw, count, lambda: b"&".join(draw.choices(QUERIES, k=draw.randint(1, 3))), b"&=%+_utm*12fFaA\xff"
    ):
        found, expected = query_of(text, draw.choice(QUERY_RULES))
        assert found == expected, text


def test_mutated_queries() -> None:
    mutated_queries(MUTATED // 2)


@pytest.mark.long
def test_a_million_mutated_queries() -> None:
    mutated_queries(MUTATED_LONG)
