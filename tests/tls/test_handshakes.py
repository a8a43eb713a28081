"""TLS handshakes of clients that fail: an alert tells the client why, a line tells the log, and a counter counts."""

import asyncio
import datetime as dt
import logging
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trustme
from tls.authorities import Files

from fastgate._core.wire.tls_failures import REASONS, TLSFailures
from fastgate.gateway import Gateway
from fastgate.testing import Answer, RawClient, RecordingUpstream, gateway_to, respond

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@asynccontextmanager
async def running(files: Files, *, client_auth: str = "required", **gateway: Any) -> AsyncIterator[Gateway]:
    certificate = files.issue("a", "a.test")
    tls = {"certificates": [{"cert": certificate.cert, "key": certificate.key}], "min_version": "1.2"}
    if client_auth != "none":
        tls |= {"client_auth": client_auth, "client_ca": files.ca}
    async with RecordingUpstream() as upstream, gateway_to(upstream.port, gateway={"tls": tls, **gateway}) as running:
        yield running


def trusting(files: Files, version: str | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    files.authority.configure_trust(context)
    if version is not None:
        context.minimum_version = context.maximum_version = ssl.TLSVersion[f"TLSv1_{version[2:]}"]
    return context


async def outcome(port: int, context: ssl.SSLContext, data: bytes = GET, name: str = "a.test") -> str:
    """What a blocking client sees: the name of the alert that it got, or the first bytes of the answer."""

    def run() -> str:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as plain:
            try:
                with context.wrap_socket(plain, server_hostname=name, suppress_ragged_eofs=False) as secure:
                    secure.sendall(data)
                    return secure.recv(100).decode("latin-1")
            except ssl.SSLError as error:
                return str(error.reason)

    return await asyncio.to_thread(run)


def failures(gateway: Gateway) -> dict[str, Any]:
    counters = gateway.metrics()
    return {word: counters[f"tls_failed_{word}"] for word in REASONS if counters[f"tls_failed_{word}"]}


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "TLS" in record.getMessage()]


def stranger(files: Files, context: ssl.SSLContext) -> None:
    trustme.CA().issue_cert("client.test").configure_cert(context)


def expired(files: Files, context: ssl.SSLContext) -> None:
    long_ago = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    leaf = files.authority.issue_cert(
        "client.test", not_before=dt.datetime(2019, 1, 1, tzinfo=dt.UTC), not_after=long_ago
    )
    leaf.configure_cert(context)


def nothing(files: Files, context: ssl.SSLContext) -> None:
    pass


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize(
    ("shows", "word", "alerts", "said"),
    [
        (
            nothing,
            "no_certificate",
            {"TLSV13_ALERT_CERTIFICATE_REQUIRED", "SSLV3_ALERT_HANDSHAKE_FAILURE"},
            "client_auth",
        ),
        (stranger, "unknown_authority", {"TLSV1_ALERT_UNKNOWN_CA"}, "client_ca does not contain"),
        (expired, "expired_certificate", {"SSLV3_ALERT_CERTIFICATE_EXPIRED"}, "has expired or is not valid yet"),
    ],
)
async def test_certificates_that_are_not_taken(
    files: Files, caplog: pytest.LogCaptureFixture, version: str, shows: Any, word: str, alerts: set[str], said: str
) -> None:
    caplog.set_level(logging.INFO, "fastgate")
    context = trusting(files, version)
    shows(files, context)
    async with running(files) as gateway:
        assert await outcome(gateway.port, context) in alerts
        assert failures(gateway) == {word: 1}
    [line] = lines(caplog)
    assert line.startswith("TLS with 127.0.0.1 failed: ")
    assert said in line


async def test_an_alert_gets_through_while_the_client_still_sends(files: Files) -> None:
    """With TLS 1.3 a client sends on before it can know; a plain close would turn the alert into a reset."""
    async with running(files) as gateway:
        for _ in range(10):
            alert = await outcome(gateway.port, trusting(files, "1.3"), GET + bytes(3_000_000))
            assert alert == "TLSV13_ALERT_CERTIFICATE_REQUIRED"


