"""PROXY protocol headers, whole, byte by byte and with bytes after them."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgate.gateway.proxy_protocol import ProxyHeader, ProxyHeaderError

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
PORTS = (51000).to_bytes(2, "big") + (443).to_bytes(2, "big")
V4 = socket.inet_aton("192.0.2.1") + socket.inet_aton("198.51.100.2") + PORTS
V6 = socket.inet_pton(socket.AF_INET6, "2001:db8::1") + socket.inet_pton(socket.AF_INET6, "2001:db8::2") + PORTS


def v2(command: int, family: int, body: bytes) -> bytes:
    return SIGNATURE + bytes([0x20 | command, family]) + len(body).to_bytes(2, "big") + body


NAMED = (("192.0.2.1", 51000), ("198.51.100.2", 443))
NAMED6 = (("2001:db8::1", 51000), ("2001:db8::2", 443))
NOBODY = (None, None)

HEADERS = {
    "v1 TCP4": (b"PROXY TCP4 192.0.2.1 198.51.100.2 51000 443\r\n", NAMED),
    "v1 TCP6": (b"PROXY TCP6 2001:db8::1 2001:db8::2 51000 443\r\n", NAMED6),
    "v1 UNKNOWN": (b"PROXY UNKNOWN\r\n", NOBODY),
    "v1 UNKNOWN with the rest of the line": (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", NOBODY),
    "v1 as long as can be": (b"PROXY UNKNOWN " + b"x" * 91 + b"\r\n", NOBODY),
    "v2 TCP4": (v2(1, 0x11, V4), NAMED),
    "v2 TCP6": (v2(1, 0x21, V6), NAMED6),
    "v2 with TLVs": (v2(1, 0x11, V4 + b"\x04\x00\x03abc" + b"\x01\x00\x02h2"), NAMED),
    "v2 TLVs of 60 KB": (v2(1, 0x11, V4 + b"\x04\xea\x60" + b"x" * 60000), NAMED),
    "v2 LOCAL": (v2(0, 0x00, b""), NOBODY),
    "v2 LOCAL with addresses": (v2(0, 0x11, V4), NOBODY),
    "v2 unspecified": (v2(1, 0x00, b""), NOBODY),
    "v2 Unix": (v2(1, 0x31, b"/run/x".ljust(216, b"\0")), NOBODY),
    "v2 UDP4": (v2(1, 0x12, V4), NOBODY),
}

MALFORMED = {
    "a request": b"GET / HTTP/1.1\r\n",
    "a TLS hello": b"\x16\x03\x01",
    "v1 in lower case": b"proxy TCP4 ",
    "v1 without addresses": b"PROXY TCP4\r\n",
    "v1 without a family": b"PROXY \r\n",
    "v1 bare LF": b"PROXY TCP4 192.0.2.1 198.51.100.2 51000 443\n",
    "v1 too long": b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n",
    "v1 endless": b"PROXY " + b"x" * 200,
    "v1 wrong family": b"PROXY TCP4 2001:db8::1 2001:db8::2 51000 443\r\n",
    "v1 no address": b"PROXY TCP4 localhost 198.51.100.2 51000 443\r\n",
    "v1 port too large": b"PROXY TCP4 192.0.2.1 198.51.100.2 65536 443\r\n",
    "v1 port signed": b"PROXY TCP4 192.0.2.1 198.51.100.2 +1 443\r\n",
    "v1 port with leading zero": b"PROXY TCP4 192.0.2.1 198.51.100.2 080 443\r\n",
    "v1 two spaces": b"PROXY TCP4  192.0.2.1 198.51.100.2 51000 443\r\n",
    "v1 one word more": b"PROXY TCP4 192.0.2.1 198.51.100.2 51000 443 x\r\n",
    "v1 not ASCII": b"PROXY TCP4 192.0.2.\xb2 198.51.100.2 51000 443\r\n",
    "v2 version 1": SIGNATURE + b"\x11\x11\x00\x0c" + V4,
    "v2 command 2": v2(2, 0x11, V4),
    "v2 too short for IPv4": v2(1, 0x11, V4[:-1]),
    "v2 too short for IPv6": v2(1, 0x21, V4),
}


@pytest.mark.parametrize(("header", "named"), HEADERS.values(), ids=HEADERS)
@pytest.mark.parametrize("after", [b"", b"\x16\x03\x01\x02\x00", b"GET / HTTP/1.1\r\n\r\n", b"\r\n"])
def test_whole(header: bytes, named: tuple[object, object], after: bytes) -> None:
    parser = ProxyHeader()
    assert parser.take(header + after) == len(header)
    assert parser.complete
    assert (parser.source, parser.destination) == named


@pytest.mark.parametrize(("header", "named"), HEADERS.values(), ids=HEADERS)
def test_byte_by_byte(header: bytes, named: tuple[object, object]) -> None:
    if len(header) > 1000:
        header = v2(1, 0x11, V4 + b"\x04\x00\x64" + b"x" * 100)
    parser = ProxyHeader()
    for index, byte in enumerate(header):
        assert not parser.complete, index
        assert parser.take(bytes([byte])) == 1
    assert parser.complete
    assert (parser.source, parser.destination) == named


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_malformed(data: bytes, size: int) -> None:
    parser = ProxyHeader()
    with pytest.raises(ProxyHeaderError):
        while data and not parser.complete:
            taken = parser.take(data[:size])
            assert taken > 0
            data = data[taken:]
    assert not parser.complete


@given(st.sampled_from([header for header, _ in HEADERS.values() if len(header) < 1000]), st.data())
def test_in_any_pieces_exactly_the_header_is_taken(header: bytes, data: st.DataObject) -> None:
    wire = header + b"GET / HTTP/1.1\r\n"
    parser = ProxyHeader()
    position = 0
    while not parser.complete:
        size = data.draw(st.integers(1, len(wire) - position))
        position += parser.take(wire[position : position + size])
    assert position == len(header)


@given(st.binary(min_size=1, max_size=300))
def test_arbitrary_bytes_are_taken_or_refused(data: bytes) -> None:
    parser = ProxyHeader()
    try:
        taken = parser.take(data)
    except ProxyHeaderError:
        return
    assert 0 < taken <= len(data)
