"""Answers and responses that policies change: whose they are, how they are framed, and that a refusal stays one."""

import json
from typing import Any

import pytest
from policies.mixed_plugins import CONSTANT

from fastgate.testing import Answer, RawClient, RecordingUpstream, pieces, proxy_config, respond, stall, start_gateway

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


def configured(port: int, *plugins: tuple[str, dict[str, Any]], **route: Any) -> dict[str, Any]:
    """A route with these classes of `mixed_plugins` and their options."""
    names = "abc"[: len(plugins)]
    config = proxy_config(port, route={"policies": [{"use": name} for name in names], **route})
    config["plugins"] = [
        {"name": name, "use": f"policies.mixed_plugins:{kind}", "options": options}
        for name, (kind, options) in zip(names, plugins, strict=True)
    ]
    return config


@pytest.mark.parametrize("answer", ["own", "replace"])
async def test_an_answer_that_a_policy_gives_again_and_again_stays_what_it_is(answer: str) -> None:
    plugins = [("Mixed", {"mark": True}), ("Mixed", {"answer": answer})]
    route = {"response_headers": {"add": {"X-Added": "1"}}, "envelope": True, "compression": {"min_size": 1}}
    before = CONSTANT.headers.items()
    async with RecordingUpstream() as upstream, start_gateway(configured(upstream.port, *plugins, **route)) as gateway:
        async with RawClient(gateway.port) as client:
            for _ in range(3):
                response = await client.request(GET)
                assert response.fields["x-added"] == "1"
                assert response.fields["x-mark"] == "1"
                assert json.loads(response.body)["data"] == json.loads(CONSTANT.body())
    assert CONSTANT.headers.items() == before


async def test_a_304_that_becomes_something_else_has_no_length_of_what_it_did_not_send() -> None:
    async with RecordingUpstream(default=b"HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n") as upstream:
        config = configured(upstream.port, ("Status", {"status": 200}))
        async with start_gateway(config) as gateway, RawClient(gateway.port) as client:
            for _ in range(2):
                response = await client.request(GET)
                assert (response.status, response.body) == (200, b"")
                assert response.fields.get("content-length") is None
            response = await client.request(GET.replace(b"GET", b"HEAD"))
            assert response.fields["content-length"] == "500"


@pytest.mark.parametrize("status", [204, 304])
async def test_a_body_that_nobody_gets_any_more_is_not_waited_for(status: int) -> None:
    begun = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5000\r\n\r\nabc"
    for route in ({}, {"compression": True}):
        async with RecordingUpstream(default=Answer(begun, stall())) as upstream:
            config = configured(upstream.port, ("Status", {"status": status}), ("Bodies", {}), **route)
            async with start_gateway(config) as gateway, RawClient(gateway.port) as client:
                for number in range(2):
                    response = await client.request(GET)
                    assert (response.status, response.body) == (status, b"")
                    await upstream.connections[number].wait_ended()


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "pieces"])
async def test_a_response_that_is_too_large_is_refused_also_where_an_error_is_answered_later(whole: bool) -> None:
    head, body = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", b"x" * 100
    answer = Answer(head + body) if whole else Answer(head, pieces(body, 50))
    async with RecordingUpstream(default=answer) as upstream:
        config = configured(upstream.port, ("Whole", {"mark": True}), ("Errors", {}), max_body=60)
        async with start_gateway(config) as gateway, RawClient(gateway.port) as client:
            for _ in range(2):
                response = await client.request(GET)
                assert response.status == 502
                assert json.loads(response.body) == {"cause": "response_too_large"}
                assert "x-mark" not in response.fields
            upstream.default = Answer(respond(b"small"))
            assert (await client.request(GET)).body == b"small"
        assert gateway.metrics()["requests"] == 3


async def test_what_a_policy_wants_to_wait_for_is_closed_where_the_client_has_left_at_once() -> None:
    async with RecordingUpstream() as upstream:
        config = configured(upstream.port, ("Mixed", {"answer": "own", "wait": True}))
        async with start_gateway(config) as gateway:
            # Nothing is said of a coroutine that was never awaited: warnings are errors here.
            for _ in range(20):
                async with RawClient(gateway.port) as client:
                    await client.send(GET)
                    client.reset()
            async with RawClient(gateway.port) as client:
                assert (await client.request(GET)).body == CONSTANT.body()
