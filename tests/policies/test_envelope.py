"""The envelope through a gateway: what is wrapped, what is not, and that nothing broken looks whole."""

import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from fastgate.config import ConfigError, GatewayConfig
from fastgate.testing import (
    Answer,
    EventStream,
    RawClient,
    RecordingUpstream,
    close,
    gateway_to,
    pieces,
    respond,
    start_gateway,
)
from fastgate.testing.http_messages import RecordedResponse

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
JSON = "Content-Type: application/json"


def chunked(body: bytes, size: int = 3) -> bytes:
    parts = [body[at:at + size] for at in range(0, len(body), size)]
    return f"HTTP/1.1 200 OK\r\n{JSON}\r\nTransfer-Encoding: chunked\r\n\r\n".encode() + b"".join(
        b"%x\r\n%b\r\n" % (len(part), part) for part in parts
    )


@asynccontextmanager
async def stand(envelope: Any = True, **route: Any) -> AsyncIterator[tuple[RecordingUpstream, RawClient]]:
    async with RecordingUpstream() as upstream:
        route["envelope"] = envelope
        async with gateway_to(upstream.port, route=route) as gateway, RawClient(gateway.port) as client:
            yield upstream, client


async def answered(answer: bytes, envelope: Any = True, request: bytes = GET, **route: Any) -> RecordedResponse:
    async with stand(envelope, **route) as (upstream, client):
        upstream.script(answer)
        response = await client.request(request)
        # The connection is still good for another one.
        upstream.script(respond(b"next"))
        assert (await client.request(GET)).body == b"next"
        return response


# -- what is wrapped

@pytest.mark.parametrize(
    "body",
    [
        b'{"a": 1}', b"[]", b"null", b'"text \xc3\xa4"', b" 7 \r\n", b'{"data": {"data": 1}}',
        b"[" + b"1," * 50_000 + b"1]",
    ],
)
async def test_a_json_body_is_wrapped_byte_for_byte(body: bytes) -> None:
    for answer in (respond(body, "200 OK", JSON), chunked(body, 1000) + b"0\r\n\r\n"):
        response = await answered(answer)
        head, tail = b'{"data":' + body + b',"meta":{"request_id":"', b'","status":200}}'
        assert response.body.startswith(head)
        assert response.body.endswith(tail)
        made = json.loads(response.body)
        assert made["data"] == json.loads(body)
        assert made["meta"] == {"request_id": response.fields.get("x-request-id"), "status": 200}
        assert response.fields.get_all("content-length") == [str(len(response.body))]
        assert response.fields.get("transfer-encoding") is None
        assert response.fields.get("content-type") == "application/json"


@pytest.mark.parametrize(
    ("options", "made"),
    [
        ({"data": "result", "meta": "about"}, {"result": 1, "about": {"status": 201}}),
        ({"meta": ""}, {"data": 1}), ({"data": 'a"b\\', "meta": "ä"}, {'a"b\\': 1, "ä": {"status": 201}}),
    ],
)
async def test_its_keys(options: dict[str, Any], made: dict[str, Any]) -> None:
    async with RecordingUpstream(default=respond(b"1", "201 Created", JSON)) as upstream:
        async with gateway_to(upstream.port, gateway={"request_id": ""}, route={"envelope": options}) as gateway:
            async with RawClient(gateway.port) as client:
                assert json.loads((await client.request(GET)).body) == made


@pytest.mark.parametrize(
    ("kind", "sent"),
    [
        ("application/json; charset=utf-8", "application/json; charset=utf-8"),
        ("Application/JSON", "Application/JSON"),
        ("application/vnd.api+json", "application/json"), ("application/problem+json", None), ("text/json", None),
        ("application/json-seq", None), ("application/x-ndjson", None), ("text/plain", None),
    ],
)
async def test_which_types_are_wrapped(kind: str, sent: str | None) -> None:
    response = await answered(respond(b"{}", "200 OK", f"Content-Type: {kind}"))
    assert response.fields.get("content-type") == (sent or kind)
    assert (b'"data"' in response.body) == (sent is not None)


async def test_errors_of_the_upstream_are_wrapped_and_those_of_the_gateway_are_not() -> None:
    response = await answered(respond(b'{"why": "no"}', "404 Not Found", JSON))
    assert response.status == 404
    made = json.loads(response.body)
    assert (made["data"], made["meta"]["status"]) == ({"why": "no"}, 404)
    async with gateway_to(1, route={"envelope": True}) as gateway, RawClient(gateway.port) as client:
        response = await client.request(GET)
        assert json.loads(response.body)["status"] == 502
        assert response.fields.get("content-type") == "application/problem+json"


