"""An answer in the place of an upstream that fails."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from fastgate.cli import main
from fastgate.config import ConfigError, GatewayConfig
from fastgate.testing import (
    Answer,
    CutShort,
    RawClient,
    RecordingUpstream,
    UpstreamExchange,
    close,
    gateway_to,
    proxy_config,
    respond,
    stall,
    start_gateway,
)
from fastgate.testing.http_messages import RecordedResponse

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
FALLBACK = {"body": "[]", "headers": {"content-type": "application/json", "x-from": "fallback"}}
BROKEN = respond(b"down", "503 Service Unavailable", "x-from: upstream", "x-secret: 1")
CUT = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"


async def answer_of(
    answer: Any, fallback: dict[str, Any] | None = None, request: bytes = GET, **route: Any
) -> tuple[RecordedResponse, int]:
    """To a route with a fallback whose upstream answers so; and how often that was asked."""
    route = {"retry": False, "fallback": {**FALLBACK, **(fallback or {})}, **route}
    async with RecordingUpstream(default=answer) as upstream:
        async with gateway_to(upstream.port, route=route) as to, RawClient(to.port) as client:
            return await client.request(request), len(upstream.requests)


def replaced(answer: RecordedResponse) -> bool:
    assert answer.status in (200, 404, 503)
    return answer.fields.get("x-from") == "fallback"


async def test_an_upstream_that_answers_with_an_error() -> None:
    answer, _ = await answer_of(BROKEN)
    assert (answer.status, answer.body) == (200, b"[]")
    assert (answer.fields["content-type"], answer.fields["x-from"]) == ("application/json", "fallback")
    assert "x-secret" not in answer.fields.names


async def test_one_that_answers_is_left_alone() -> None:
    answer, _ = await answer_of(respond(b"all", "200 OK"))
    assert (answer.body, replaced(answer)) == (b"all", False)
    answer, _ = await answer_of(respond(b"none", "404 Not Found"))
    assert (answer.status, answer.body, replaced(answer)) == (404, b"none", False)


async def test_one_that_cannot_be_reached() -> None:
    async with RecordingUpstream() as upstream:
        port = upstream.port
    async with gateway_to(port, route={"fallback": FALLBACK}) as to, RawClient(to.port) as client:
        assert replaced(await client.request(GET))


@pytest.mark.parametrize(
    ("answer", "word", "other"),
    [
        (Answer(close()), "reset", "timeout"),
        (b"SMTP ready\r\n\r\n", "reset", "connect"),
        (Answer(stall()), "timeout", "reset"),
        (BROKEN, "503", "504"),
        (respond(b"", "404 Not Found"), "4xx", "5xx"),
    ],
)
async def test_each_word_is_one_kind_of_failure(answer: Any, word: str, other: str) -> None:
    timeouts = {"read": "200ms"}
    got, _ = await answer_of(answer, {"on": [word]}, timeouts=timeouts)
    assert replaced(got)
    async with RecordingUpstream(default=answer) as upstream:
        route = {"retry": False, "timeouts": timeouts, "fallback": {**FALLBACK, "on": [other]}}
        async with gateway_to(upstream.port, route=route) as to, RawClient(to.port) as client:
            assert "x-from: fallback" not in str((await client.request(GET)).fields.pairs).lower()


async def test_no_target_that_may_be_asked_is_as_none_that_can_be_reached() -> None:
    breaker = {"failures": 1, "min_requests": 1, "open": "1h"}
    route = {"retry": False, "fallback": {**FALLBACK, "on": ["connect"]}}
    async with RecordingUpstream(default=Answer(close())) as upstream:
        async with gateway_to(upstream.port, route=route, upstream={"breaker": breaker}) as to:
            async with RawClient(to.port) as client:
                first, second = await client.request(GET), await client.request(GET)
        assert len(upstream.requests) == 1
    assert (first.status, second.status) == (502, 200)


async def test_tries_come_first() -> None:
    retry = {"attempts": 3, "on": ["5xx"], "backoff": "1ms", "budget": 10}
    answer, asked = await answer_of(BROKEN, retry=retry)
    assert (replaced(answer), asked) == (True, 3)


@pytest.mark.parametrize("piece", [b"", b"abc"])
async def test_an_answer_that_has_begun_is_not_replaced(piece: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
    with pytest.raises(CutShort):
        await answer_of(Answer(head + piece, close()))


async def test_a_large_error_that_is_still_coming_is_cut_off() -> None:
    body = b"HTTP/1.1 500 No\r\nContent-Length: 100000000\r\n\r\n" + b"x" * 100_000
    async with RecordingUpstream(default=Answer(body, stall())) as upstream:
        async with gateway_to(upstream.port, route={"fallback": FALLBACK}) as to, RawClient(to.port) as client:
            assert replaced(await client.request(GET))
            assert replaced(await client.request(GET))
            await (await upstream.connection(0)).wait_ended()


async def test_an_upload_that_is_still_coming() -> None:
    head = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
    async with RecordingUpstream(default=Answer(BROKEN, early=True)) as upstream:
        async with gateway_to(upstream.port, route={"fallback": FALLBACK}) as to, RawClient(to.port) as client:
            await client.send(head + b"x" * 1000)
            assert replaced(await client.response("POST"))


async def test_head_and_the_connection_goes_on() -> None:
    async with RecordingUpstream(default=BROKEN) as upstream:
        async with gateway_to(upstream.port, route={"fallback": FALLBACK}) as to, RawClient(to.port) as client:
            answer = await client.request(GET.replace(b"GET", b"HEAD"))
            assert (answer.status, answer.fields["content-length"], answer.body) == (200, "2", b"")
            assert (await client.request(GET)).body == b"[]"


async def test_what_is_made_of_answers_is_made_of_this_one() -> None:
    answer, _ = await answer_of(BROKEN, envelope=True, response_headers={"set": {"x-more": "1"}})
    assert (replaced(answer), answer.fields["x-more"]) == (True, "1")
    assert isinstance(json.loads(answer.body), dict)


async def test_the_log_says_who_answered_and_that_an_upstream_was_asked(tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with RecordingUpstream(default=BROKEN) as upstream:
        settings = {"access_log": {"path": str(log), "format": "json"}}
        async with gateway_to(upstream.port, gateway=settings, route={"fallback": FALLBACK}) as to:
            async with RawClient(to.port) as client:
                assert replaced(await client.request(GET))
    line = json.loads(log.read_text())
    assert (line["status"], line["end"], line["attempts"]) == (200, "route", 1)
    assert line["upstream"]


@pytest.mark.parametrize("mirrored", [False, True])
async def test_of_a_split_and_with_a_mirror(mirrored: bool) -> None:
    """A connection that is given up is let go of, whoever of them had it."""
    endless = b"HTTP/1.1 500 No\r\nContent-Length: 100000000\r\n\r\n" + b"x" * 1000
    async with RecordingUpstream(default=Answer(endless, stall())) as upstream, RecordingUpstream() as shadow:
        data = proxy_config(upstream.port, route={"fallback": FALLBACK, "split": [{"upstream": "backend"}]})
        del data["routes"][0]["upstream"]
        if mirrored:
            data["routes"][0]["mirror"] = {"upstream": "shadow"}
            data["upstreams"]["shadow"] = {"targets": [{"host": "127.0.0.1", "port": shadow.port}]}
        async with start_gateway(data) as to, RawClient(to.port) as client:
            assert replaced(await client.request(GET))
            await (await upstream.connection(0)).wait_ended()
            if mirrored:
                await shadow.complete_request(0)


async def test_with_a_hedge_both_tries_are_let_go_of() -> None:
    """The first one that is asked says nothing, the second, beside it, has an error."""
    asked: list[UpstreamExchange] = []

    async def step(exchange: UpstreamExchange) -> None:
        asked.append(exchange)
        if len(asked) == 2:
            await exchange.send(b"HTTP/1.1 500 No\r\nContent-Length: 100000000\r\n\r\n" + b"x" * 1000)
        await stall()(exchange)

    route = {"fallback": FALLBACK, "retry": {"hedge": {"delay": "10ms"}, "budget": 10}}
    async with RecordingUpstream(default=Answer(step)) as one, RecordingUpstream(default=Answer(step)) as other:
        async with gateway_to(one.port, other.port, route=route) as to, RawClient(to.port) as client:
            assert replaced(await client.request(GET))
            for exchange in asked:
                await exchange.connection.wait_ended()
    assert len(asked) == 2


async def test_a_default_says_nothing_to_a_route_without_an_upstream() -> None:
    data = proxy_config(1)
    data["defaults"] = {"fallback": FALLBACK}
    data["routes"] = [{"name": "own", "path": "/*", "respond": {"status": 503}}]
    del data["upstreams"]
    async with start_gateway(data) as to, RawClient(to.port) as client:
        assert (await client.request(GET)).status == 503


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"on": []}, "fallback.on: "),
        ({"on": ["broken"]}, "fallback.on[0]: "),
        ({"status": 204, "body": "x"}, "fallback.body: cannot be sent: an answer with status 204 has no body"),
        ({"status": 99}, "fallback.status: must be 200 to 599, got 99"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        GatewayConfig.from_dict(proxy_config(1, route={"fallback": settings}))
    assert str(caught.value).startswith(f"routes[0].{said}")


def test_check_and_routes_tell_of_it(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(
        '[defaults]\nfallback = { on = ["5xx", "connect"], body = "later" }\n'
        '[[routes]]\nname = "a"\npath = "/a"\nupstream = "b"\n[[routes]]\nname = "own"\npath = "/"\nrespond = {}\n'
        '[upstreams.b]\ntargets = ["b:1"]\n'
    )
    assert CliRunner().invoke(main, ["check", str(path)]).output.endswith("a.toml is valid: 2 routes, 1 upstream\n")
    rows = CliRunner().invoke(main, ["routes", str(path)]).output.splitlines()[1:]
    assert [row.partition(")" if "b:1" in row else "200")[2].strip() for row in rows] == [
        "200 instead of 5xx, connect",
        "",
    ]
