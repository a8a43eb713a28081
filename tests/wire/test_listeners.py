"""Where connections come from and go to: PROXY protocol, Unix sockets, IPv6."""

import asyncio
import os
import socket
import ssl
import stat
import struct

import pytest
from wire.support import GET, by_id, head, served

from fastgate.testing import RawClient, RecordingUpstream, gateway_to

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
TRUSTED = {"proxy_protocol": True, "trusted_proxies": ["127.0.0.0/8"]}


def version_2(source: str, destination: str, *, command: int = 1, extra: bytes = b"") -> bytes:
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    addresses = socket.inet_pton(family, source) + socket.inet_pton(family, destination) + struct.pack("!HH", 5000, 443)
    code = 0x21 if family is socket.AF_INET6 else 0x11
    return (
        SIGNATURE + bytes([0x20 | command, code]) + struct.pack("!H", len(addresses) + len(extra)) + addresses + extra
    )


HEADERS = {
    "v1": (b"PROXY TCP4 1.2.3.4 5.6.7.8 5000 443\r\n", "1.2.3.4"),
    "v1, IPv6": (b"PROXY TCP6 2001:db8::1 2001:db8::2 5000 443\r\n", "2001:db8::1"),
    "v1, unknown": (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
    "v1, unknown with addresses": (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", "127.0.0.1"),
    "v2": (version_2("1.2.3.4", "5.6.7.8"), "1.2.3.4"),
    "v2, IPv6": (version_2("2001:db8::1", "2001:db8::2"), "2001:db8::1"),
    "v2 with TLVs": (version_2("1.2.3.4", "5.6.7.8", extra=b"\x04\x00\x03abc" + b"\x04\x00\x00" * 50), "1.2.3.4"),
    "v2, local": (SIGNATURE + b"\x20\x00\x00\x00", "127.0.0.1"),
    "v2, local with addresses": (version_2("9.9.9.9", "5.6.7.8", command=0), "127.0.0.1"),
}


@pytest.mark.parametrize("way", ["whole", "byte by byte", "header apart"])
@pytest.mark.parametrize(("header", "address"), **by_id(HEADERS))
async def test_proxy_protocol(stand, header, address, way):
    """PROXY protocol: the worker consumes exactly the header"""
    client = await stand.start(gateway=TRUSTED, route={"request_headers": {"set": {"X-Client": "{client_ip}"}}})
    if way == "whole":
        await client.send(header + GET + GET)
    elif way == "byte by byte":
        await client.send_pieces(header + GET + GET)
    else:
        await client.send(header)
        await asyncio.sleep(0.05)
        await client.send(GET + GET)
    for _ in range(2):
        assert (await client.response()).status == 200
    for request in stand.upstream.requests:
        assert request.fields["x-client"] == address
        assert request.fields["x-forwarded-for"] == address


@pytest.mark.parametrize(
    "start",
    **by_id(
        {
            "no header": GET,
            "no header, TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
            "v1 malformed": b"PROXY TCP4 1.2.3.4\r\n" + GET,
            "v1 with a bad address": b"PROXY TCP4 1.2.3.999 5.6.7.8 5000 443\r\n" + GET,
            "v1 with a bad port": b"PROXY TCP4 1.2.3.4 5.6.7.8 70000 443\r\n" + GET,
            "v1 too long": b"PROXY TCP4 " + b"1" * 200 + b"\r\n" + GET,
            "v1 with a bare LF": b"PROXY TCP4 1.2.3.4 5.6.7.8 5000 443\n" + GET,
            "v1 in lower case": b"proxy tcp4 1.2.3.4 5.6.7.8 5000 443\r\n" + GET,
            "v2 of another version": SIGNATURE + b"\x31\x11\x00\x0c" + bytes(12) + GET,
            "v2 too short": SIGNATURE + b"\x21\x11\x00\x04" + bytes(4) + GET,
            "v2 with a bad command": SIGNATURE + b"\x2f\x11\x00\x0c" + bytes(12) + GET,
        }
    ),
)
async def test_without_a_proxy_header(stand, start):
    """A peer … without a header, is closed"""
    client = await stand.start(gateway=TRUSTED)
    await client.send(start)
    assert await client.wait_closed() in ("eof", "reset")
    assert not stand.upstream.connections


async def test_proxy_header_of_an_untrusted_peer(stand):
    """A peer outside `trusted_proxies` is closed"""
    client = await stand.start(gateway={"proxy_protocol": True, "trusted_proxies": ["10.0.0.0/8"]})
    await client.send(HEADERS["v1"][0] + GET)
    assert await client.wait_closed() in ("eof", "reset")
    assert not stand.upstream.connections


async def test_proxy_header_that_does_not_come(stand):
    client = await stand.start(gateway={**TRUSTED, "header_timeout": 0.3})
    await client.send(b"PROXY TC")
    assert await client.wait_closed() in ("eof", "reset")


async def test_a_silent_peer_does_not_hold_up_others(stand):
    client = await stand.start(gateway=TRUSTED)
    silent = await stand.client()
    await silent.send(b"PROXY ")
    assert (await client.request(HEADERS["v1"][0] + GET, "GET")).status == 200


def certified(folder):
    """The table of TLS for ``example.test``, and the context of a client that trusts it."""
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    certificate = authority.issue_cert("example.test")
    cert, key = folder / "a.pem", folder / "a.key"
    cert.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    key.write_bytes(certificate.private_key_pem.bytes())
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    return {"certificates": [{"cert": str(cert), "key": str(key)}]}, trust


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
async def test_the_time_of_a_head_begins_before_the_header_of_the_proxy_protocol(stand, tmp_path, secure):
    tls = {"tls": certified(tmp_path)[0]} if secure else {}
    client = await stand.start(gateway={**TRUSTED, **tls, "header_timeout": 0.5})
    began = asyncio.get_running_loop().time()
    await asyncio.sleep(0.3)
    await client.send(HEADERS["v1"][0])
    await client.wait_closed()
    assert asyncio.get_running_loop().time() - began < 0.75


async def test_proxy_protocol_then_tls(stand, tmp_path):
    """(with TLS where configured)"""
    tls, trust = certified(tmp_path)
    for pause in (0.05, None):
        client = await stand.start(gateway={**TRUSTED, "tls": tls})
        await client.send(HEADERS["v2"][0])
        # Without a pause nobody runs in between, and header and ClientHello are read at once.
        if pause is not None:
            await asyncio.sleep(pause)
        await client.wire.start_tls(trust, server_name="example.test")
        assert (await client.request(GET)).status == 200
        fields = stand.upstream.requests[0].fields
        assert (fields["x-forwarded-for"], fields["x-forwarded-proto"]) == ("1.2.3.4", "https")


async def test_unix_socket_of_the_gateway(stand, tmp_path):
    path = str(tmp_path / "gateway.sock")
    upstream = await stand.new_upstream()
    config = gateway_to(upstream.port, gateway={"host": f"unix:{path}", "socket_mode": "0600"})
    await stand.stack.enter_async_context(config)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    async with RawClient(path) as client:
        await served(client, GET)
        await served(client, GET)
    assert upstream.requests[0].fields["x-forwarded-host"] == "example.test"


async def test_unix_socket_of_the_upstream(stand, tmp_path):
    path = str(tmp_path / "upstream.sock")
    upstream = await stand.new_upstream(path)
    client = await stand.start(f"unix:{path}")
    await served(client, GET)
    await served(client, GET)
    assert len(upstream.connections) == 1
    assert len(upstream.requests[0].fields.get_all("host")) == 1


async def test_ipv6_on_both_sides(stand):
    upstream = await stand.new_upstream(("::1", 0))
    config = gateway_to(f"[::1]:{upstream.port}", gateway={"host": "::1"})
    gateway = await stand.stack.enter_async_context(config)
    async with RawClient(("::1", gateway.port)) as client:
        await served(client, head(host="[::1]"))
    fields = upstream.requests[0].fields
    assert fields["host"] == f"[::1]:{upstream.port}"
    assert fields["x-forwarded-for"] == "::1"
    assert fields["x-forwarded-host"] == "[::1]"


async def test_forwarded_quotes_ipv6(stand):
    upstream = await stand.new_upstream()
    config = gateway_to(upstream.port, gateway={"host": "::1", "forwarded": True})
    gateway = await stand.stack.enter_async_context(config)
    async with RawClient(("::1", gateway.port)) as client:
        await served(client, GET)
    assert 'for="[::1]' in upstream.requests[0].fields["forwarded"].replace("For=", "for=")


async def test_several_addresses(stand, tmp_path):
    path = str(tmp_path / "gateway.sock")
    upstream = await stand.new_upstream()
    config = gateway_to(upstream.port, gateway={"host": ["127.0.0.1", f"unix:{path}"]})
    gateway = await stand.stack.enter_async_context(config)
    for address in (gateway.port, path):
        async with RawClient(address) as client:
            await served(client, GET)


async def test_a_name_as_target(stand):
    upstream = await stand.new_upstream()
    client = await stand.start({"host": "localhost", "port": upstream.port})
    await served(client, GET)
    assert upstream.requests[0].fields["host"] == f"localhost:{upstream.port}"


async def test_two_gateways_in_one_process():
    async with RecordingUpstream() as upstream, gateway_to(upstream.port) as one, gateway_to(upstream.port) as two:
        for gateway in (one, two):
            async with RawClient(gateway.port) as client:
                await served(client, GET)