async def test_answers_of_the_route_are_wrapped() -> None:
    respond_with = {"body": "[1]", "headers": {"content-type": "application/json"}}
    config = {
        "gateway": {"host": "127.0.0.1", "port": 0, "access_log": {"path": ""}},
        "routes": [{"name": "r", "path": "/*", "respond": respond_with, "envelope": {"meta": ""}}],
    }
    async with start_gateway(config) as gateway, RawClient(gateway.port) as client:
        for _ in range(2):
            assert (await client.request(GET)).body == b'{"data":[1]}'


async def test_the_upstream_is_asked_for_bodies_in_no_coding() -> None:
    edits = {"set": {"Accept-Encoding": "br"}}
    for route in ({}, {"request_headers": edits}, {"request_headers": {"add": edits["set"]}}):
        async with stand(**route) as (upstream, client):
            await client.request(b"GET / HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip\r\n\r\n")
            assert upstream.requests[0].fields.get_all("accept-encoding") == ["identity"]


async def test_the_client_gets_the_envelope_compressed() -> None:
    body = json.dumps(["text"] * 1000).encode()
    request = b"GET / HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip\r\n\r\n"
    for answer in (respond(body, "200 OK", JSON), chunked(body, 100) + b"0\r\n\r\n"):
        response = await answered(answer, request=request, compression=True)
        assert json.loads(gzip.decompress(response.body))["data"] == json.loads(body)
        assert response.fields.get("content-length") == str(len(response.body))
        assert response.fields.get("content-encoding") == "gzip"
    # Its size is that of the whole.
    small = respond(b'"' + b"a" * 1000 + b'"', "200 OK", JSON)
    assert (await answered(small, request=request, compression=True)).fields.get("content-encoding") == "gzip"
    assert (await answered(small, {"meta": ""}, request, compression={"min_size": "2KB"})).body.startswith(b'{"data"')


async def test_fields_of_the_old_body_go() -> None:
    fields = ['ETag: "a"', "Content-MD5: x", "Repr-Digest: x", "Accept-Ranges: bytes", "X-Other: y"]
    response = await answered(respond(b"1", "200 OK", JSON, *fields))
    assert response.fields.get("etag") == 'W/"a"'
    assert response.fields.get("x-other") == "y"
    for name in ("content-md5", "repr-digest", "accept-ranges"):
        assert response.fields.get(name) is None


# -- what is not

BROKEN = [
    b"", b"{", b'{"a": 1}}', b'{"a": 1}, "meta": {}', b"[1,]", b"nul", b"01", b"{'a': 1}", b'"\xff"', b"NaN", b"1 2",
    b"\xef\xbb\xbf{}", b"[" * 20_000 + b"]" * 20_000,
]


@pytest.mark.parametrize("body", BROKEN, ids=range(len(BROKEN)))
async def test_a_broken_body_goes_on_as_it_came(body: bytes) -> None:
    for answer in (respond(body, "200 OK", JSON, 'ETag: "a"'), chunked(body, 7000) + b"0\r\n\r\n"):
        response = await answered(answer)
        assert (response.status, response.body) == (200, body)
        if answer.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nETag"):
            assert response.fields.get("content-length") == str(len(body))
            assert response.fields.get("etag") == '"a"'


@pytest.mark.parametrize(
    ("status", "fields"),
    [
        ("206 Partial Content", ["Content-Range: bytes 0-1/9"]), ("200 OK", ["Content-Encoding: gzip"]),
        ("200 OK", ["Cache-Control: no-transform"]),
    ],
)
async def test_bodies_that_must_not_be_changed(status: str, fields: list[str]) -> None:
    response = await answered(respond(b"{}", status, JSON, 'ETag: "a"', *fields))
    assert response.body == b"{}"
    assert response.fields.get("content-length") == "2"
    assert response.fields.get("etag") == '"a"'


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
async def test_answers_without_a_body(status: str) -> None:
    response = await answered(f'HTTP/1.1 {status}\r\n{JSON}\r\nETag: "a"\r\n\r\n'.encode())
    assert (response.status, response.body, response.fields.get("etag")) == (int(status[:3]), b"", '"a"')
    assert response.fields.get("transfer-encoding") is None


