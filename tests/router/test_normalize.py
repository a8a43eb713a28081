"""The normal form of paths: http.md's row on "path with //, dot segments, percent-encodings"."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from router.reference import normalize

from fastgate._core.routing.router import Router, normalized

TABLE = {
    "/": "/",
    "/a/b": "/a/b",
    "/a/": "/a/",
    "//": "/",
    "//a///b//": "/a/b/",
    "/a/./b": "/a/b",
    "/a/.": "/a/",
    "/./": "/",
    "/a/../b": "/b",
    "/a/b/..": "/a/",
    "/a/..": "/",
    "/a//../b": "/b",
    "/%61%2D%5f%7e%30": "/a-_~0",
    "/%2e%2E/..": None,
    "/a/%2e%2e/b": "/b",
    "/a%2fb": "/a%2Fb",
    "/%c3%a9": "/%C3%A9",
    "/a+b%2bc": "/a+b%2Bc",
    "/.well-known/x": "/.well-known/x",
    "/..a/...": "/..a/...",
    "/%25%32%65": "/%252e",
    "/%252e%252e/": "/%252e%252e/",
    "/a;b=1/c": "/a;b=1/c",
    "": None,
    "a": None,
    "*": None,
    "/..": None,
    "/a/../../b": None,
    "/a\\b": None,
    "/a%5Cb": None,
    "/a%5cb": None,
    "/a%00": None,
    "/a%": None,
    "/a%4": None,
    "/a%4g": None,
    "/a?b": None,
    "/a#b": None,
    "/..%2Fb": None,
    "/a/..%2fb": None,
    "/a%2F..": None,
    "/a%2F.%2Fb": None,
    "/a%2F%2e%2e%2Fb": None,
    "/..;x/b": None,
    "/.;/b": None,
    "/..%3Bx": None,
    "/a;../b": "/a;../b",
    "/a%2F...": "/a%2F...",
}


@pytest.mark.parametrize("path", TABLE)
def test_table(path: str) -> None:
    expected = TABLE[path]
    assert normalize(path) == expected  # the model agrees with the table
    if expected is None:
        with pytest.raises(ValueError, match="refused"):
            normalized(path)
    else:
        assert normalized(path) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [("//", "//"), ("/a//b", "/a//b"), ("/a//../b", "/a/b"), ("//..", "/"), ("/a//", "/a//"), ("/.//a", "//a")],
)
def test_slashes_that_are_kept(path: str, expected: str) -> None:
    assert normalized(path, merge_slashes=False) == expected == normalize(path, merge_slashes=False)


PIECES = [
    "/",
    "/",
    "/",
    ".",
    "..",
    "%2e",
    "%2E",
    "%2f",
    "%2F",
    "a",
    "b",
    "%41",
    "%c3%a9",
    ";",
    "%3b",
    "%5C",
    "%00",
    "%",
    "\\",
]
PIECES += ["~", "-", "+", "%2b", "?", "#", "%25", "abcdefghijklmnopqrst", "users", "\x7f", " "]


@settings(max_examples=600, deadline=None)
@given(st.lists(st.sampled_from(PIECES) | st.characters(max_codepoint=127), max_size=14), st.booleans())
def test_generated_paths_as_in_the_model(pieces: list[str], merge_slashes: bool) -> None:
    path = "/" + "".join(pieces)
    written = "".join(f"%{ord(c):02X}" if not "\x21" <= c <= "\x7e" else c for c in path)
    expected = normalize(written, merge_slashes)
    if expected is None:
        with pytest.raises(ValueError, match="refused"):
            normalized(path, merge_slashes=merge_slashes)
        return
    assert normalized(path, merge_slashes=merge_slashes) == expected
    assert normalized(expected, merge_slashes=merge_slashes) == expected, "the normal form is stable"
    assert len(expected) <= len(written)


@pytest.mark.parametrize("length", range(1, 80))
def test_every_position_is_inspected(length: int) -> None:
    # Long paths are inspected sixteen bytes at a time: no border between blocks may hide a byte.
    for bad in "\\", "%5C", "%zz":
        for at in range(1, length + 1):
            path = "/" + "x" * (at - 1) + bad + "x" * (length - at)
            with pytest.raises(ValueError, match="refused"):
                normalized(path)
    for at in range(1, length):
        prefix, suffix = "/" + "x" * (at - 1), "y" * (length - at)
        assert normalized(f"{prefix}//{suffix}") == normalize(f"{prefix}//{suffix}")
        assert normalized(f"{prefix}/./{suffix}") == normalize(f"{prefix}/./{suffix}")


def test_text_outside_ascii_is_its_escaped_form() -> None:
    router = Router()
    router.add("/café/{x}", 1)
    for path in "/café/ü b", "/caf%c3%a9/%C3%BC%20b":
        match = router.match("GET", path)
        assert match is not None
        assert match.params == {"x": "ü b"}
