"""Concurrency limits as clients and upstreams see them: how many are under way, who waits, who is refused."""

import asyncio
import time

import pytest
from traffic.plugins import Apologise, plugin
from traffic.support import route_to, settled, statuses
from wire.support import GET, check_problem, eventually, head, post, served

from fastgate.testing import Answer, RawClient, reset, respond, stall, wait_for

pytestmark = pytest.mark.usefixtures("either_store")


def at_most(most: int, path: str = "/*", **keys) -> dict:
    route = {key: keys.pop(key) for key in ("timeouts", "rate_limit", "policies", "buffer_request") if key in keys}
    return route_to("backend", path=path, concurrency={"max": most, **keys}, retry=False, **route)


async def held(traffic, count: int, data: bytes = GET) -> tuple[list[RawClient], asyncio.Event]:
    """So many requests that the upstream has and answers when the event is set."""
    go = asyncio.Event()
    before = len(traffic.upstream.requests)
    traffic.upstream.script(*[Answer(wait_for(go), respond(b"held"))] * count)
    clients = [await traffic.client() for _ in range(count)]
    for client in clients:
        await client.send(data)
    await traffic.upstream.wait_for(lambda: len(traffic.upstream.requests) == before + count)
    return clients, go


def check_full(response) -> None:
    check_problem(response, 503)
    assert int(response.fields["retry-after"]) >= 1


async def test_so_many_at_once_and_the_next_is_refused(traffic):
    client = await traffic.serve(at_most(3))
    clients, go = await held(traffic, 3)
    for _ in range(2):
        check_full(await served(client, GET, 503))
    response = await served(client, head(method="HEAD"), 503)
    assert response.body == b""
    check_full(await served(client, post(b"x" * 40_000), 503))
    assert len(traffic.upstream.requests) == 3
    go.set()
    assert [(await each.response()).body for each in clients] == [b"held"] * 3
    assert await statuses(client, 10) == [200] * 10
    lines = await traffic.lines(17)
    assert [(line["status"], line["end"]) for line in lines[:4]] == [(503, "concurrency_full")] * 4
    assert traffic.gateway.metrics()["concurrency_limited"] == 4


async def test_a_refusal_goes_out_without_100(traffic):
    client = await traffic.serve(at_most(1))
    await held(traffic, 1)
    await client.send(head("Expect: 100-continue", "Content-Length: 5", method="POST"))
    response = await client.response("POST")
    assert (response.status, response.interim) == (503, [])


ENDS = {
    "answered": (Answer(respond(b"ok")), 200),
    "failed": (respond(b"", "500 Internal Server Error"), 500),
    "reset": (Answer(reset()), 502),
    "nonsense": (b"what?\r\n\r\n", 502),
    "silence": (Answer(stall()), 504),
}


@pytest.mark.parametrize("end", ENDS)
async def test_however_a_request_ends_its_place_is_free(traffic, end):
    answer, status = ENDS[end]
    client = await traffic.serve(at_most(1, timeouts={"read": 0.1}))
    traffic.upstream.script(*[answer] * 3)
    assert await statuses(client, 4) == [status] * 3 + [200]


async def test_a_client_that_leaves_frees_its_place(traffic):
    client = await traffic.serve(at_most(1))
    traffic.upstream.script(Answer(stall()))
    leaving = await traffic.client()
    await leaving.send(GET)
    await traffic.upstream.request(0)
    check_full(await client.request(GET))
    leaving.close()
    await traffic.upstream.connections[0].wait_ended()
    assert await statuses(client, 1) == [200]


