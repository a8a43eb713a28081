"""Splits and mirrors: which upstream gets which request."""

import asyncio

import pytest
from traffic.support import bodies, route_to, settled, statuses
from wire.support import GET, chunked, eventually, head, post, served

from fastgate.testing import Answer, close, pause, reset, respond, stall, start_gateway


def parts(stable: int, canary: int, sticky: str = "") -> dict:
    more = {"sticky": sticky} if sticky else {}
    return {"split": [{"upstream": "stable", "weight": stable}, {"upstream": "canary", "weight": canary, **more}]}


async def sides(traffic) -> dict:
    return {name: [(await traffic.named(name.encode())).port] for name in ("stable", "canary")}


# --- splits ---


async def test_weights(traffic):
    client = await traffic.serve(parts(90, 10), upstreams=await sides(traffic))
    seen = await bodies(client, 2000)
    assert sum(seen.values()) == 2000
    # 200 are expected; five standard deviations are 67.
    assert 133 <= seen[b"canary"] <= 267


async def test_a_weight_of_nothing_gets_nothing(traffic):
    client = await traffic.serve(parts(1, 0), upstreams=await sides(traffic))
    assert await bodies(client, 100) == {b"stable": 100}


STICKY = {
    "header": ("header:X-User", "X-User: {}"),
    "cookie": ("cookie:sid", "Cookie: a=b; sid={}"),
    "client_ip": ("client_ip", "X-Forwarded-For: 10.1.0.{}"),
}


@pytest.mark.parametrize(("sticky", "line"), STICKY.values(), ids=STICKY)
async def test_a_key_stays_on_its_side_and_a_growing_canary_keeps_what_it_had(traffic, sticky, line):
    upstreams = await sides(traffic)
    trusted = {"trusted_proxies": ["127.0.0.1"]}
    route = {"name": "r", "path": "/*"}
    client = await traffic.serve({**parts(80, 20, sticky), **route}, upstreams=upstreams, gateway=trusted)

    async def of_canary() -> set[int]:
        found = set()
        for key in range(150):
            if await bodies(client, 1, head(line.format(key))) == {b"canary": 1}:
                found.add(key)
        return found

    few = await of_canary()
    assert 5 <= len(few) <= 60
    assert await of_canary() == few
    config = traffic.gateway.config
    many = type(config).from_dict(
        {
            "gateway": {"host": "127.0.0.1", "port": 0, "access_log": {"path": str(traffic.log)}, **trusted},
            "routes": [{**parts(50, 50, sticky), **route}],
            "upstreams": {
                name: {"targets": [f"127.0.0.1:{port}" for port in ports]} for name, ports in upstreams.items()
            },
        }
    )
    await traffic.gateway.reload(many)
    more = await of_canary()
    assert few < more
    assert 40 <= len(more) <= 110


async def test_requests_without_the_key_are_drawn_anew(traffic):
    client = await traffic.serve(parts(50, 50, "header:x-user"), upstreams=await sides(traffic))
    assert set(await bodies(client, 100)) == {b"stable", b"canary"}
    assert len(await bodies(client, 100, head("X-User: a"))) == 1


async def test_tries_stay_on_the_side_that_was_chosen(traffic):
    stable = await traffic.new_upstream(default=respond(b"", "503 Busy"))
    canary = await traffic.named(b"canary")
    client = await traffic.serve(
        {**parts(1, 0), "retry": {"on": ["503"], "backoff": 0, "budget": 10}},
        upstreams={"stable": [stable.port], "canary": [canary.port]},
    )
    await served(client, GET, 503)
    assert (len(stable.requests), len(canary.requests)) == (3, 0)


# --- mirrors ---


SHADOW = respond(b"shadow")


async def mirrored(traffic, shadow: Answer | bytes = SHADOW, targets=None, upstream=None, **mirror):
    """A route with a mirror: the client, the upstream and the shadow."""
    backend, copy = await traffic.named(b"ok"), await traffic.new_upstream(default=shadow)
    client = await traffic.serve(
        route_to("backend", mirror={"upstream": "shadow", **mirror}),
        upstreams={
            "backend": [backend.port],
            "shadow": {"targets": targets if targets is not None else [copy.port], **(upstream or {})},
        },
    )
    return client, backend, copy


async def test_a_copy_of_each_request(traffic):
    client, backend, shadow = await mirrored(traffic)
    for data in (head("X-A: 1", target="/a?b"), post(b"hello"), chunked(b"hello", b"world"), head(method="DELETE")):
        assert (await served(client, data)).body == b"ok"
    await shadow.complete_request(3)

    def seen(upstream):
        return [
            (each.method, each.target, each.body, [pair for pair in each.fields.pairs if pair[0] != "Host"])
            for each in upstream.requests
        ]

    assert seen(shadow) == seen(backend)
    assert {each.fields["host"] for each in shadow.requests} == {f"127.0.0.1:{shadow.port}"}
    await settled()
    # Copies are no requests of their own.
    assert len(await traffic.lines(4)) == 4
    metrics = traffic.gateway.metrics()
    assert (metrics["requests"], metrics["mirrored"]) == (4, 4)
    # Their connections go back to the pool.
    assert len(shadow.connections) == 1


async def test_a_sample(traffic):
    client, _, shadow = await mirrored(traffic, sample=0.2)
    assert await bodies(client, 1000) == {b"ok": 1000}
    await eventually(lambda: len(shadow.requests) == traffic.gateway.metrics()["mirrored"])
    # 200 are expected; five standard deviations are 63.
    assert 137 <= len(shadow.requests) <= 263


