"""Compression through a gateway: who gets what, what the head says of it, and how streams pass."""

import asyncio
import gzip
import json
import random
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import brotli
import pytest
import zstandard

from fastgate.config import ConfigError, GatewayConfig
from fastgate.config.schema import compression
from fastgate.config.schema.envelope import Envelope
from fastgate.testing import (
    Answer,
    CutShort,
    EventStream,
    RawClient,
    RecordingUpstream,
    close,
    gateway_to,
    respond,
    stall,
    start_gateway,
    wait_for,
)
from fastgate.testing.http_messages import RecordedResponse

BODY = json.dumps([{"number": n, "name": f"name {n * 7919 % 101}"} for n in range(200)]).encode()
JSON = "Content-Type: application/json"
DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress, "br": brotli.decompress, "zstd": lambda body: zstandard.decompress(body, 1 << 26),
}


def ask(accepted: str | None = "gzip", *fields: str, method: str = "GET", version: str = "1.1") -> bytes:
    lines = [f"{method} / HTTP/{version}", "Host: h", *fields]
    if accepted is not None:
        lines.append(f"Accept-Encoding: {accepted}")
    return "\r\n".join([*lines, "", ""]).encode()


def chunked(*pieces: bytes, kind: str = "application/json") -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    return head + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


@asynccontextmanager
async def stand(compression: Any = True, **route: Any) -> AsyncIterator[tuple[RecordingUpstream, RawClient]]:
    async with RecordingUpstream() as upstream:
        route["compression"] = compression
        async with gateway_to(upstream.port, route=route) as gateway, RawClient(gateway.port) as client:
            yield upstream, client


async def answered(request: bytes, answer: bytes, compression: Any = True, **route: Any) -> RecordedResponse:
    async with stand(compression, **route) as (upstream, client):
        upstream.script(answer)
        response = await client.request(request)
        # The connection is still good for another one.
        upstream.script(respond(b"next", "200 OK"))
        assert (await client.request(ask(None))).body == b"next" or response.fields.get("connection") == "close"
        return response


def vary(response: RecordedResponse) -> list[str]:
    return [name.strip().lower() for value in response.fields.get_all("vary") for name in value.split(",")]


# -- who gets what

@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
async def test_a_body_that_is_there_at_once(coding: str) -> None:
    response = await answered(ask(coding), respond(BODY, "200 OK", JSON))
    assert response.fields.get_all("content-encoding") == [coding]
    assert response.fields.get_all("content-length") == [str(len(response.body))]
    assert response.fields.get("transfer-encoding") is None
    assert len(response.body) < len(BODY) / 3
    assert DECODERS[coding](response.body) == BODY
    assert vary(response) == ["accept-encoding"]


@pytest.mark.parametrize(
    ("accepted", "encodings", "coding"),
    [
        ("gzip, br, zstd", None, "zstd"), ("gzip, br, zstd", ["br", "gzip"], "br"),
        ("gzip, br", ["gzip", "br"], "gzip"),
        ("zstd, br;q=0.9, gzip;q=0.95", ["br", "gzip"], "gzip"), ("zstd", ["gzip"], None), (None, None, None),
        ("*", ["gzip"], "gzip"), ("gzip;q=0", None, None), ("identity;q=1, gzip;q=0.5", None, None),
    ],
)
async def test_what_is_chosen(accepted: str | None, encodings: list[str] | None, coding: str | None) -> None:
    options = {"encodings": encodings} if encodings else True
    response = await answered(ask(accepted), respond(BODY, "200 OK", JSON), options)
    assert response.fields.get("content-encoding") == coding
    assert (DECODERS[coding](response.body) if coding else response.body) == BODY
    assert vary(response) == ["accept-encoding"]


async def test_two_fields_of_the_client_are_one_list() -> None:
    response = await answered(ask("gzip;q=0.1", "Accept-Encoding: br"), respond(BODY, "200 OK", JSON))
    assert response.fields.get("content-encoding") == "br"