def hello(versions: bytes = b"", ciphers: bytes = b"\xc0\x2f", legacy: bytes = b"\x03\x03") -> bytes:
    """A ClientHello with these values of supported_versions (none: no such extension) and of cipher_suites."""
    extensions = b"\x00\x0a\x00\x04\x00\x02\x00\x17" + b"\x00\x0d\x00\x06\x00\x04\x04\x03\x08\x04"
    if versions:
        extensions += b"\x00\x2b" + struct.pack("!HB", len(versions) + 1, len(versions)) + versions
    body = legacy + bytes(32) + b"\x00" + struct.pack("!H", len(ciphers)) + ciphers + b"\x01\x00"
    body += struct.pack("!H", len(extensions)) + extensions
    message = b"\x01" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x01" + struct.pack("!H", len(message)) + message


@pytest.mark.parametrize(
    ("data", "alert", "word"),
    [
        (hello(legacy=b"\x03\x02"), 70, "protocol_version"),
        (hello(ciphers=b"\x00\x01"), 40, "no_shared_cipher"),
        (b"\x16\x03\x01\x00\x05hello", None, "malformed"),
        (b"\x80\x2e\x01\x00\x02" + bytes(60), None, "malformed"),
        (b"\x00" * 50, None, "malformed"),
    ],
    ids=["TLS 1.1", "no common cipher", "no ClientHello", "SSL 2", "zeros"],
)
async def test_a_hello_that_is_not_taken(files: Files, data: bytes, alert: int | None, word: str) -> None:
    async with running(files, client_auth="none") as gateway, RawClient(gateway.port) as client:
        await client.send(data)
        answer = await client.rest()
        assert client.ended == "eof"
        assert set(failures(gateway)) <= {word, "protocol_version"}
        assert sum(failures(gateway).values()) == 1
    if alert is not None:
        assert answer[:1] == b"\x15"
        assert answer[5:7] == bytes([2, alert])


