"""Cache-Control, targeted fields, Pragma and Age, compared with a plain reading of RFC 9111, 9213 and 9651."""

import random

import pytest
from core import reference_cache as reference
from core.cache_heads import (
    HEADS,
    MUTATED,
    MUTATED_LONG,
    answer_head,
    in_a_field,
    mutations,
    request_head,
    seeded,
)
from core.reference_cache import Fields

from fastgate._core.probes import cache_rules

LINES = [
    b"max-age=18446744073709551621", b"s-maxage=4294967297",
    b"max-age=60", b"Max-Age=60, max-age=5", b'max-age="60"', b"max-age=99999999999999999999", b"max-age=-1",
    b"max-age=1.5", b"max-age", b"max-age=", b"max-age = 60", b'max-age="6\\0"', b"s-maxage=10, max-age=20",
    b"no-store", b"No-Store=1", b"no-cache", b'no-cache="Set-Cookie, X-A"', b"no-cache=X-A", b'no-cache=""',
    b'no-cache=","', b'no-cache="a b"', b'private="x-a"', b'private="x-a', b"private", b'private="x-a", private',
    b'private="x-a", private="x-b"', b"public", b"public=1", b"must-revalidate, proxy-revalidate",
    b"must-understand, no-store", b"immutable", b'x="no-store, private", max-age=3', b'x="no-store, public',
    b"stale-while-revalidate=30, stale-if-error=60", b"max-stale", b"max-stale=7, max-stale",
    b"min-fresh=3, min-fresh=9",
    b"only-if-cached", b"no-transform", b",, ,no-store ,", b"x=1;max-age=5", b"no-store no-cache", b'"no-store"',
    b'a="\\"", no-store', b'a="\\", no-store', b"max-age=60\t, public", b"",
]  # fmt: skip
DICTIONARIES = [
    b"max-age=60", b"max-age=60;a=1, no-store", b"max-age=1, max-age=60", b"no-store, no-store=?0", b"max-age=?1",
    b'max-age="60"', b"max-age=1.5", b"max-age=-1", b"Max-Age=60",
    b"max-age=60,", b",max-age=60", b"max-age=60 , a",
    b'private="x-a, x-b"', b"private=x-a", b"private=(a b)", b'private=""', b"no-cache;x, max-age=3",
    b"a=:YQ==:, public",
    b"a=@1659578233, public", b'a=%"f%c3%bc", public', b'a=%"f%c3%28", public', b"a=(1 2;b (", b"a=(1  2;b ) ;c",
    b"a=(1  2;b );c, public", b"public=?2", b"a=123456789012345, immutable", b"a=1234567890123456", b"a=1.2345",
    b"must-revalidate, s-maxage=9", b"stale-while-revalidate=5, stale-if-error=6, must-understand", b"max-age", b"",
    b'a="x, no-store", max-age=4', b'a="x\\"", max-age=4', b'a="x\\n", max-age=4', b"*a=*b:/c, _",
    b"no-store=5", b"public=5",
]  # fmt: skip
ALPHABET = b'"\\=,; \t()?01:@%-.*_/azAZ9#\x80\xff'
NAMES = (b"x-a", b"x-b", b"set-cookie")
TARGETED = (b"fastgate-cache-control", b"cdn-cache-control")


def drawn_fields(draw: random.Random) -> Fields:
    """Fields of an answer: some lines of what decides, in some order."""
    fields = [(b"X-A", b"1")]
    for _ in range(draw.randrange(4)):
        count = draw.randint(1, 3)
        kind = draw.randrange(8)
        if kind < 4:
            fields.append((draw.choice([b"Cache-Control", b"cache-control"]), b", ".join(draw.choices(LINES, k=count))))
        elif kind < 6:
            lines = draw.choices(DICTIONARIES, k=draw.choice([1, 1, 1, 2]))
            fields.append((draw.choice([b"Fastgate-Cache-Control", b"CDN-Cache-Control"]), b", ".join(lines)))
        elif kind == 6:
            fields.append(
                (b"Age", draw.choice([b"5", b"60, 30", b"-1", b"1.5", b"", b", 3", b"99999999999", b"7 , 3"]))
            )
        else:
            fields.append((b"Pragma", draw.choice([b"no-cache", b"x, No-Cache=1", b'x="no-cache"', b"no-store"])))
    return fields


@pytest.mark.parametrize("text", LINES)
def test_lines_of_cache_control(text: bytes) -> None:
    assert cache_rules.line(text) == reference.said_by(reference.members(text))


@pytest.mark.parametrize("text", DICTIONARIES)
def test_dictionaries(text: bytes) -> None:
    found = reference.dictionary(text)
    assert cache_rules.dictionary(text) == (None if found is None else reference.said_by(reference.arguments(found)))