@pytest.mark.parametrize(
    ("fields", "status", "varies"),
    [
        (["Content-Type: image/png"], "200 OK", False), ([], "200 OK", False),
        (["Content-Type: text/event-stream"], "200 OK", False),
        (["Content-Type: text/event-stream; charset=utf-8"], "200 OK", False),
        ([JSON, "Content-Encoding: gzip"], "200 OK", False), ([JSON, "Content-Encoding: br, gzip"], "200 OK", False),
        ([JSON, "Cache-Control: public, No-Transform"], "200 OK", False),
        ([JSON, "Content-Range: bytes 0-1/9"], "206 Partial Content", False),
        ([JSON, "Content-Range: bytes 0-1/9"], "200 OK", False), ([JSON], "206 Partial Content", False),
    ],
)
async def test_what_is_never_compressed(fields: list[str], status: str, varies: bool) -> None:
    for accepted in ("gzip", "identity;q=0, gzip"):
        response = await answered(ask(accepted), respond(BODY, status, 'ETag: "x"', "Accept-Ranges: bytes", *fields))
        assert response.body == BODY
        assert response.fields.get("content-length") == str(len(BODY))
        assert response.fields.get("etag") == '"x"'
        assert response.fields.get("accept-ranges") == "bytes"
        assert vary(response) == []
        encodings = [field.partition(": ")[2] for field in fields if field.startswith("Content-Encoding")]
        assert response.fields.get_all("content-encoding") == encodings


async def test_a_body_in_identity_is_in_no_coding() -> None:
    response = await answered(ask(), respond(BODY, "200 OK", JSON, "Content-Encoding: identity"))
    assert response.fields.get_all("content-encoding") == ["gzip"]
    assert gzip.decompress(response.body) == BODY


@pytest.mark.parametrize(
    ("types", "kind", "coded"),
    [
        (["text/*"], "text/html; charset=utf-8", True), (["text/*"], "TEXT/HTML", True),
        (["text/*"], "textual/x", False),
        (["application/json"], "application/json-seq", False), (["application/*+json"], "application/vnd.a+json", True),
        (["application/*+json"], "application/+json", True), (["application/*+json"], "application/json", False),
        (["Application/JSON"], "application/json;q=1", True), (["text/*"], "text/event-stream", False),
        (["text/event-stream"], "text/event-stream", False),
    ],
)
async def test_listed_types(types: list[str], kind: str, coded: bool) -> None:
    response = await answered(ask(), respond(BODY, "200 OK", f"Content-Type: {kind}"), {"types": types})
    assert response.fields.get("content-encoding") == ("gzip" if coded else None)


@pytest.mark.parametrize(("size", "coded"), [(0, False), (1, False), (1023, False), (1024, True)])
async def test_small_bodies_stay_as_they_are(size: int, coded: bool) -> None:
    body = b"a" * size
    response = await answered(ask(), respond(body, "200 OK", JSON))
    assert (gzip.decompress(response.body) if coded else response.body) == body
    assert response.fields.get("content-encoding") == ("gzip" if coded else None)
    assert vary(response) == ["accept-encoding"]
    # Of unknown length, but there at once.
    response = await answered(ask(), chunked(*([body] if body else [])) + b"0\r\n\r\n")
    assert response.fields.get("content-encoding") == ("gzip" if coded else None)
    assert (gzip.decompress(response.body) if coded else response.body) == body
    assert vary(response) == ["accept-encoding"]


async def test_a_client_that_refuses_plain_bodies_gets_small_ones_compressed_too() -> None:
    response = await answered(ask("gzip, identity;q=0"), respond(b"{}", "200 OK", JSON))
    assert gzip.decompress(response.body) == b"{}"
    # A cache must not give it what another client got.
    plain = await answered(ask("gzip"), respond(b"{}", "200 OK", JSON))
    assert plain.body == b"{}"
    assert vary(plain) == vary(response) == ["accept-encoding"]
    response = await answered(ask("deflate, identity;q=0"), respond(BODY, "200 OK", JSON))
    assert response.body == BODY


