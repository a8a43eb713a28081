"""Hooks of plugins for streaming bodies, through a gateway: each byte once, in order, never held back."""

import asyncio
import gzip
import hashlib
import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from policies import body_plugins
from policies.body_plugins import SEEN

from fastgate import Gateway, GatewayConfig
from fastgate.config import ConfigError
from fastgate.testing import (
    Answer,
    CutShort,
    EventStream,
    RawClient,
    RecordingUpstream,
    close,
    echo,
    proxy_config,
    read_body,
    reset,
    respond,
    stall,
    start_gateway,
    wait_for,
)

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def post(body: bytes, *fields: str, method: str = "POST") -> bytes:
    lines = [f"{method} / HTTP/1.1", "Host: h", f"Content-Length: {len(body)}", *fields, "", ""]
    return "\r\n".join(lines).encode() + body


def chunk(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece)


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    SEEN.clear()
    yield
    SEEN.clear()


def configured(port: int, *options: dict[str, Any], kind: str = "Streams", **route: Any) -> dict[str, Any]:
    names = "abc"[: len(options)]
    config = proxy_config(port, route={"policies": [{"use": name} for name in names], **route})
    config["plugins"] = [
        {"name": name, "use": f"policies.body_plugins:{kind}", "options": {"name": name, **each}}
        for name, each in zip(names, options, strict=True)
    ]
    return config


@asynccontextmanager
async def stand(
    *options: dict[str, Any], kind: str = "Streams", **route: Any
) -> AsyncIterator[tuple[RecordingUpstream, RawClient, Gateway]]:
    async with RecordingUpstream() as upstream:
        config = configured(upstream.port, *options, kind=kind, **route)
        async with start_gateway(config) as gateway, RawClient(gateway.port) as client:
            yield upstream, client, gateway


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


# -- requests

async def test_a_request_body_that_is_there_at_once() -> None:
    async with stand({"request": "upper"}) as (upstream, client, _):
        for method in ("POST", "PUT", "GET"):
            assert (await client.request(post(b"some text", method=method))).body == b"ok"
            request = upstream.requests[-1]
            assert request.body == b"SOME TEXT"
            assert request.fields.get_all("content-length") == ["9"]
            assert request.fields.get("transfer-encoding") is None
            assert [each for each in SEEN if each[0] == "a.request"] == [("a.request", b"some text", True)]
            SEEN.clear()


async def test_a_length_that_changes_is_told_as_it_is() -> None:
    async with stand({"request": "tag"}, {"request": "upper"}) as (upstream, client, _):
        for data in (post(b"abc"), CHUNKED + chunk(b"a") + chunk(b"bc") + b"0\r\n\r\n"):
            assert (await client.request(data)).body == b"ok"
            request = upstream.requests[-1]
            assert request.body == b"<A>ABC</A>"
            assert request.fields.get_all("content-length") == ["10"]
            assert request.fields.get("transfer-encoding") is None


