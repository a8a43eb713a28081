"""Where Location and Content-Location lead within one origin, compared with the algorithm of RFC 3986 section 5.2."""

import random
import re

import pytest
from core.cache_heads import HEADS, MUTATED, MUTATED_LONG, mutations, seeded

from fastgate._core.delivery.cache.locations import target_of

BASE = b"/b/c/d;p?q"

# Section 5.4, with the target in place of the URI; None: it leads out of the origin.
EXAMPLES = {
    b"g": b"/b/c/g", b"./g": b"/b/c/g", b"g/": b"/b/c/g/", b"/g": b"/g", b"//g": None, b"?y": b"/b/c/d;p?y",
    b"g?y": b"/b/c/g?y", b"#s": b"/b/c/d;p?q", b"g#s": b"/b/c/g", b"g?y#s": b"/b/c/g?y", b";x": b"/b/c/;x",
    b"g;x": b"/b/c/g;x", b"": b"/b/c/d;p?q", b".": b"/b/c/", b"./": b"/b/c/", b"..": b"/b/", b"../": b"/b/",
    b"../g": b"/b/g", b"../..": b"/", b"../../": b"/", b"../../g": b"/g", b"../../../g": b"/g", b"/./g": b"/g",
    b"/../g": b"/g", b"g.": b"/b/c/g.", b".g": b"/b/c/.g", b"g..": b"/b/c/g..", b"./../g": b"/b/g",
    b"./g/.": b"/b/c/g/", b"g/./h": b"/b/c/g/h", b"g/../h": b"/b/c/h", b"g;x=1/./y": b"/b/c/g;x=1/y",
    b"g;x=1/../y": b"/b/c/y", b"g?y/./x": b"/b/c/g?y/./x", b"g:h": None, b"http:g": None,
    b"http://a/x": b"/x", b"HTTP://A:80/x": b"/x", b"//a": b"/", b"//a?x": b"/?x", b"//a:81/x": None,
    b"https://a/x": None,
    b"http://u@a/x": None, b"http://a.b/x": None, b"/\\x": None, b"/ x": None, b"/\xe9": None, b"//": None,
    b"///x": None,
    b"/a//b": b"/a//b", b"/a//../b": b"/a/b", b"mailto:a@b": None, b"?": b"/b/c/d;p?", b"//a:/x": b"/x",
}  # fmt: skip


@pytest.mark.parametrize("reference", EXAMPLES)
def test_where_a_reference_leads(reference: bytes) -> None:
    assert target_of(b"http", b"a", BASE, reference) == EXAMPLES[reference]


def remove_dot_segments(path: bytes) -> bytes:
    """Section 5.2.4, to the letter."""
    out = b""
    while path:
        if path.startswith((b"../", b"./")):
            path = path.partition(b"/")[2]
        elif path.startswith(b"/./") or path == b"/.":
            path = b"/" + path[3:]
        elif path.startswith(b"/../") or path == b"/..":
            path = b"/" + path[4:]
            out = out.rpartition(b"/")[0]
        elif path in (b".", b".."):
            path = b""
        else:
            end = path.find(b"/", 1)
            end = len(path) if end < 0 else end
            out, path = out + path[:end], path[end:]
    return out


def resolved(reference: bytes, base: bytes) -> bytes | None:
    """Section 5.2.2, for the origin ``http://a``."""
    if not re.fullmatch(rb"[!#-;=?-\[\]_a-z~]*", reference):
        return None
    found = re.fullmatch(rb"(?:([^:/?#]+):)?(?://([^/?#]*))?([^?#]*)(?:\?([^#]*))?(?:#.*)?", reference)
    assert found
    scheme, authority, path, query = found.groups()
    if scheme is not None and not re.fullmatch(rb"[A-Za-z][A-Za-z0-9+.-]*", scheme):
        scheme, authority = None, None
        path, _, query = reference.partition(b"#")[0].partition(b"?")
        query = query if b"?" in reference.partition(b"#")[0] else None
    if scheme is not None and (scheme.lower() != b"http" or authority is None):
        return None
    base_path, _, base_query = base.partition(b"?")
    if authority is not None:
        if not re.fullmatch(rb"[aA]\.?(?::0{0,3}80|:)?", authority):
            return None
        path = remove_dot_segments(path or b"/")
    elif not path:
        path = base_path
        query = base_query if query is None and b"?" in base else query
    elif path.startswith(b"/"):
        path = remove_dot_segments(path)
    else:
        path = remove_dot_segments(base_path.rpartition(b"/")[0] + b"/" + path)
    return path if query is None else path + b"?" + query


def drawn(draw: random.Random) -> bytes:
    parts = [b"..", b".", b"", b"a", b"b;c", b"...", b"a:b"]
    path = b"/".join(draw.choices(parts, k=draw.randint(1, 5)))
    head = draw.choice(
        [b"", b"", b"/", b"//a/", b"http://a/", b"http://A:80/", b"http://b/", b"https://a/", b"//a", b"http:"]
    )
    return head + path + draw.choice([b"", b"", b"?x", b"?", b"#f", b"?a/../b#c"])


def check(reference: bytes, base: bytes) -> bytes | None:
    found = target_of(b"http", b"a", base, reference)
    assert found == resolved(reference, base), (reference, base)
    return found


def test_generated_references_lead_where_the_algorithm_says() -> None:
    draw = seeded()
    found = [check(drawn(draw), draw.choice([BASE, b"/", b"/x", b"/x?", b"/a/b/"])) for _ in range(HEADS)]
    assert HEADS / 10 < found.count(None) < HEADS / 2


def mutated_references(count: int) -> None:
    draw = seeded()
    found = [check(text, BASE) for text in mutations(draw, count, lambda: drawn(draw), b"/.:?#aAhtp80@[]\\% \xe9")]
    assert 0 < found.count(None) < count


def test_mutated_references() -> None:
    mutated_references(MUTATED)


@pytest.mark.long
def test_a_million_mutated_references() -> None:
    mutated_references(MUTATED_LONG)