# -- the head

async def test_fields_that_speak_of_the_bytes_go() -> None:
    fields = [
        'ETag: "abc"', "Accept-Ranges: bytes", "Content-MD5: x", "Digest: x", "Content-Digest: x", "Repr-Digest: x",
        "Last-Modified: Tue, 15 Nov 1994 12:45:26 GMT", "Vary: Origin", "Vary: X-A, x-b",
    ]
    response = await answered(ask(), respond(BODY, "200 OK", JSON, *fields))
    assert response.fields.get_all("etag") == ['W/"abc"']
    assert response.fields.get_all("vary") == ["Origin, X-A, x-b, Accept-Encoding"]
    assert response.fields.get("last-modified") is not None
    for name in ("accept-ranges", "content-md5", "digest", "content-digest", "repr-digest"):
        assert response.fields.get(name) is None
    # For a client that takes no coding all stay as they are, but for Vary.
    response = await answered(ask("identity"), respond(BODY, "200 OK", JSON, *fields))
    assert response.fields.get("etag") == '"abc"'
    assert response.fields.get("repr-digest") == "x"
    assert response.fields.get_all("vary") == ["Origin, X-A, x-b, Accept-Encoding"]


@pytest.mark.parametrize(
    ("tag", "sent"), [('W/"a"', ['W/"a"']), ('""', ['W/""']), ("bare", []), ('"a-gzip"', ['W/"a-gzip"'])]
)
async def test_entity_tags(tag: str, sent: list[str]) -> None:
    response = await answered(ask(), respond(BODY, "200 OK", JSON, f"ETag: {tag}"))
    assert response.fields.get_all("etag") == sent


@pytest.mark.parametrize("value", ["*", "Accept-Encoding", "origin, ACCEPT-ENCODING"])
async def test_vary_is_said_once(value: str) -> None:
    response = await answered(ask(), respond(BODY, "200 OK", JSON, f"Vary: {value}"))
    assert response.fields.get_all("vary") == [value]


async def test_the_weakened_tag_reaches_the_upstream_as_the_client_sent_it() -> None:
    not_modified = b'HTTP/1.1 304 Not Modified\r\nETag: "abc"\r\nContent-Length: 9999\r\nVary: Origin\r\n\r\n'
    async with stand() as (upstream, client):
        upstream.script(not_modified, not_modified, respond(b"next"))
        response = await client.request(ask("gzip", 'If-None-Match: W/"abc"'))
        assert upstream.requests[0].fields.get("if-none-match") == 'W/"abc"'
        assert (response.status, response.fields.get("etag"), response.body) == (304, 'W/"abc"', b"")
        assert response.fields.get("content-length") is None
        assert response.fields.get("content-encoding") is None
        assert vary(response) == ["origin", "accept-encoding"]
        # A client that got the body as it is has the tag as it was.
        response = await client.request(ask("identity", 'If-None-Match: "abc"'))
        assert (response.status, response.fields.get("etag")) == (304, '"abc"')
        assert response.fields.get("content-length") == "9999"
        assert (await client.request(ask(None))).body == b"next"


