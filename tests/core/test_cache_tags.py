"""The tags of an answer: Cache-Tag, Surrogate-Key and Cache-Groups, compared with a plain reading."""

import random

import pytest
from core import reference_key as reference
from core.cache_heads import HEADS, MUTATED, MUTATED_LONG, answer_head, in_a_field, mutations, seeded
from core.reference_cache import Fields

from fastgate._core.probes import cache_rules

VALUES = {
    b"Cache-Tag": [b"a", b"a,b", b" a , b ,", b",,", b"a b", b"", b'"a, b"', b",".join(b"t%d" % i for i in range(63))],
    b"Surrogate-Key": [b"a", b"a b", b"a  b\tc", b"a,b", b"", b" ".join(b"k%d" % i for i in range(64))],
    b"Cache-Groups": [
        b'"a"', b'"a", "b"', b'"a" ,\t"b"', b'"a,b"', b'"a\\"b\\\\"', b'"a";x=1, "b";y', b'"a",', b"a", b'"a", b',
        b'"a" "b"',
        b'("a")', b'"\xe9"', b'"a', b"", b'""', b"1", b", ".join(b'"g%d"' % i for i in range(32)), b'"a";x=:YQ==:',
    ],
}  # fmt: skip
ALPHABET = b'",\\ \t;=ab()1?:\xff'


def drawn(draw: random.Random) -> Fields:
    fields = [(name, value) for name, values in VALUES.items() for value in draw.choices(values, k=draw.randrange(3))]
    draw.shuffle(fields)
    return fields


def test_generated_tags_are_those_of_the_reference() -> None:
    draw = seeded()
    many = 0
    for _ in range(HEADS):
        fields = drawn(draw)
        found = cache_rules.tags(answer_head(fields))
        assert found == reference.tags(fields), fields
        many += found is None
    assert HEADS / 50 < many < HEADS / 2


def mutated_tags(count: int) -> None:
    draw = seeded()
    groups = 0
    for _ in range(count):
        name = draw.choice(list(VALUES))
        fields = [(name, in_a_field(next(mutations(draw, 1, VALUES[name], ALPHABET))))]
        found = cache_rules.tags(answer_head(fields))
        assert found == reference.tags(fields), fields
        groups += bool(found and found[0][1])
    assert groups > count / 100


def test_mutated_tags() -> None:
    mutated_tags(MUTATED)


@pytest.mark.long
def test_a_million_mutated_tags() -> None:
    mutated_tags(MUTATED_LONG)


def test_three_fields_name_tags() -> None:
    fields = [(b"Cache-Tag", b"a, b"), (b"Surrogate-Key", b"c d"), (b"Cache-Groups", b'"e", "f\\"g"')]
    expected = [(b"a", False), (b"b", False), (b"c", False), (b"d", False), (b"e", True), (b'f"g', True)]
    assert cache_rules.tags(answer_head(fields)) == expected


def test_a_list_of_groups_with_an_error_is_ignored_as_a_whole() -> None:
    fields = [(b"Cache-Groups", b'"a"'), (b"Cache-Groups", b'"b", c'), (b"Cache-Tag", b"d")]
    assert cache_rules.tags(answer_head(fields)) == [(b"d", False)]


def test_more_than_64_tags_are_too_many() -> None:
    assert cache_rules.tags(answer_head([(b"Cache-Tag", b",".join([b"a"] * 64))])) is not None
    assert cache_rules.tags(answer_head([(b"Cache-Tag", b",".join([b"a"] * 65))])) is None
    fields = [(b"Cache-Tag", b"a"), (b"Cache-Groups", b", ".join([b'"g"'] * 64))]
    assert cache_rules.tags(answer_head(fields)) is None


def test_groups_to_invalidate() -> None:
    fields = [(b"Cache-Group-Invalidation", b'"a", "b";x')]
    assert cache_rules.invalidated_groups(answer_head(fields)) == [b"a", b"b"]
    assert cache_rules.invalidated_groups(answer_head([(b"Cache-Group-Invalidation", b"a")])) == []