async def test_a_place_is_held_until_the_answer_is_whole(traffic):
    client = await traffic.serve(at_most(1))
    go = asyncio.Event()
    traffic.upstream.script(Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha", wait_for(go), b"lf"))
    first = await traffic.client()
    await first.send(GET)
    response = await first.head()
    check_full(await client.request(GET))
    go.set()
    assert await first.body(response) == b"half"
    assert await statuses(client, 1) == [200]


async def test_a_tunnel_holds_its_place(traffic):
    client = await traffic.serve(at_most(1))
    traffic.upstream.script(
        Answer(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", stall())
    )
    tunnel = await traffic.client()
    await tunnel.send(head("Connection: Upgrade", "Upgrade: websocket"))
    assert (await tunnel.head()).status == 101
    check_full(await client.request(GET))
    tunnel.close()
    await traffic.upstream.connections[0].wait_ended()
    await settled()
    assert await statuses(client, 1) == [200]


# --- the queue ---


async def test_those_who_wait_are_served_in_their_order(traffic):
    await traffic.serve(at_most(1, queue=3, queue_timeout="5s"))
    (first,), go = await held(traffic, 1)
    waiting = []
    for name in "abc":
        client = await traffic.client()
        await client.send(head(target=f"/{name}"))
        await client.assert_silent()
        waiting.append(client)
    last = await traffic.client()
    check_full(await last.request(GET))
    assert len(traffic.upstream.requests) == 1
    go.set()
    assert (await first.response()).body == b"held"
    assert [(await client.response()).status for client in waiting] == [200] * 3
    assert [request.target for request in traffic.upstream.requests[1:]] == ["/a", "/b", "/c"]
    assert await statuses(last, 5) == [200] * 5


async def test_who_waits_too_long_is_503(traffic):
    client = await traffic.serve(at_most(1, queue=5, queue_timeout="300ms"))
    (first,), go = await held(traffic, 1)
    began = time.monotonic()
    check_full(await client.request(GET))
    assert time.monotonic() - began > 0.25
    assert await traffic.ends(1) == [(503, "queue_timeout")]
    go.set()
    assert (await first.response()).status == 200
    # Its place in the queue is free too.
    assert await statuses(client, 3) == [200] * 3


async def test_the_total_time_includes_waiting(traffic):
    client = await traffic.serve(at_most(1, queue=5, queue_timeout="30s", timeouts={"total": 1}))
    await held(traffic, 1)
    check_problem(await client.request(GET), 504)


async def test_who_leaves_the_queue_is_not_served(traffic):
    await traffic.serve(at_most(1, queue=2, queue_timeout="5s"))
    (first,), go = await held(traffic, 1)
    leaving, staying, late = [await traffic.client() for _ in range(3)]
    for client, name in ((leaving, "leaving"), (staying, "staying")):
        await client.send(head(target=f"/{name}"))
        await client.assert_silent()
    leaving.close()
    assert await traffic.ends(1) == [(499, "client_gone")]
    # A place in the queue is free.
    await late.send(head(target="/late"))
    await late.assert_silent()
    go.set()
    assert (await first.response()).status == 200
    assert [(await client.response()).status for client in (staying, late)] == [200, 200]
    assert [request.target for request in traffic.upstream.requests[1:]] == ["/staying", "/late"]


async def test_nobody_is_overtaken(traffic):
    """A place that comes free belongs to who waits, not to who comes at that moment."""
    await traffic.serve(at_most(1, queue=50, queue_timeout="5s"))
    (first,), go = await held(traffic, 1)
    waiting = [await traffic.client() for _ in range(5)]
    for number, client in enumerate(waiting):
        await client.send(head(target=f"/{number}"))
        await client.assert_silent(0.02)
    go.set()
    newcomers = [await traffic.client() for _ in range(5)]
    for number, client in enumerate(newcomers, 5):
        await client.send(head(target=f"/{number}"))
    for client in (first, *waiting, *newcomers):
        assert (await client.response()).status == 200
    targets = [request.target for request in traffic.upstream.requests[1:]]
    assert targets[:5] == [f"/{number}" for number in range(5)]
    assert sorted(targets) == sorted(f"/{number}" for number in range(10))


async def test_never_more_than_the_most(traffic):
    under_way, most = 0, 0

    async def count(exchange):
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.01)
        under_way -= 1
        await exchange.send(respond(b"ok"))

    await traffic.serve(at_most(3, queue=100, queue_timeout="20s"))
    traffic.upstream.default = Answer(count)

    async def ask(client):
        client.timeout = 20
        return await statuses(client, 5)

    clients = [await traffic.client() for _ in range(20)]
    assert await asyncio.gather(*map(ask, clients)) == [[200] * 5] * 20
    assert most == 3


async def test_a_body_waits_with_its_request(traffic):
    client = await traffic.serve(at_most(1, queue=1, queue_timeout="5s"))
    (first,), go = await held(traffic, 1)
    body = b"x" * 300_000
    sending = asyncio.get_running_loop().create_task(
        client.send(head(f"Content-Length: {len(body)}", method="POST") + body)
    )
    await first.assert_silent()
    assert len(traffic.upstream.requests) == 1
    go.set()
    await sending
    assert (await client.response("POST")).status == 200
    assert traffic.upstream.requests[1].body == body


async def test_100_is_sent_when_its_turn_comes(traffic):
    client = await traffic.serve(at_most(1, queue=1, queue_timeout="5s"))
    (first,), go = await held(traffic, 1)
    await client.send(head("Expect: 100-continue", "Content-Length: 5", method="POST"))
    await client.assert_silent()
    go.set()
    assert (await first.response()).status == 200
    await traffic.upstream.request(1)
    await client.send(b"hello")
    response = await client.response("POST")
    assert (response.status, len(response.interim)) == (200, 1)


async def test_a_turn_that_comes_while_policies_look_at_the_timeout_is_another_ones(traffic):
    client = await traffic.serve(
        at_most(1, queue=2, queue_timeout="200ms", policies=[{"use": "Apologise"}]), plugins=[plugin(Apologise)]
    )
    (first,), go = await held(traffic, 1)
    await client.send(head(target="/late"))
    await asyncio.sleep(0.3)
    go.set()
    assert (await first.response()).status == 200
    response = await client.response()
    assert (response.status, response.body) == (503, b"sorry: queue_timeout")
    await settled()
    assert [request.target for request in traffic.upstream.requests] == ["/path?query"]
    assert await statuses(client, 3) == [200] * 3


# --- keys ---

KEYS = {
    "header": ("header:X-User", head("X-User: a"), head("X-User: b")),
    "cookie": ("cookie:sid", head("Cookie: sid=a"), head("Cookie: sid=b")),
    "param": ("param:id", head(target="/u/a"), head(target="/u/b")),
    "two": (["header:x-user", "param:id"], head("X-User: a", target="/u/a"), head("X-User: a", target="/u/b")),
}


@pytest.mark.parametrize(("key", "one", "other"), KEYS.values(), ids=KEYS)
async def test_what_is_counted_apart(traffic, key, one, other):
    path = "/u/{id}" if "param" in str(key) else "/*"
    client = await traffic.serve(at_most(1, path, key=key))
    (first,), go = await held(traffic, 1, one)
    check_full(await client.request(one))
    assert await statuses(client, 2, other) == [200] * 2
    go.set()
    assert (await first.response()).status == 200
    assert await statuses(client, 1, one) == [200]


async def test_by_client_ip(traffic):
    client = await traffic.serve(at_most(1, key="client_ip"))
    await held(traffic, 1)
    check_full(await client.request(GET))
    async with RawClient(traffic.gateway.port, source=("127.0.0.2", 0)) as other:
        assert await statuses(other, 2) == [200] * 2


async def test_each_route_for_itself_and_global_over_all(traffic):
    client = await traffic.serve(
        at_most(1, "/a"), at_most(1, "/b"), at_most(1, "/c", key="global"), at_most(1, "/d", key="global")
    )
    await held(traffic, 1, head(target="/a"))
    check_full(await client.request(head(target="/a")))
    assert await statuses(client, 1, head(target="/b")) == [200]
    await held(traffic, 1, head(target="/c"))
    check_full(await client.request(head(target="/d")))


async def test_what_a_rate_limit_refuses_takes_no_place(traffic):
    client = await traffic.serve(at_most(1, rate_limit={"rate": 1, "per": "1h"}))
    assert await statuses(client, 4) == [200, 429, 429, 429]


async def test_an_adaptive_limit_lets_requests_pass(traffic):
    client = await traffic.serve(at_most(20, adaptive={"min": 2}))
    assert await statuses(client, 30) == [200] * 30
    _, go = await held(traffic, 2)
    go.set()
    await eventually(lambda: len(traffic.upstream.requests) == 32)