async def test_a_head_request_is_not_told_a_wrong_length() -> None:
    async with stand() as (upstream, client):
        for kind, length in (("application/json", None), ("text/plain", "9")):
            fields = f'Content-Type: {kind}\r\nContent-Length: 9\r\nETag: "a"'
            upstream.script(f"HTTP/1.1 200 OK\r\n{fields}\r\n\r\n".encode())
            response = await client.request(b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n")
            assert (response.status, response.body, response.fields.get("content-length")) == (200, b"", length)
            assert response.fields.get("etag") == ('W/"a"' if length is None else '"a"')


async def test_events_pass_one_by_one() -> None:
    stream = EventStream()
    async with stand() as (upstream, client):
        upstream.script(Answer(stream))
        await client.send(GET)
        response = await client.head()
        for number in range(1, 4):
            await stream.send(b"data: %d\n\n" % number)
            await client.body(response, limit=9 * number)
            assert response.body_length == 9 * number
        await stream.end()
        await client.body(response)


# -- limits and failures

@pytest.mark.parametrize("size", [99, 100, 101])
async def test_a_body_above_the_limit_is_refused(size: int) -> None:
    body = b'"' + b"a" * (size - 2) + b'"'
    for answer in (respond(body, "200 OK", JSON), chunked(body, 30) + b"0\r\n\r\n"):
        async with stand({"max_size": 100}) as (upstream, client):
            upstream.script(answer)
            response = await client.request(GET)
            if size > 100:
                assert response.status == 502
                assert "too large" in json.loads(response.body)["detail"]
            else:
                assert json.loads(response.body)["data"] == json.loads(body)
            assert (await client.request(GET)).body == b"ok"


async def test_a_body_that_is_cut_is_no_answer() -> None:
    body = b"[" + b"1," * 100
    for answer in (Answer(chunked(body), close()), Answer(respond(body + b"1]", "200 OK", JSON)[:-5], close())):
        async with stand() as (upstream, client):
            upstream.script(answer)
            response = await client.request(GET)
            assert response.status == 502
            assert b'"data"' not in response.body
            assert response.fields.get("connection") == "close"


async def test_a_body_that_comes_byte_by_byte_for_an_old_client() -> None:
    until_close = f"HTTP/1.1 200 OK\r\n{JSON}\r\nConnection: close\r\n\r\n".encode()
    async with stand({"meta": ""}) as (upstream, client):
        upstream.script(Answer(until_close, pieces(b'{"a": [1, 2]}'), close()))
        response = await client.request(b"GET / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n")
        assert response.body == b'{"data":{"a": [1, 2]}}'
        # All of it was there before the head went out.
        assert response.fields.get("content-length") == str(len(response.body))
        assert (await client.request(GET)).body == b"ok"


async def test_pipelined_requests() -> None:
    async with stand({"meta": "", "max_size": 10}) as (upstream, client):
        upstream.script(
            respond(b"1", "200 OK", JSON), respond(b"[" + b"1," * 10 + b"1]", "200 OK", JSON), respond(b"plain"),
            chunked(b"[2,3]") + b"0\r\n\r\n",
        )
        await client.send(GET * 4)
        answers = [await client.response() for _ in range(4)]
        assert [each.status for each in answers] == [200, 502, 200, 200]
        assert [answers[n].body for n in (0, 2, 3)] == [b'{"data":1}', b"plain", b'{"data":[2,3]}']


async def test_an_answer_that_was_kept_is_wrapped() -> None:
    retry = {"attempts": 2, "on": ["503"], "backoff": "1ms"}
    async with stand({"meta": ""}, retry=retry) as (upstream, client):
        upstream.script(*[respond(b"[5]", "503 Service Unavailable", JSON)] * 2)
        response = await client.request(GET)
        assert (response.status, response.body) == (503, b'{"data":[5]}')
        assert len(upstream.requests) == 2


def test_bad_configuration() -> None:
    def problems(envelope: Any) -> str:
        with pytest.raises(ConfigError) as error:
            GatewayConfig.from_dict({
                "routes": [{"name": "r", "path": "/*", "upstream": "u", "envelope": envelope}],
                "upstreams": {"u": {"targets": ["a:1"]}},
            })
        return str(error.value)

    assert 'envelope.meta: "x" is already the key of the data' in problems({"data": "x", "meta": "x"})
    assert "envelope.data: must not be empty" in problems({"data": ""})
    assert "envelope.max_size: must be at least 1" in problems({"max_size": 0})
    assert "envelope: expected true, false or a table" in problems("data")
