"""Which content coding a client gets: a table, and generated fields against a plain model."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgate._core.policies.compression import choose_coding

OURS = (b"zstd", b"br", b"gzip")
PLAIN, NOTHING = -1, -2
NAMES = {0: "zstd", 1: "br", 2: "gzip", PLAIN: "plain", NOTHING: "nothing"}


@pytest.mark.parametrize(
    ("accepted", "given"),
    [
        (None, "plain"), (b"", "plain"), (b" ", "plain"), (b",,", "plain"),
        (b"gzip", "gzip"), (b"GZip", "gzip"), (b"x-gzip", "gzip"), (b"x-gzip;q=0, gzip", "gzip"),
        (b"br", "br"), (b"zstd", "zstd"), (b"deflate", "plain"), (b"compress, deflate", "plain"),
        (b"gzip, deflate, br, zstd", "zstd"), (b"gzip, br", "br"), (b"gzip;q=1.0, br;q=0.9", "gzip"),
        (b"zstd;q=0.5, br;q=0.5, gzip;q=0.5", "zstd"), (b"zstd;q=0.001, gzip;q=0.002", "gzip"),
        (b"gzip;q=0", "plain"), (b"gzip;q=0.000", "plain"), (b"gzip ; q=0.5 , br ; q=0.4", "gzip"),
        (b"*", "zstd"), (b"*;q=0.5, gzip", "gzip"), (b"*, zstd;q=0", "br"), (b"zstd;q=0, br;q=0, *", "gzip"),
        (b"*;q=0", "nothing"), (b"identity;q=0", "nothing"), (b"identity;q=0, *;q=0", "nothing"),
        (b"*;q=0, identity", "plain"), (b"*;q=0, identity;q=0.1", "plain"), (b"*;q=0, br", "br"),
        (b"identity;q=0, gzip;q=0.1", "gzip"), (b"deflate, identity;q=0", "nothing"),
        (b"identity, gzip", "gzip"), (b"identity;q=1, gzip;q=0.5", "plain"), (b"identity;q=0.5, gzip;q=0.5", "gzip"),
        (b"identity;q=0.5, gzip;q=0.4, br;q=0.6", "br"), (b"identity;q=0.9, *;q=0.3", "plain"),
        # What cannot be read says nothing.
        (b"gzip;q=2", "plain"), (b"gzip;q=-1", "plain"), (b"gzip;q=", "plain"), (b"gzip;q=0.1234", "plain"),
        (b"gzip;q=1.001", "plain"), (b"gzip;q=1.000", "gzip"), (b"gzip;q=0.", "plain"), (b"gzip;q=1.", "gzip"),
        (b"gzip;q=a, br;q=0.1", "br"), (b"gzip;level=9", "plain"), (b"gzip;Q=0.5, br;q=0.4", "gzip"),
        (b"gzip;q=0.5;q=0", "plain"), (b"gzip br", "plain"), (b";q=1", "plain"), (b"gzip;", "plain"),
        # Said twice: the better word counts.
        (b"gzip;q=0, gzip", "gzip"), (b"gzip;q=0.2, gzip;q=0.8, br;q=0.5", "gzip"),
    ],
)
def test_what_a_client_gets(accepted: bytes | None, given: str) -> None:
    assert NAMES[choose_coding(accepted, OURS)] == given


def test_only_what_is_offered_is_given() -> None:
    assert choose_coding(b"zstd, br, gzip", (b"gzip",)) == 0
    assert choose_coding(b"zstd, br", (b"gzip",)) == PLAIN
    assert choose_coding(b"*", ()) == PLAIN
    assert choose_coding(b"br, identity;q=0", ()) == NOTHING
    assert choose_coding(b"gzip, br", (b"gzip", b"br")) == 0


ITEM = re.compile(r"[ \t]*([a-z*-]+)[ \t]*(?:;[ \t]*q=[ \t]*(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*)?")


def model(accepted: bytes) -> int:
    """The rules of RFC 9110 section 12.5.3 in plain words."""
    said: dict[str, float] = {}
    for item in accepted.decode().lower().split(","):
        match = ITEM.fullmatch(item)
        if match:
            name = {"x-gzip": "gzip"}.get(match[1], match[1])
            said[name] = max(said.get(name, 0.0), float(match[2]) if match[2] else 1.0)
    liked = {name.decode(): said.get(name.decode(), said.get("*", 0.0)) for name in OURS}
    best = max(liked.values())
    forbidden = said.get("identity") == 0.0 or ("identity" not in said and said.get("*") == 0.0)
    if best == 0.0:
        return NOTHING if forbidden else PLAIN
    if said.get("identity", 0.0) > best:
        return PLAIN
    return next(index for index, name in enumerate(OURS) if liked[name.decode()] == best)


ITEMS = st.builds(
    lambda name, weight, space: f"{name}{space};{space}q={weight}" if weight is not None else f"{space}{name}",
    st.sampled_from(["gzip", "x-gzip", "br", "zstd", "deflate", "identity", "*", "GZIP"]),
    st.none() | st.sampled_from(["0", "0.0", "0.001", "0.5", "0.55", "1", "1.0", "1.000", "1.1", "2", "x", ""]),
    st.sampled_from(["", " ", "\t "]),
)


@given(st.lists(ITEMS, max_size=6))
def test_generated_fields_against_the_model(items: list[str]) -> None:
    accepted = ",".join(items).encode()
    assert choose_coding(accepted, OURS) == model(accepted)


@given(st.binary(max_size=60))
def test_any_bytes_are_read(accepted: bytes) -> None:
    assert choose_coding(accepted, OURS) in NAMES