FAILING = {
    "status": respond(b"no", "500 Internal Server Error"),
    "reset": Answer(reset()),
    "close": Answer(close()),
    "nonsense": b"what?\r\n\r\n",
    "silence": Answer(stall()),
    "early": Answer(respond(b"no", "403 Forbidden"), early=True),
    "cut": Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", close()),
    "endless": Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", stall()),
}


@pytest.mark.parametrize("shadow", FAILING.values(), ids=FAILING)
async def test_a_mirror_that_fails_touches_nothing(traffic, shadow):
    client, backend, copy = await mirrored(traffic, shadow)
    for data in (GET, post(b"x" * 50_000), chunked(b"a" * 3000, b"b" * 3000)):
        response = await served(client, data)
        assert response.body == b"ok"
    assert [each.body_length for each in backend.requests] == [0, 50_000, 6000]
    await copy.request(2)
    assert await traffic.ends(3) == [(200, "ok")] * 3


async def test_a_mirror_that_does_not_read_slows_nothing_down(traffic):
    body = b"x" * 4_000_000
    client, backend, copy = await mirrored(traffic, Answer(pause(60), early=True))
    data = head(f"Content-Length: {len(body)}", method="POST")
    await client.send(data + body)
    assert (await client.response("POST")).body == b"ok"
    assert backend.requests[0].body_length == len(body)
    assert not copy.requests[0].complete


async def test_a_mirror_that_hangs_ends_after_its_timeout(traffic):
    client, _, shadow = await mirrored(traffic, Answer(stall()), timeout="200ms")
    await served(client, GET)
    await shadow.request(0)
    assert await shadow.connections[0].wait_ended()


NOWHERE = {
    "refused": (None, {}),
    "all down": (
        None,
        {"health": {"active": {"interval": 0.05, "timeout": 0.05, "unhealthy": 1}}, "panic_threshold": 0},
    ),
    "no such service": (["srv:_none._tcp.invalid"], {"dns": {"server": "127.0.0.1:1"}}),
}


@pytest.mark.parametrize("case", NOWHERE)
async def test_a_mirror_without_a_target_touches_nothing(traffic, case):
    targets, upstream = NOWHERE[case]
    client, backend, _ = await mirrored(traffic, targets=targets or [traffic.refusing_port()], upstream=upstream)
    if case == "all down":
        await asyncio.sleep(0.2)
    for data in (GET, post(b"x" * 50_000), chunked(b"a" * 3000)):
        assert (await served(client, data)).body == b"ok"
    assert len(backend.requests) == 3
    assert await traffic.ends(3) == [(200, "ok")] * 3


async def test_a_mirror_of_a_failing_original(traffic):
    shadow = await traffic.named(b"shadow")
    client = await traffic.serve(
        route_to("backend", mirror={"upstream": "shadow"}),
        upstreams={"backend": [traffic.refusing_port()], "shadow": [shadow.port]},
    )
    assert await statuses(client, 2) == [502, 502]
    await shadow.request(1)


async def test_a_client_that_leaves_does_not_end_the_copy(traffic):
    go = asyncio.Event()

    async def wait(exchange):
        await go.wait()

    backend = await traffic.new_upstream(default=Answer(stall()))
    shadow = await traffic.new_upstream(default=Answer(wait, respond(b"shadow")))
    client = await traffic.serve(
        route_to("backend", mirror={"upstream": "shadow"}),
        upstreams={"backend": [backend.port], "shadow": [shadow.port]},
    )
    await client.send(GET)
    await shadow.request(0)
    client.close()
    assert await traffic.ends(1) == [(499, "client_gone")]
    go.set()
    await settled()
    assert shadow.connections[0].ended is None


async def test_upgrades_are_not_copied(traffic):
    client, backend, shadow = await mirrored(traffic)
    backend.script(
        Answer(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", stall())
    )
    await client.send(head("Connection: Upgrade", "Upgrade: websocket"))
    assert (await client.head()).status == 101
    assert not shadow.requests


async def test_expect_continue_is_answered_once(traffic):
    client, backend, shadow = await mirrored(traffic)
    await client.send(head("Expect: 100-continue", "Content-Length: 5", method="POST"))
    await backend.request(0)
    await client.send(b"hello")
    response = await client.response("POST")
    assert (response.status, len(response.interim)) == (200, 1)
    await shadow.complete_request(0)
    assert [upstream.requests[0].body for upstream in (backend, shadow)] == [b"hello"] * 2
    assert "expect" not in shadow.requests[0].fields


async def test_a_gateway_that_stops_with_copies_under_way(traffic):
    backend, shadow = await traffic.named(b"ok"), await traffic.new_upstream(default=Answer(stall()))
    config = {
        "gateway": {"host": "127.0.0.1", "port": 0, "access_log": {"path": ""}},
        "routes": [{"name": "r", "path": "/*", "upstream": "backend", "mirror": {"upstream": "shadow"}}],
        "upstreams": {
            "backend": {"targets": [f"127.0.0.1:{backend.port}"]},
            "shadow": {"targets": [f"127.0.0.1:{shadow.port}"]},
        },
    }
    async with start_gateway(config) as traffic.gateway:
        client = await traffic.client()
        await served(client, GET)
        await shadow.request(0)
    assert await shadow.connections[0].wait_ended()
