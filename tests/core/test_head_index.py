"""The index of an answer's head: opened again it says what was read, and damage is found or does no harm."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgate._core.probes.indexed_heads import index_of_answer, open_answer, read_answer

TOKEN = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-"
names = st.sampled_from(["Date", "Server", "Content-Type", "Set-Cookie", "Vary", "ETag", "Via", "Age"]) | st.text(
    TOKEN, min_size=1, max_size=40
)
values = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60).map(str.strip)
reasons = st.sampled_from(["OK", "", "Not Modified", "A long reason with \xe9"])


def compose(status: int, reason: str, fields: list[tuple[str, str]], gap: str = " ") -> bytes:
    lines = "".join(f"{name}:{gap}{value}\r\n" for name, value in fields)
    return f"HTTP/1.1 {status} {reason}\r\n{lines}\r\n".encode("latin-1")


@given(
    st.integers(200, 599), reasons, st.lists(st.tuples(names, values), max_size=40), st.sampled_from(["", " ", "\t  "])
)
def test_opened_again_it_says_the_same(status: int, reason: str, fields: Any, gap: str) -> None:
    text = compose(status, reason, fields, gap)
    try:
        read = read_answer(text)
    except ValueError:
        return
    index = index_of_answer(text)
    assert index is not None
    assert open_answer(text, index) == read


def test_what_has_no_room_in_it_has_no_index() -> None:
    assert index_of_answer(compose(200, "OK", [("a" * 255, "b")])) is not None
    assert index_of_answer(compose(200, "OK", [("a" * 256, "b")])) is None
    assert index_of_answer(compose(200, "OK", [("a", "b")], gap=" " * 254)) is not None
    assert index_of_answer(compose(200, "OK", [("a", "b")], gap=" " * 255)) is None
    head = compose(200, "OK", [("a", "b")])
    fits = 65_535 - len(head) + 1
    assert index_of_answer(compose(200, "OK", [("a", "b" * fits)])) is not None
    assert index_of_answer(compose(200, "OK", [("a", "b" * (fits + 1))])) is None


def test_an_index_is_of_one_text_length() -> None:
    text = compose(200, "OK", [("a", "b"), ("c", "d")])
    index = index_of_answer(text)
    assert index is not None
    assert open_answer(text + b" ", index) is None
    assert open_answer(text[:-1], index) is None
    for size in range(len(index)):
        assert open_answer(text, index[:size]) is None
    assert open_answer(text, index + b"\0") is None
    assert open_answer(b"", b"") is None


def test_damage_is_found_or_stays_within_the_text() -> None:
    """Any byte of the index may be any other: what is opened then lies in the text, in order. See the sanitizers."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    text = compose(200, "OK", [(f"Field-{number}", "v" * number) for number in range(20)])
    index = index_of_answer(text)
    assert index is not None
    opened = 0
    for _ in range(20_000):
        damaged = bytearray(index)
        for _ in range(chance.choice([1, 1, 2, 8])):
            damaged[chance.randrange(len(damaged))] = chance.choice([0, 1, 127, 255, chance.randrange(256)])
        found = open_answer(text, bytes(damaged))
        if found is not None:
            opened += 1
            assert found["length"] == len(text)
            assert all(len(name) > 0 and name in text and value in text for name, value, _, _ in found["fields"])
            assert sum(len(name) + len(value) for name, value, _, _ in found["fields"]) <= len(text)
    assert opened > 0


@pytest.mark.parametrize("place", range(24))
def test_each_byte_before_the_fields_is_looked_at_or_says_something(place: int) -> None:
    text = compose(200, "OK", [("a", "b")])
    index = index_of_answer(text)
    assert index is not None
    damaged = bytearray(index)
    damaged[place] ^= 0xFF
    assert open_answer(text, bytes(damaged)) != read_answer(text)