@pytest.mark.parametrize(("text", "said"), [
    (b"max-age=60, max-age=5", {"max-age": 5}),
    (b'max-age="60"', {"max-age": 60}),
    (b"max-age=sixty", {"max-age": 0}),
    (b"max-age=4294967296", {"max-age": 2**31}),
    (b"max-age=18446744073709551621", {"max-age": 2**31}),  # 2**64 + 5
    (b'x="no-store, private", max-age=3', {"max-age": 3}),
    (b'no-cache=""', {"no-cache": True}),
    (b'private="a b"', {"private": True}),
    (b'private="a, b"', {"private=": True}),
    (b'x="y, no-store', {"no-store": True}),
])  # fmt: skip
def test_what_is_said(text: bytes, said: dict[str, int]) -> None:
    assert cache_rules.line(text) == said


def test_of_targeted_fields_the_first_that_is_valid_counts_alone() -> None:
    fields = [
        (b"Cache-Control", b"no-store"),
        (b"CDN-Cache-Control", b"max-age=5"),
        (b"Fastgate-Cache-Control", b"Max-Age=7"),
        (b"Fastgate-Cache-Control", b"public"),
    ]
    assert cache_rules.directives(answer_head(fields), TARGETED) == ({"max-age": 5}, b"cdn-cache-control", [])
    assert cache_rules.directives(answer_head(fields), TARGETED[:1]) == ({"no-store": True}, "cache-control", [])
    fields[2] = (b"Fastgate-Cache-Control", b"max-age=7")
    said = {"max-age": 7, "public": True}
    assert cache_rules.directives(answer_head(fields), TARGETED) == (said, b"fastgate-cache-control", [])


def test_an_empty_targeted_field_is_as_if_it_were_not_there() -> None:
    fields = [(b"CDN-Cache-Control", b""), (b"Cache-Control", b"max-age=1")]
    assert cache_rules.directives(answer_head(fields), TARGETED) == ({"max-age": 1}, "cache-control", [])


def test_a_field_that_connection_names_counts_all_the_same() -> None:
    fields = [(b"Connection", b"cache-control"), (b"Cache-Control", b"no-store")]
    assert cache_rules.directives(answer_head(fields))[0] == {"no-store": True}


def test_pragma_counts_without_cache_control_only() -> None:
    pragma = (b"Pragma", b"no-cache")
    assert cache_rules.request_directives(request_head([pragma])) == ({"no-cache": True}, "pragma")
    fields = [pragma, (b"Cache-Control", b"max-age=1")]
    assert cache_rules.request_directives(request_head(fields)) == ({"max-age": 1}, "cache-control")
    assert cache_rules.directives(answer_head([pragma])) == ({}, None, [])


@pytest.mark.parametrize(("value", "seconds"), [
    (b"60, 30", 60), (b"-1", None), (b"1.5", None), (b"0", 0), (b"9999999999", 2**31), (b'"5"', None), (b",5", None),
])  # fmt: skip
def test_age(value: bytes, seconds: int | None) -> None:
    assert cache_rules.age(answer_head([(b"Age", value), (b"Age", b"7")])) == seconds


def test_generated_heads_are_read_as_by_the_reference() -> None:
    draw = seeded()
    for _ in range(HEADS):
        fields = drawn_fields(draw)
        names = draw.choice([(), TARGETED, TARGETED[:1], TARGETED[::-1]])
        head = answer_head(fields)
        found, source = reference.answer_members(fields, names)
        said, where, listed = cache_rules.directives(head, names, NAMES)
        assert (said, where) == (reference.said_by(found), source), fields
        assert listed == [name for name in NAMES if name in reference.listed(found)], fields
        assert cache_rules.age(head) == reference.age(fields), fields
        assert cache_rules.request_directives(request_head(fields)) == reference.request_said(fields), fields


def mutated_lines(count: int) -> None:
    draw = seeded()
    kinds = set()
    for text in mutations(draw, count, lambda: b", ".join(draw.choices(LINES, k=draw.randint(1, 3))), ALPHABET):
        said = cache_rules.line(text)
        assert said == reference.said_by(reference.members(text)), text
        kinds |= said.keys()
    assert len(kinds) == 19


def mutated_dictionaries(count: int) -> None:
    draw = seeded()
    valid = 0
    for text in mutations(draw, count, lambda: b", ".join(draw.choices(DICTIONARIES, k=draw.randint(1, 3))), ALPHABET):
        value = in_a_field(text)
        found = reference.dictionary(value)
        said = None if found is None else reference.said_by(reference.arguments(found))
        assert cache_rules.dictionary(value) == said, value
        valid += found is not None
    assert count / 20 < valid < count


def test_mutated_lines() -> None:
    mutated_lines(MUTATED)


def test_mutated_dictionaries() -> None:
    mutated_dictionaries(MUTATED)


@pytest.mark.long
def test_a_million_mutated_lines() -> None:
    mutated_lines(MUTATED_LONG)


@pytest.mark.long
def test_a_million_mutated_dictionaries() -> None:
    mutated_dictionaries(MUTATED_LONG)
