"""``half_close = "serve"``: a client that has shut its sending side after a whole request still gets its answer."""

import asyncio
import re

import pytest
from wire.support import GET, by_id, chunked, head, post

from fastgate.testing import Answer, pause, respond, stall, start_gateway, wait_for

SERVE = {"half_close": "serve"}
REQUESTS = {"GET": GET, "POST": post(b"hello"), "chunked": chunked(b"hello"), "1.0": b"GET / HTTP/1.0\r\n\r\n"}


def statuses(data: bytes) -> list[int]:
    return [int(each) for each in re.findall(rb"HTTP/1\.1 (\d{3}) ", data)]


async def serve(stand, routes, upstreams=None):
    """A client of a gateway with several routes, or none to an upstream."""
    gateway = {"host": "127.0.0.1", "port": 0, "access_log": {"path": ""}}
    context = start_gateway({"gateway": gateway, "routes": routes, "upstreams": upstreams or {}})
    stand.gateway = await stand.stack.enter_async_context(context)
    return await stand.client()


@pytest.mark.parametrize("data", **by_id(REQUESTS))
@pytest.mark.parametrize("body", [b"ok", b"x" * 3_000_000], ids=["short", "long"])
async def test_a_client_that_shuts_its_sending_side_is_served(stand, data, body):
    client = await stand.start(route=SERVE)
    go = asyncio.Event()
    stand.upstream.script(Answer(wait_for(go), respond(body)))
    await client.send(data)
    client.half_close()
    await stand.upstream.complete_request(0)
    await client.assert_silent()
    go.set()
    response = await client.response()
    assert (response.status, response.body) == (200, body)
    if data != REQUESTS["1.0"]:
        assert response.fields["connection"] == "close"
    assert await client.wait_closed() == "eof"


async def test_answers_that_stream_reach_it(stand):
    client = await stand.start(route=SERVE)
    pieces = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"]
    for _ in range(5):
        pieces += [b"5\r\nhello\r\n", pause(0.02)]
    stand.upstream.script(Answer(*pieces, b"0\r\n\r\n"))
    await client.send(GET)
    client.half_close()
    assert (await client.response()).body == b"hello" * 5


async def test_every_request_that_came_whole_is_served(stand):
    client = await stand.start(route=SERVE)
    stand.upstream.default = Answer(pause(0.02), respond(b"ok"))
    await client.send(GET * 3 + post(b"hello") + GET[:-4])
    client.half_close()
    rest = await client.rest()
    assert statuses(rest) == [200] * 4
    assert len(stand.upstream.requests) == 4


async def test_answers_of_the_gateway_itself_are_all_sent(stand):
    route = {"name": "own", "path": "/*", "respond": {"status": 200, "body": "ok"}, **SERVE}
    client = await serve(stand, [route])
    await client.send(GET * 40)
    client.half_close()
    assert statuses(await client.rest()) == [200] * 40


async def test_what_follows_for_a_route_that_cancels_is_cancelled(stand):
    stand.upstream = await stand.new_upstream()
    client = await serve(
        stand,
        [
            {"name": "serve", "path": "/serve", "upstream": "backend", **SERVE},
            {"name": "other", "path": "/*", "upstream": "backend"},
        ],
        {"backend": {"targets": [f"127.0.0.1:{stand.upstream.port}"]}},
    )
    go = asyncio.Event()
    stand.upstream.script(Answer(wait_for(go), respond(b"first")), Answer(stall()))
    await client.send(head(target="/serve") + GET + head(target="/serve"))
    client.half_close()
    await stand.upstream.complete_request(0)
    go.set()
    assert statuses(await client.rest()) == [200]


@pytest.mark.parametrize("route", [{}, {"half_close": "cancel"}])
async def test_the_default_takes_it_for_one_that_has_left(stand, route):
    client = await stand.start(route=route)
    stand.upstream.script(Answer(stall()))
    await client.send(GET)
    await stand.upstream.complete_request(0)
    client.half_close()
    assert await stand.upstream.connections[0].wait_ended()
    assert await client.rest() == b""


@pytest.mark.parametrize("data", [GET[:-2], post(b"hello")[:-2]], ids=["head", "body"])
async def test_half_a_request_is_not_served(stand, data):
    client = await stand.start(route=SERVE)
    await client.send(data)
    client.half_close()
    assert 200 not in statuses(await client.rest())


async def test_one_that_leaves_after_it_has_shut_its_side_is_noticed(stand):
    client = await stand.start(route=SERVE)
    stand.upstream.script(Answer(stall()))
    await client.send(GET)
    client.half_close()
    await stand.upstream.complete_request(0)
    await client.assert_silent()
    client.reset()
    assert await stand.upstream.connections[0].wait_ended()
