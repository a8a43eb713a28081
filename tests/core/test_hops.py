"""Addresses in their one form, and Forwarded (RFC 7239) against a plain reading of it."""

import ipaddress
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgate._core.probes.core import host, normalize_address, read_address, read_forwarded
from fastgate._core.routing.networks import Networks

v4 = st.ip_addresses(v=4).map(str)
v6 = st.ip_addresses(v=6)


def plain(text: str) -> str | None:
    """The standard library's reading."""
    address, percent, zone = text.partition("%")
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return None
    if percent and (parsed.version == 4 or not zone):
        return None
    if parsed.version == 6 and parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(parsed)


@given(v6, st.sampled_from(["", "%eth0", "%é", "%25"]))
def test_every_spelling_of_an_ipv6_address_is_one(address: ipaddress.IPv6Address, zone: str) -> None:
    form = normalize_address(str(address) + zone)
    assert form is not None
    assert normalize_address(address.exploded.upper() + zone) == form
    assert ipaddress.ip_address(form) == (address.ipv4_mapped or address)
    assert normalize_address(form) == form


@given(v4)
def test_an_ipv4_address_is_the_same_in_ipv6_clothes(address: str) -> None:
    for spelled in (address, f"::ffff:{address}", f"0:0:0:0:0:FFFF:{address}", f"::ffff:{address}%x"):
        assert normalize_address(spelled) == address
    assert address in Networks([f"::ffff:{address}"])


@settings(max_examples=400)
@given(st.one_of(st.text("0123456789abcdef:.%[]é \0", max_size=24), st.text(max_size=12), v4, v6.map(str)))
def test_what_is_no_address_has_no_form(text: str) -> None:
    assert (normalize_address(text) is None) == (plain(text) is None)


@pytest.mark.parametrize(
    ("hop", "address"),
    [
        (b" 192.0.2.1\t", b"192.0.2.1"), (b"192.0.2.1:80", b"192.0.2.1"), (b"[2001:DB8::1]", b"2001:db8::1"),
        (b"[2001:db8::1]:4711", b"2001:db8::1"), (b"2001:db8::1", b"2001:db8::1"),
        (b"[::ffff:192.0.2.1]", b"192.0.2.1"),
        (b"fe80::1%eth0", b"fe80::1"), (b"[fe80::1%\xe9]:1", b"fe80::1"),
        (b"", None), (b"unknown", None), (b"_hidden", None), (b"192.0.2.1:", None), (b"192.0.2.1:x", None),
        (b"192.0.2.1:123456", None), (b"[192.0.2.1]", None), (b"[::1", None), (b"[::1]x", None), (b"[]", None),
        (b"192.0.2.1\0", None), (b"a.test", None), (b"unix:", None), (b"unix:/run/x", None), (b"192.0.2.01", None),
    ],
)
def test_a_hop(hop: bytes, address: bytes | None) -> None:
    assert read_address(hop) == address


# -- Forwarded

TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z:\[\]]+"
PAIR = re.compile(rf"[ \t]*([!#$%&'*+\-.^_`|~0-9A-Za-z]+)=({TOKEN}|\"(?:[^\"\\]|\\.)*\")[ \t]*", re.DOTALL)


def model(text: str) -> Any:
    """Elements as (has for, address, proto, host), None where the field is malformed."""
    found: list[Any] = []
    element: dict[str, str | None] = {}
    at = 0
    while True:
        if at == len(text) or text[at] in ",; \t":
            if element and (at == len(text) or text[at] == ","):
                said = [element.get(key) for key in ("for", "proto", "host")]
                found.append(("for" in element, *(each and each.encode() for each in said)))
                element = {}
            if at == len(text):
                return found
            at += 1
            continue
        match = PAIR.match(text, at)
        if match is None:
            return None
        at = match.end()
        if at < len(text) and text[at] not in ",;":
            return None
        name, value = match[1].lower(), match[2]
        if value.startswith('"'):
            value = re.sub(r"\\(.)", r"\1", value[1:-1], flags=re.DOTALL)
        if name in element:
            return None
        if name == "for":
            bracketed = value.startswith("[")
            address = read_address(value.encode()) if bracketed or value.count(":") < 2 else None
            element["for"] = address.decode() if address else None
        elif name == "proto":
            if value.lower() not in ("http", "https", "ws", "wss"):
                return None
            element["proto"] = value.lower()
        elif name == "host":
            if not host(value.strip(" \t").encode()):
                return None
            element["host"] = value.strip(" \t")
        else:
            element.setdefault("", "")


PIECES = [
    "for=", "For=", "proto=", "host=", "by=", "192.0.2.1", "https", "http", "a.test", '"', '"[2001:db8::1]:80"',
    "[::1]", "unknown", "_x", '"192.0.2.1:1"', ",", ";", " ", "\t", "\\", "=", '\\"', "a.test:80", ";proto=https",
    ", for=1.2.3.4",
    "for=1.2.3.4;host=a.test",
]


@settings(max_examples=1500, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=9).map("".join))
def test_forwarded_is_read_as_the_model_reads_it(text: str) -> None:
    assert read_forwarded(text.encode()) == model(text)


@pytest.mark.parametrize(
    "tried",
    ['for="', 'for=6.6.6.6;x="', 'for="\\', "for=6.6.6.6;x=", 'for=6.6.6.6,"', 'for=6.6.6.6;by="a\\"'],
)
@pytest.mark.parametrize(
    "said", ["for=1.2.3.4", 'for="[2001:db8::1]"', 'for=1.2.3.4;host="a.test"', 'proto=http;for="1.2.3.4"']
)
def test_a_client_cannot_swallow_what_the_proxy_adds(tried: str, said: str) -> None:
    elements = read_forwarded(f"{tried}, {said}".encode())
    assert elements is None or elements[-1][1] in (b"1.2.3.4", b"2001:db8::1")