async def test_a_head_request_gets_the_fields_of_a_get() -> None:
    head = f"HTTP/1.1 200 OK\r\n{JSON}\r\nETag: \"a\"\r\nContent-Length: %d\r\n\r\n"
    async with stand() as (upstream, client):
        for accepted, size, coding, length in (
            ("gzip", 5000, "gzip", None), ("identity", 5000, None, "5000"), ("gzip", 100, None, "100"),
        ):
            upstream.script((head % size).encode())
            response = await client.request(ask(accepted, method="HEAD"))
            assert (response.status, response.body) == (200, b"")
            assert response.fields.get("content-encoding") == coding
            assert response.fields.get("content-length") == length
            assert response.fields.get("transfer-encoding") is None
            assert response.fields.get("etag") == ('W/"a"' if coding else '"a"')
            assert vary(response) == ["accept-encoding"]


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
async def test_answers_without_a_body(status: str) -> None:
    response = await answered(ask(), f"HTTP/1.1 {status}\r\n{JSON}\r\n\r\n".encode())
    assert (response.status, response.body) == (int(status[:3]), b"")
    assert response.fields.get("content-encoding") is None
    assert response.fields.get("transfer-encoding") is None


async def test_errors_of_the_upstream_are_compressed_and_those_of_the_gateway_are_not() -> None:
    response = await answered(ask(), respond(BODY, "500 Internal Server Error", JSON))
    assert response.status == 500
    assert gzip.decompress(response.body) == BODY
    config = {"min_size": 0}
    async with gateway_to(1, route={"compression": config}) as gateway, RawClient(gateway.port) as client:
        response = await client.request(ask())
        assert response.status == 502
        assert response.fields.get("content-encoding") is None
        assert json.loads(response.body)["status"] == 502


async def test_answers_of_the_route() -> None:
    config = {
        "gateway": {"host": "127.0.0.1", "port": 0, "access_log": {"path": ""}},
        "routes": [{"name": "r", "path": "/*", "respond": {"body": "abc" * 1000}, "compression": True}],
    }
    async with start_gateway(config) as gateway, RawClient(gateway.port) as client:
        for _ in range(2):
            response = await client.request(ask("br"))
            assert brotli.decompress(response.body) == b"abc" * 1000
            assert response.fields.get("content-length") == str(len(response.body))
            assert vary(response) == ["accept-encoding"]
        response = await client.request(ask(None))
        assert response.body == b"abc" * 1000
        response = await client.request(ask("br", method="HEAD"))
        assert (response.fields.get("content-encoding"), response.fields.get("content-length")) == ("br", None)


async def test_no_route_but_the_one_that_asks_for_it_compresses() -> None:
    response = await answered(ask(), respond(BODY, "200 OK", JSON), False)
    assert response.body == BODY
    assert response.fields.get("vary") is None


# -- streams

@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
async def test_chunked_pieces_are_not_held_back(coding: str) -> None:
    decoder: Any = {
        "gzip": lambda: zlib.decompressobj(31).decompress, "br": lambda: brotli.Decompressor().process,
        "zstd": lambda: zstandard.ZstdDecompressor().decompressobj().decompress,
    }[coding]()
    events = [asyncio.Event() for _ in range(3)]
    steps: list[Any] = [chunked()]
    for number, event in enumerate(events):
        steps += [b"8\r\nline %02d\n\r\n" % number, wait_for(event)]
    async with stand() as (upstream, client):
        upstream.script(Answer(*steps, b"0\r\n\r\n"))
        await client.send(ask(coding))
        response = await client.head()
        assert response.fields.get("content-encoding") == coding
        assert response.fields.get("transfer-encoding") == "chunked"
        seen = b""
        taken = 0
        for number, event in enumerate(events):
            # The upstream says nothing more until this line was read here.
            while not seen.endswith(b"line %02d\n" % number):
                await client.body(response, limit=taken + 1)
                seen += decoder(response.body[taken:])
                taken = response.body_length
            event.set()
        await client.body(response)
        seen += decoder(response.body[taken:])
        assert seen == b"line 00\nline 01\nline 02\n"
        assert (await client.request(ask(None))).body == b"ok"