async def test_a_client_that_refuses_the_gateways_certificate(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fastgate")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trustme.CA().configure_trust(context)
    async with running(files, client_auth="none") as gateway:
        assert await outcome(gateway.port, context) == "CERTIFICATE_VERIFY_FAILED"
        async with asyncio.timeout(5):
            while not failures(gateway):
                await asyncio.sleep(0.01)
        assert failures(gateway) == {"refused_by_client": 1}
    assert lines(caplog) == [
        "TLS with 127.0.0.1 failed: the client rejected the gateway's certificate or TLS version (alert: unknown ca)"
    ]


@pytest.mark.parametrize(
    "data",
    [
        GET, b"\r\n" + GET, b"POST / HTTP/1.1\r\n", b"BREW / HTTP/1.1\r\n", b"CONNECT a:1 HTTP/1.1\r\n",
        b"PRI * HTTP/2.0",
    ],
)
async def test_plain_http_is_answered_in_plain_http(
    files: Files, caplog: pytest.LogCaptureFixture, data: bytes
) -> None:
    caplog.set_level(logging.INFO, "fastgate")
    async with running(files) as gateway, RawClient(gateway.port) as client:
        answer = await client.request(data, "GET")
        assert answer.status == 400
        assert answer.fields["content-type"] == "text/plain; charset=utf-8"
        assert answer.fields["connection"] == "close"
        assert b"speaks TLS" in answer.body
        assert await client.wait_closed() == "eof"
        assert failures(gateway) == {"plain_http": 1}
    assert lines(caplog) == ["TLS with 127.0.0.1 failed: the client sent plain HTTP, but this port speaks TLS"]


async def test_the_answer_to_plain_http_gets_through_an_upload(files: Files) -> None:
    async with running(files) as gateway:
        for _ in range(5):
            async with RawClient(gateway.port) as client:
                with suppress(ConnectionError):
                    await client.send(
                        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000\r\n\r\n" + bytes(4_000_000)
                    )
                assert (await client.response()).status == 400


async def test_a_handshake_has_the_time_of_the_first_request(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "fastgate")
    async with running(files, header_timeout=0.4) as gateway:
        loop = asyncio.get_running_loop()
        async with RawClient(gateway.port) as silent, RawClient(gateway.port) as slow:
            began = loop.time()
            await slow.send(hello()[:20])
            assert await silent.wait_closed() in ("eof", "reset")
            assert await slow.wait_closed() in ("eof", "reset")
            assert 0.3 < loop.time() - began < 3
        assert failures(gateway) == {"timeout": 2}
        known = trusting(files)
        files.authority.issue_cert("client.test").configure_cert(known)
        async with RawClient(gateway.port, tls=known, server_name="a.test") as client:
            assert await client.wait_closed() == "eof"
            assert loop.time() - began < 6
    assert [record.levelname for record in caplog.records if "failed: " in record.getMessage()] == ["DEBUG"]


async def test_clients_that_close_in_a_handshake_are_counted_and_port_scans_are_not(files: Files) -> None:
    async with running(files) as gateway:
        for data in (b"", hello()[:30]):
            async with RawClient(gateway.port) as client:
                if data:
                    await client.send(data)
                await asyncio.sleep(0.05)
        async with asyncio.timeout(5):
            while gateway.open_connections:
                await asyncio.sleep(0.01)
        assert failures(gateway) == {"cut": 1}


async def test_connections_count_before_their_handshake(files: Files) -> None:
    async with running(files, client_auth="none", max_connections=8) as gateway:
        async with RawClient(gateway.port, tls=trusting(files), server_name="a.test") as old:
            assert (await old.request(GET)).status == 200
            silent = [socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(40)]
            await asyncio.sleep(0.7)
            assert gateway.open_connections <= 8
            for _ in range(5):
                async with RawClient(gateway.port, tls=trusting(files), server_name="a.test") as client:
                    assert (await client.request(GET)).status == 200
            assert (await old.request(GET)).status == 200
            assert gateway.open_connections <= 8
            for each in silent:
                each.close()


async def test_a_share_by_address(files: Files) -> None:
    async with running(files, client_auth="none", max_connections_per_client=2) as gateway:
        clients = [RawClient(gateway.port, tls=trusting(files), server_name="a.test") for _ in range(2)]
        for client in clients:
            await client.open()
        with pytest.raises((OSError, AssertionError, EOFError)):
            async with RawClient(gateway.port, tls=trusting(files), server_name="a.test"):
                pass
        for client in clients:
            client.close()
        async with asyncio.timeout(5):
            while gateway.open_connections:
                await asyncio.sleep(0.01)
        async with RawClient(gateway.port, tls=trusting(files), server_name="a.test") as client:
            assert (await client.request(GET)).status == 200


def test_the_log_tells_a_reason_and_an_address_once_in_ten_seconds() -> None:
    told: list[str] = []
    failed = TLSFailures(lambda level, message: told.append(message))
    for _ in range(5):
        failed.tell("plain_http", "192.0.2.1", "", 1_000_000)
        failed.tell("plain_http", "192.0.2.2", "", 1_000_000)
        failed.tell("cut", "192.0.2.1", "", 1_009_999)
    assert len(told) == 3
    for number in range(1000):
        failed.tell("plain_http", f"10.0.0.{number}", "", 1_005_000)
    assert len(told) == 20
    failed.tell("plain_http", "192.0.2.1", "", 1_010_000)
    assert told[20:] == [
        "995 more TLS handshakes of clients failed; the log does not list them all",
        "TLS with 192.0.2.1 failed: the client sent plain HTTP, but this port speaks TLS",
    ]


# --- what passes through an open connection


async def test_large_bodies_both_ways_and_pipelines(files: Files) -> None:
    body = bytes(range(256)) * 40_000
    async with RecordingUpstream() as upstream:
        certificate = files.issue("a", "a.test")
        tls = {"certificates": [{"cert": certificate.cert, "key": certificate.key}]}
        async with gateway_to(upstream.port, gateway={"tls": tls}) as gateway:
            async with RawClient(gateway.port, tls=trusting(files), server_name="a.test", timeout=30) as client:
                upstream.script(Answer(respond(body)))
                await client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                assert (await client.response()).body == body
                await client.send(GET * 200)
                for _ in range(200):
                    assert (await client.response()).status == 200
        assert upstream.requests[0].body == body
        assert len(upstream.requests) == 201


async def test_a_client_that_reads_slowly_holds_the_upstream_back(files: Files) -> None:
    body = bytes(60_000_000)
    async with RecordingUpstream() as upstream:
        certificate = files.issue("a", "a.test")
        tls = {"certificates": [{"cert": certificate.cert, "key": certificate.key}]}
        async with gateway_to(upstream.port, gateway={"tls": tls}) as gateway:
            async with RawClient(gateway.port, tls=trusting(files), server_name="a.test", timeout=60) as client:
                upstream.script(Answer(respond(body)))
                await client.send(GET)
                answer = await client.head()
                await asyncio.sleep(0.5)
                engine: Any = gateway._engine
                assert gateway.metrics()["bytes_out"] < 30_000_000
                assert engine is not None
                assert len(await client.body(answer)) == len(body)


async def test_close_notify_of_the_client_is_answered_and_ends_the_connection(files: Files) -> None:
    async with running(files, client_auth="none") as gateway:

        def run() -> bytes:
            with socket.create_connection(("127.0.0.1", gateway.port), timeout=5) as plain:
                secure = trusting(files).wrap_socket(plain, server_hostname="a.test", suppress_ragged_eofs=False)
                secure.sendall(GET)
                answer = secure.recv(1000)
                with secure.unwrap() as bare:  # raises when the gateway's close_notify does not come
                    assert bare.recv(10) == b""
                return answer

        assert (await asyncio.to_thread(run)).startswith(b"HTTP/1.1 200 ")


async def test_the_gateways_close_is_a_close_notify(files: Files) -> None:
    async with running(files, client_auth="none") as gateway:
        request = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")

        def run() -> bytes:
            with (
                socket.create_connection(("127.0.0.1", gateway.port), timeout=5) as plain,
                trusting(files).wrap_socket(plain, server_hostname="a.test", suppress_ragged_eofs=False) as secure,
            ):
                secure.sendall(request)
                answer = b""
                while piece := secure.recv(1000):
                    answer += piece
                return answer

        assert (await asyncio.to_thread(run)).startswith(b"HTTP/1.1 200 ")


async def test_an_answer_to_an_upload_gets_through(files: Files) -> None:
    async with running(files, client_auth="none", max_body=1000) as gateway:
        for _ in range(5):
            async with RawClient(gateway.port, tls=trusting(files), server_name="a.test") as client:
                with suppress(ConnectionError):
                    await client.send(
                        b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 8000000\r\n\r\n" + bytes(8_000_000)
                    )
                assert (await client.response()).status == 413


async def test_bytes_that_cannot_be_decrypted_end_the_connection(files: Files) -> None:
    async with running(files, client_auth="none") as gateway:

        def run() -> bytes:
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            secure = trusting(files).wrap_bio(incoming, outgoing, server_hostname="a.test")
            with socket.create_connection(("127.0.0.1", gateway.port), timeout=5) as plain:
                while True:
                    try:
                        secure.do_handshake()
                        break
                    except ssl.SSLWantReadError:
                        plain.sendall(outgoing.read())
                        incoming.write(plain.recv(65536))
                plain.sendall(outgoing.read() + b"\x17\x03\x03\x00\x20" + bytes(32))
                rest = b""
                while piece := plain.recv(1000):
                    rest += piece
                return rest

        await asyncio.to_thread(run)
        async with asyncio.timeout(5):
            while gateway.open_connections:
                await asyncio.sleep(0.01)
        assert failures(gateway) == {"malformed": 1}


@pytest.mark.parametrize("size", [1, 100, 5000])
async def test_handshake_and_request_in_pieces(files: Files, size: int) -> None:
    """Each piece is read apart."""
    async with running(files, client_auth="none") as gateway:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        secure = trusting(files).wrap_bio(incoming, outgoing, server_hostname="a.test")
        async with RawClient(gateway.port) as client:
            while True:
                try:
                    secure.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    await client.send_pieces(outgoing.read(), size)
                    assert await client.reader.more()
                    incoming.write(bytes(client.reader.buffer))
                    client.reader.buffer.clear()
            secure.write(GET)
            await client.send_pieces(outgoing.read(), size)
            answer = b""
            while b"\r\n\r\n" not in answer:
                assert await client.reader.more()
                incoming.write(bytes(client.reader.buffer))
                client.reader.buffer.clear()
                with suppress(ssl.SSLWantReadError):
                    answer += secure.read(10_000)
            assert answer.startswith(b"HTTP/1.1 200 ")
