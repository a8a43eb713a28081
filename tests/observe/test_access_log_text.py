"""What a client puts into its head cannot break a line of the access log, forge a key, or command a terminal."""

import codecs
import json
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fastgate._core.probes.core import json_text, quoted_text

CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def as_latin_1(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return chr(error.object[error.start]), error.start + 1


codecs.register_error("as_latin_1", as_latin_1)

# Bytes at the borders of UTF-8, whole and in pieces.
BORDERS = """
    c2 c280 c29f c2a0 c080 c1bf e08080 e0a080 ed9fbf eda080 edbfbf eebfbf
    f0808080 f0908080 f48fbfbf f4908080 f5808080 e282 f09f98 80 bf fe ff
"""
borders = st.sampled_from([bytes.fromhex(text) for text in BORDERS.split()])
heads = st.lists(st.one_of(st.binary(max_size=6), st.text(max_size=6).map(lambda t: t.encode("utf-8")), borders)).map(
    b"".join
)


@given(heads)
@example(b'", "status": 200, "x": "')
@example(b'\\"\\')
@example("ключ 鍵 🔑 \u2028".encode())
def test_json_text_says_what_was_sent(text: bytes) -> None:
    line = json_text(text)
    assert json.loads(line) == text.decode("utf-8", "as_latin_1")
    assert not CONTROLS.search(line.decode("utf-8"))
    assert len(line) <= 6 * len(text) + 2


@given(heads)
def test_quoted_text_can_be_read_back(text: bytes) -> None:
    line = quoted_text(text)
    assert re.fullmatch(rb"[ -~]*", line)
    assert b'"' not in line
    assert re.sub(rb"\\x([0-9a-f]{2})", lambda found: bytes.fromhex(found[1].decode()), line) == text


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (b"curl/8.5.0", b'"curl/8.5.0"'),
        (b"", b'""'),
        (b"a\tb", b'"a\\u0009b"'),
        (b"\xe9t\xe9", b'"\\u00e9t\\u00e9"'),
        ("été".encode(), '"été"'.encode()),
        (b"\xc2\x9b31m", b'"\\u009b31m"'),
        (b"\x7f", b'"\\u007f"'),
    ],
)
def test_json_text_by_example(text: bytes, line: bytes) -> None:
    assert json_text(text) == line