async def test_events_are_sent_one_by_one_as_they_are() -> None:
    stream = EventStream()
    async with stand() as (upstream, client):
        upstream.script(Answer(stream))
        await client.send(ask())
        response = await client.head()
        assert response.fields.get("content-encoding") is None
        for number in range(1, 4):
            await stream.send(b"data: %d\n\n" % number)
            await client.body(response, limit=9 * number)
            assert response.body == b"".join(b"data: %d\n\n" % n for n in range(1, number + 1))
        await stream.end()
        await client.body(response)


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
async def test_a_large_body_of_known_length(coding: str) -> None:
    body = bytes(random.Random(7).choices(b"abcdefgh \n", k=1_500_000))
    response = await answered(ask(coding), respond(body, "200 OK", "Content-Type: text/plain"))
    assert response.fields.get("transfer-encoding") == "chunked"
    assert response.fields.get("content-length") is None
    assert DECODERS[coding](response.body) == body


async def test_a_body_until_close_and_an_old_client() -> None:
    until_close = f"HTTP/1.1 200 OK\r\n{JSON}\r\nConnection: close\r\n\r\n".encode()
    keeping = ask("gzip", "Connection: keep-alive", version="1.0")
    for request, chunks in ((ask(), "chunked"), (ask(version="1.0"), None), (keeping, None)):
        async with stand() as (upstream, client):
            upstream.script(Answer(until_close + BODY[:100], BODY[100:], close()))
            response = await client.request(request)
            assert response.fields.get("transfer-encoding") == chunks
            assert gzip.decompress(response.body) == BODY
            if chunks is None:
                assert response.fields.get("connection") == "close"


async def test_an_old_client_keeps_its_connection_where_the_length_is_known() -> None:
    async with stand() as (upstream, client):
        for _ in range(2):
            upstream.script(respond(BODY, "200 OK", JSON))
            response = await client.request(ask("gzip", "Connection: keep-alive", version="1.0"))
            assert gzip.decompress(response.body) == BODY
            assert response.fields.get("content-length") == str(len(response.body))


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with stand() as (upstream, client):
        bodies = [b"%d" % n * 3000 for n in range(6)]
        upstream.script(*(respond(body, "200 OK", JSON) for body in bodies))
        await client.send(b"".join(ask(coding) for coding in ("gzip", "identity", "br", "zstd", "gzip", "br")))
        for body, coding in zip(bodies, ("gzip", None, "br", "zstd", "gzip", "br"), strict=True):
            response = await client.response()
            assert response.fields.get("content-encoding") == coding
            assert (DECODERS[coding](response.body) if coding else response.body) == body


@pytest.mark.parametrize("cut", ["chunked", "length"])
async def test_an_upstream_that_is_cut_leaves_the_body_unterminated(cut: str) -> None:
    async with stand() as (upstream, client):
        whole = respond(BODY, "200 OK", JSON)
        upstream.script(Answer(whole[:-100] if cut == "length" else chunked(BODY), close()))
        with pytest.raises(CutShort):
            await client.request(ask())
        assert not client.reader.received.endswith(b"0\r\n\r\n")


async def test_a_client_that_leaves_in_the_middle() -> None:
    async with RecordingUpstream() as upstream:
        async with gateway_to(upstream.port, route={"compression": True}) as gateway:
            upstream.script(Answer(chunked(BODY), stall()))
            async with RawClient(gateway.port) as client:
                await client.send(ask())
                response = await client.head()
                await client.body(response, limit=1)
            await (await upstream.connection()).wait_ended()
            assert gateway.metrics()["client_gone"] == 1
            async with RawClient(gateway.port) as client:
                assert (await client.request(ask(None))).body == b"ok"