async def test_pieces_pass_one_by_one() -> None:
    async with stand({"request": "upper"}) as (upstream, client, _):
        for head, wrap, end in (
            (CHUNKED, chunk, b"0\r\n\r\n"), (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n", bytes, b""),
        ):
            SEEN.clear()
            number = len(upstream.requests)
            reads = [read_body(size) for size in (3, 6, 9)]
            upstream.script(Answer(*reads, read_body(), respond(b"ok"), early=True))
            await client.send(head)
            for count in range(1, 4):
                await client.send(wrap(b"ab%d" % count))
                request = await upstream.request(number)
                await upstream.wait_for(lambda r=request, c=count: r.body_length == 3 * c)  # type: ignore[misc]
            await client.send(end)
            assert (await client.response("POST")).body == b"ok"
            assert request.body == b"AB1AB2AB3"
            assert request.fields.get("transfer-encoding") == "chunked"
            assert request.fields.get("content-length") is None
            mine = [each for each in SEEN if each[0] == "a.request"]
            assert b"".join(piece for _, piece, _ in mine) == b"ab1ab2ab3"
            assert [last for *_, last in mine] == [False] * (len(mine) - 1) + [True]


async def test_a_body_that_is_swallowed_but_for_its_end() -> None:
    async with stand({"request": "swallow"}) as (upstream, client, _):
        await client.send(CHUNKED + chunk(b"a"))
        request = await upstream.request()
        await client.send(chunk(b"b") + b"0\r\n\r\n")
        assert (await client.response("POST")).body == b"ok"
        assert request.body == b"end"


@pytest.mark.parametrize("request_", [GET, post(b"")], ids=["GET", "empty"])
async def test_a_request_without_a_body_is_left_alone(request_: bytes) -> None:
    async with stand({"request": "swallow"}) as (upstream, client, _):
        assert (await client.request(request_)).body == b"ok"
        assert upstream.requests[0].body == b""
        assert upstream.requests[0].fields.get("transfer-encoding") is None
        assert not any(name == "a.request" for name, *_ in SEEN)


async def test_a_chunked_request_that_is_empty_can_get_an_end() -> None:
    async with stand({"request": "swallow"}) as (upstream, client, _):
        assert (await client.request(CHUNKED + b"0\r\n\r\n")).body == b"ok"
        assert upstream.requests[0].body == b"end"
        assert [each for each in SEEN if each[0] == "a.request"] == [("a.request", b"", True)]


async def test_a_large_body_passes_whole_and_with_back_pressure() -> None:
    body = bytes(97 + n % 26 for n in range(3_000_000))
    async with stand({"request": "upper"}) as (upstream, client, _):
        await client.send(post(body))
        assert (await client.response("POST")).body == b"ok"
        assert hashlib.sha256(upstream.requests[0].body).digest() == hashlib.sha256(body.upper()).digest()


async def test_a_policy_that_reads_the_body_sees_what_the_client_sent() -> None:
    async with RecordingUpstream() as upstream:
        config = configured(upstream.port, {"request": "tag"})
        config["plugins"].append({"name": "r", "use": "policies.body_plugins:Reads"})
        config["routes"][0]["policies"].append({"use": "r"})
        async with start_gateway(config) as gateway, RawClient(gateway.port) as client:
            await client.send(CHUNKED + chunk(b"abc"))
            await client.send(chunk(b"def") + b"0\r\n\r\n")
            assert (await client.response("POST")).body == b"ok"
            assert upstream.requests[0].body == b"<a>abcdef</a>"
            assert upstream.requests[0].fields.get("content-length") == "13"
            assert SEEN[:2] == [("whole", b"abcdef", True), ("a.request", b"abcdef", True)]


async def test_the_limit_holds_for_what_the_client_sends() -> None:
    async with stand({"request": "tag"}, max_body="10B") as (upstream, client, _):
        assert (await client.request(post(b"a" * 10))).body == b"ok"
        assert upstream.requests[0].body == b"<a>" + b"a" * 10 + b"</a>"
        assert (await client.request(post(b"a" * 11))).status == 413


async def test_what_was_made_is_sent_again_and_made_once() -> None:
    retry = {"attempts": 3, "on": ["reset", "503"], "backoff": "1ms"}
    async with stand({"request": "tag"}, retry=retry) as (upstream, client, _):
        upstream.script(Answer(reset()), respond(b"", "503 Service Unavailable"), respond(b"done"))
        response = await client.request(post(b"abc", method="PUT"))
        assert (response.status, response.body) == (200, b"done")
        assert [each.body for each in upstream.requests] == [b"<a>abc</a>"] * 3
        assert len([each for each in SEEN if each[0] == "a.request"]) == 1


async def test_a_hedge_gets_what_was_made() -> None:
    async with RecordingUpstream(default=Answer(stall())) as slow, RecordingUpstream(default=Answer(stall())) as other:
        config = configured(slow.port, {"request": "tag"}, retry={"attempts": 2, "hedge": {"delay": "20ms"}})
        config["upstreams"]["backend"]["targets"].append({"host": "127.0.0.1", "port": other.port})
        async with start_gateway(config) as gateway, RawClient(gateway.port) as client:
            await client.send(post(b"abc", method="PUT"))
            for each in (slow, other):
                assert (await each.complete_request()).body == b"<a>abc</a>"
            assert len([each for each in SEEN if each[0] == "a.request"]) == 1


async def test_a_mirror_gets_what_was_made() -> None:
    async with RecordingUpstream() as shadow, RecordingUpstream() as upstream:
        config = configured(upstream.port, {"request": "upper"}, mirror={"upstream": "shadow"})
        config["upstreams"]["shadow"] = {"targets": [{"host": "127.0.0.1", "port": shadow.port}]}
        async with start_gateway(config) as gateway, RawClient(gateway.port) as client:
            await client.send(CHUNKED + chunk(b"abc"))
            await upstream.request()
            await client.send(chunk(b"def") + b"0\r\n\r\n")
            assert (await client.response("POST")).body == b"ok"
            assert (await client.request(post(b"xyz"))).body == b"ok"
            for number, body in enumerate((b"ABCDEF", b"XYZ")):
                assert (await shadow.complete_request(number)).body == body
                assert upstream.requests[number].body == body
            assert len([each for each in SEEN if each[0] == "a.request" and each[2]]) == 2


# -- responses

async def test_a_response_that_is_there_at_once() -> None:
    async with stand({"response": "tag"}) as (upstream, client, _):
        for _ in range(2):
            upstream.script(respond(b"abc", "200 OK", 'ETag: "a"'))
            response = await client.request(GET)
            assert response.body == b"<a>abc</a>"
            assert response.fields.get_all("content-length") == ["10"]
            # What the bytes are is the policy's to know: its `on_response` edits the other fields.
            assert response.fields.get("etag") == '"a"'
        assert SEEN == [("a.response", b"abc", True)] * 2


async def test_hooks_are_called_in_reverse_order_for_responses() -> None:
    async with stand(*[{"request": "tag", "response": "tag"}] * 3) as (upstream, client, _):
        upstream.script(Answer(echo))
        response = await client.request(post(b"x"))
        inside = b"<c><b><a>x</a></b></c>"
        assert upstream.requests[0].body == inside
        assert response.body == b"<a><b><c>" + inside + b"</c></b></a>"


async def test_pieces_of_a_response_pass_one_by_one() -> None:
    events = [asyncio.Event() for _ in range(3)]
    steps: list[Any] = [STREAM]
    for number, event in enumerate(events):
        steps += [chunk(b"ab%d" % number), wait_for(event)]
    async with stand({"response": "upper"}) as (upstream, client, _):
        upstream.script(Answer(*steps, b"0\r\n\r\n"))
        await client.send(GET)
        response = await client.head()
        assert response.fields.get("transfer-encoding") == "chunked"
        for number, event in enumerate(events, 1):
            await client.body(response, limit=3 * number)
            assert response.body == b"AB0AB1AB2"[:3 * number]
            event.set()
        await client.body(response)
        assert SEEN[-1] == ("a.response", b"", True)
        assert (await client.request(GET)).body == b"OK"


async def test_events_pass_one_by_one() -> None:
    stream = EventStream()
    async with stand({"response": "upper"}) as (upstream, client, _):
        upstream.script(Answer(stream))
        await client.send(GET)
        response = await client.head()
        for number in range(1, 4):
            await stream.send(b"data: %d\n\n" % number)
            await client.body(response, limit=9 * number)
            assert response.body == b"".join(b"DATA: %d\n\n" % n for n in range(1, number + 1))
        await stream.end()
        await client.body(response)


async def test_the_head_goes_out_though_the_pieces_are_swallowed() -> None:
    event = asyncio.Event()
    async with stand({"response": "swallow"}) as (upstream, client, _):
        upstream.script(Answer(STREAM + chunk(b"abc"), wait_for(event), chunk(b"def") + b"0\r\n\r\n"))
        await client.send(GET)
        response = await client.head()
        assert response.status == 200
        event.set()
        await client.body(response)
        assert response.body == b"end"


@pytest.mark.parametrize("answer", ["204 No Content", "304 Not Modified", "HEAD"])
async def test_answers_without_a_body(answer: str) -> None:
    async with stand({"response": "swallow"}) as (upstream, client, _):
        method = "HEAD" if answer == "HEAD" else "GET"
        status = "200 OK" if answer == "HEAD" else answer
        length = "" if status.startswith("204") else "Content-Length: 7\r\n"
        upstream.script(f"HTTP/1.1 {status}\r\n{length}\r\n".encode())
        response = await client.request(f"{method} / HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        assert (response.status, response.body) == (int(status[:3]), b"")
        # The length of what a GET would give is not known.
        assert response.fields.get("content-length") == ("7" if status.startswith("304") else None)
        assert response.fields.get("transfer-encoding") is None
        assert SEEN == []
        assert (await client.request(GET)).body == b"end"


async def test_a_part_is_given_to_the_hook_as_it_is() -> None:
    async with stand({"response": "upper"}) as (upstream, client, _):
        upstream.script(respond(b"abc", "206 Partial Content", "Content-Range: bytes 0-2/9"))
        response = await client.request(GET)
        assert (response.status, response.body, response.fields.get("content-range")) == (206, b"ABC", "bytes 0-2/9")


async def test_an_old_client_and_a_body_until_close() -> None:
    async with stand({"response": "tag"}) as (upstream, client, _):
        upstream.script(Answer(b"HTTP/1.1 200 OK\r\n\r\nabc", close()))
        response = await client.request(b"GET / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n")
        assert response.body.replace(b"<a>", b"") == b"abc</a>"
        assert response.fields.get("transfer-encoding") is None
        assert response.fields.get("connection") == "close"


async def test_heads_are_edited_before_bodies_pass() -> None:
    async with stand({}, kind="Marks") as (upstream, client, _):
        upstream.script(respond(b"abc "), respond(b"abc", "200 OK", "X-Replace: 1"), respond(b"def "))
        response = await client.request(GET)
        assert (response.fields.get("x-marked"), response.body) == ("yes", b"abc yes")
        response = await client.request(GET)
        assert (response.status, response.body) == (203, b"replacedpolicy")
        assert response.fields.get("content-length") == "14"
        assert (await client.request(GET)).body == b"def yes"


async def test_answers_of_the_route_and_errors_of_the_gateway() -> None:
    config = configured(1, {"response": "upper"})
    config["routes"].insert(0, {
        "name": "fixed", "path": "/", "methods": ["POST"], "respond": {"body": "fixed"}, "policies": [{"use": "a"}],
    })
    async with start_gateway(config) as gateway, RawClient(gateway.port) as client:
        for _ in range(2):
            response = await client.request(post(b""))
            assert (response.body, response.fields.get("content-length")) == (b"FIXED", "5")
        response = await client.request(GET)
        assert (response.status, json.loads(response.body)["status"]) == (502, 502)


async def test_envelope_and_compression_come_behind() -> None:
    request = b"GET / HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip\r\n\r\n"
    compression = {"min_size": 1}
    kind = "Content-Type: application/json"
    async with stand({"response": "upper"}, envelope={"meta": ""}, compression=compression) as (upstream, client, _):
        for answer in (
            respond(b'["a"]', "200 OK", kind), Answer(STREAM[:-2] + kind.encode() + b"\r\n\r\n" + chunk(b'["a'),
                                                     chunk(b'"]') + b"0\r\n\r\n"),
        ):
            upstream.script(answer)
            response = await client.request(request)
            assert gzip.decompress(response.body) == b'{"data":["A"]}'
            assert response.fields.get("content-length") == str(len(response.body))


# -- failures

@pytest.mark.parametrize("doing", ["raise", "await", "number"])
@pytest.mark.parametrize("side", ["request", "response"])
async def test_a_hook_that_fails_before_anything_was_sent(
    side: str, doing: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with stand({side: doing}) as (_, client, gateway):
        for count in range(1, 3):
            response = await client.request(post(b"abc"))
            assert response.status == 500
            assert json.loads(response.body)["status"] == 500
            assert response.fields.get_all("content-length") == [str(len(response.body))]
            told = errors(caplog)
            assert len(told) == count
            assert f"Streams.on_{side}_body" in told[-1]
            assert "'all'" in told[-1]
            said = {"raise": "a fails", "await": "cannot wait", "number": "must return bytes or None, not a int"}
            assert said[doing] in told[-1]
            assert gateway.metrics()["policy_errors"] == count


async def test_a_failure_can_be_answered_by_a_policy() -> None:
    for side in ("request", "response"):
        async with stand({side: "raise"}, kind="AnswersErrors") as (_, client, _gateway):
            response = await client.request(post(b"abc"))
            assert (response.status, response.body) == (418, b"policy_failed")


async def test_a_hook_that_fails_in_the_middle_of_a_response(caplog: pytest.LogCaptureFixture) -> None:
    event = asyncio.Event()
    async with stand({"response": "raise last"}) as (upstream, client, gateway):
        upstream.script(Answer(STREAM + chunk(b"abc"), wait_for(event), chunk(b"def") + b"0\r\n\r\n"))
        await client.send(GET)
        response = await client.head()
        await client.body(response, limit=3)
        event.set()
        with pytest.raises(CutShort):
            await client.body(response)
        assert len(errors(caplog)) == 1
        assert gateway.metrics()["policy_errors"] == 1
        async with RawClient(gateway.port) as other:
            upstream.script(Answer(b"HTTP/1.1 200 OK\r\n\r\nabc", close()))
            await other.send(b"GET / HTTP/1.0\r\n\r\n")
            # Without chunks only a reset tells.
            with pytest.raises(CutShort) as cut:
                await other.response()
            assert "reset" in str(cut.value)


async def test_a_hook_that_fails_in_the_middle_of_a_request(caplog: pytest.LogCaptureFixture) -> None:
    async with stand({"request": "raise last"}) as (upstream, client, gateway):
        await client.send(CHUNKED + chunk(b"abc"))
        request = await upstream.request()
        await client.send(b"0\r\n\r\n" + GET)
        assert (await client.response("POST")).status == 500
        assert (await client.response()).body == b"ok"
        assert len(errors(caplog)) == 1
        await upstream.connections[0].wait_ended()
        assert not request.complete
        assert gateway.open_connections == 1


async def test_a_mirror_does_not_wait_for_a_body_that_failed() -> None:
    async with RecordingUpstream() as shadow, RecordingUpstream() as upstream:
        config = configured(upstream.port, {"request": "raise last"}, mirror={"upstream": "shadow"})
        config["upstreams"]["shadow"] = {"targets": [{"host": "127.0.0.1", "port": shadow.port}]}
        async with start_gateway(config) as gateway, RawClient(gateway.port) as client:
            await client.send(CHUNKED + chunk(b"abc"))
            await shadow.request()
            await client.send(b"0\r\n\r\n")
            assert (await client.response("POST")).status == 500
            await shadow.connections[0].wait_ended()
            assert not shadow.requests[0].complete


async def test_an_early_answer_ends_the_calls() -> None:
    async with stand({"request": "upper"}) as (upstream, client, _):
        upstream.script(Answer(respond(b"no", "403 Forbidden"), early=True))
        await client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\nabc")
        assert (await client.response("POST")).status == 403
        await client.send(b"def" + GET)
        assert (await client.response()).body == b"ok"
        assert [piece for name, piece, _ in SEEN if name == "a.request"] in ([b"abc"], [b"", b"abc"])


async def test_pipelined_requests() -> None:
    async with stand({"request": "raise last", "response": "upper"}) as (_, client, _gateway):
        await client.send(post(b"abc") + GET + post(b"abc") + GET + GET)
        statuses = [(await client.response()).status for _ in range(5)]
        assert statuses == [500, 200, 500, 200, 200]


async def test_a_cut_response_is_cut_for_the_client() -> None:
    async with stand({"response": "upper"}) as (upstream, client, _):
        upstream.script(Answer(respond(b"abcdef")[:-2], close()))
        with pytest.raises(CutShort):
            await client.request(GET)
        assert not any(last for *_, last in SEEN)


async def test_views_are_over_when_the_exchange_is() -> None:
    kept: list[Any] = []
    hook = body_plugins.Streams.on_response_body

    def keep(self: Any, request: Any, response: Any, piece: bytes, last: bool) -> None:
        kept.extend((request, response))

    body_plugins.Streams.on_response_body = keep  # type: ignore[assignment,method-assign]
    try:
        async with stand({}) as (_, client, _gateway):
            await client.request(GET)
            for use in (lambda: kept[0].method, lambda: kept[1].status):
                with pytest.raises(RuntimeError, match="over"):
                    use()
    finally:
        body_plugins.Streams.on_response_body = hook  # type: ignore[method-assign]


async def test_an_async_hook_keeps_the_gateway_from_starting() -> None:
    with pytest.raises(ConfigError, match=r"plugins\[0\].*on_response_body cannot be async"):
        await Gateway(GatewayConfig.from_dict(configured(1, {}, kind="Async"))).start()


async def test_routes_without_hooks_have_no_filters() -> None:
    async with RecordingUpstream() as upstream:
        config = proxy_config(upstream.port)
        async with start_gateway(config) as gateway:
            assert gateway._engine is not None
            match = gateway._engine.runtime.router.match("GET", "/")
            assert match is not None
            assert match.value.request_filters is None
            assert match.value.response_filters is None