async def test_a_client_that_leaves_while_a_large_piece_is_worked_on() -> None:
    config = {
        "gateway": {"host": "127.0.0.1", "port": 0, "access_log": {"path": ""}},
        "routes": [
            {"name": "r", "path": "/", "respond": {"body": "abc" * 1_000_000}, "compression": True},
            {"name": "s", "path": "/small", "respond": {"body": "small"}},
        ],
    }
    async with start_gateway(config) as gateway:
        for _ in range(3):
            async with RawClient(gateway.port) as client:
                await client.send(ask())
                await client.head()
                client.reset()
        async with RawClient(gateway.port) as client:
            # Others get their turns between the slices.
            await client.send(ask())
            async with RawClient(gateway.port) as other:
                response = await other.request(b"GET /small HTTP/1.1\r\nHost: h\r\n\r\n")
                assert response.body == b"small"
            assert gzip.decompress((await client.response()).body) == b"abc" * 1_000_000
            assert (await client.request(b"GET /small HTTP/1.1\r\nHost: h\r\n\r\n")).body == b"small"


async def test_a_client_that_does_not_read_stops_the_upstream() -> None:
    piece = random.Random(3).randbytes(131_072)
    count = 0

    async def endless(exchange: Any) -> None:
        nonlocal count
        while True:
            await exchange.send(b"%x\r\n%b\r\n" % (len(piece), piece))
            count += 1

    async with RecordingUpstream() as upstream:
        async with gateway_to(upstream.port, route={"compression": True}) as gateway:
            upstream.script(Answer(chunked(kind="text/plain"), endless))
            async with RawClient(gateway.port, receive_buffer=65536, keep=False) as client:
                await client.send(ask())
                response = await client.head()
                before = -1
                while before != count:
                    before = count
                    await asyncio.sleep(0.2)
                # What the kernel holds on both sides, and one or two pieces here.
                assert count < 16_000_000 // len(piece)
                await client.body(response, limit=(count + 20) * len(piece))
                assert count > before


async def test_an_answer_after_a_retry_is_compressed_once() -> None:
    retry = {"attempts": 2, "on": ["503"], "backoff": "1ms"}
    for second in (respond(BODY, "200 OK", JSON), respond(BODY, "503 Service Unavailable", JSON)):
        async with stand(retry=retry) as (upstream, client):
            upstream.script(respond(BODY, "503 Service Unavailable", JSON), second)
            response = await client.request(ask())
            assert len(upstream.requests) == 2
            assert gzip.decompress(response.body) == BODY


# -- configuration

async def test_libraries_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression, "installed_codings", lambda: ("gzip",))
    route = {"name": "r", "path": "/*", "upstream": "u"}
    rest = {"upstreams": {"u": {"targets": ["a:1"]}}}
    said = r"encodings\[0\]: \"br\" needs the package brotli: pip install 'fastgate\[compression\]'"
    with pytest.raises(ConfigError, match=said):
        GatewayConfig.from_dict({"routes": [{**route, "compression": {"encodings": ["br", "gzip"]}}], **rest})
    config = GatewayConfig.from_dict({"routes": [{**route, "compression": True}], **rest})
    assert config.routes[0].compression is not None
    assert config.routes[0].compression.codings() == ("gzip",)


def test_true_is_the_defaults_and_false_switches_them_off() -> None:
    config = GatewayConfig.from_dict({
        "defaults": {"compression": True, "envelope": True},
        "routes": [
            {"name": "a", "path": "/a", "upstream": "u"},
            {"name": "b", "path": "/b", "upstream": "u", "compression": False, "envelope": False},
            {"name": "c", "path": "/c", "upstream": "u", "compression": {"min_size": "2KB"}},
        ],
        "upstreams": {"u": {"targets": ["a:1"]}},
    })
    assert [each.compression for each in config.routes] == [
        compression.Compression(), None, compression.Compression(min_size=2048),
    ]
    assert [each.envelope for each in config.routes] == [Envelope(), None, Envelope()]


async def test_levels() -> None:
    sizes = {}
    for level in (1, 9):
        response = await answered(ask(), respond(BODY, "200 OK", JSON), {"level": {"gzip": level}})
        assert gzip.decompress(response.body) == BODY
        sizes[level] = len(response.body)
    assert sizes[9] < sizes[1]
