"""Floods of made-up clients through the gateway, with as little memory as can be configured: what they cannot lift."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from traffic.support import Traffic, route_to, statuses
from wire.support import by_id, eventually, head

from fastgate.testing import Answer, RawClient, respond, wait_for

STATE = {"rate_limit_entries": 1024, "rate_limit_stamps": 4096, "concurrency_entries": 64}
ALGORITHMS = ["token_bucket", "fixed_window", "sliding_window_log"]
LOGIN = head(target="/login")
BATCH = 256

FLOODS: dict[str, tuple[Any, Callable[[int], bytes]]] = {
    "header": ("header:x-tenant", lambda n: head(f"x-tenant: t{n}", target="/api/a")),
    "cookie": ("cookie:sid", lambda n: head(f"Cookie: sid={n}", target="/api/a")),
    "param": ("param:id", lambda n: head(target=f"/api/{n}")),
    "addresses": ("client_ip", lambda n: head(f"X-Forwarded-For: 2001:db8:{n >> 8:x}:{n & 255:x}::1", target="/api/a")),
    "two": (["client_ip", "header:x-tenant"], lambda n: head(f"x-tenant: t{n}", target="/api/a")),
}


def respond_at(path: str, **keys: Any) -> dict[str, Any]:
    return {"path": path, "respond": {"status": 200, "body": "ok"}, **keys}


async def flood(client: RawClient, request: Callable[[int], bytes], numbers: range, status: int = 200) -> None:
    for begin in range(numbers.start, numbers.stop, BATCH):
        batch = range(begin, min(begin + BATCH, numbers.stop))
        await client.send(b"".join(request(number) for number in batch))
        for _ in batch:
            assert (await client.response()).status == status


async def floods_lift_nothing(traffic: Traffic, login: dict[str, Any], api: dict[str, Any], request: Any) -> None:
    client = await traffic.serve(
        respond_at("/login", rate_limit=login),
        respond_at("/api/{id}", rate_limit=api),
        gateway={"trusted_proxies": ["127.0.0.1"], "access_log": {"path": ""}},
        state=STATE,
    )
    assert await statuses(client, 6, LOGIN) == [200] * 5 + [429]
    for begin in range(0, 3072, 768):
        await flood(client, request, range(begin, begin + 768))
        assert await statuses(client, 2, LOGIN) == [429, 429]
    assert traffic.gateway.metrics()["rate_limit_evictions"] > 500


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(("key", "request_of"), **by_id(FLOODS))
async def test_keys_that_use_little_of_a_long_limit(traffic, algorithm, key, request_of):
    login = {"rate": 5, "per": "1h", "algorithm": algorithm}
    api = {"rate": 10_000, "per": "1d", "algorithm": algorithm, "key": key}
    await floods_lift_nothing(traffic, login, api, request_of)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(("key", "request_of"), **by_id({name: FLOODS[name] for name in ("header", "addresses")}))
async def test_keys_that_are_at_another_limit_at_once(traffic, algorithm, key, request_of):
    login = {"rate": 5, "per": "1h", "algorithm": algorithm}
    api = {"rate": 1, "per": "1d", "algorithm": algorithm, "key": key}
    await floods_lift_nothing(traffic, login, api, request_of)
    assert traffic.gateway.metrics()["rate_limit_lifted"] > 500


async def test_one_user_among_many_that_do_not_exist(traffic):
    """The limit is that of the flood: it guards a name that clients choose."""
    limit = {"rate": 5, "per": "1h", "key": "param:user"}
    client = await traffic.serve(
        respond_at("/login/{user}", rate_limit=limit), gateway={"access_log": {"path": ""}}, state=STATE
    )
    alice = head(target="/login/alice")
    assert await statuses(client, 6, alice) == [200] * 5 + [429]
    for begin in range(0, 3072, 768):
        await flood(client, lambda n: head(target=f"/login/u{n}"), range(begin, begin + 768))
        assert await statuses(client, 2, alice) == [429, 429]
    assert traffic.gateway.metrics()["rate_limit_lifted"] == 0


async def test_made_up_keys_under_way_lift_no_limit_of_concurrency(traffic):
    """They take all the room that there is for keys that clients choose; addresses have room of their own."""
    client = await traffic.serve(
        route_to("backend", path="/held", concurrency={"max": 1, "key": "header:x-tenant"}, retry=False),
        route_to("backend", path="/login", concurrency={"max": 1, "key": "client_ip"}, retry=False),
        state=STATE,
    )
    go = asyncio.Event()
    traffic.upstream.script(*[Answer(wait_for(go), respond(b"held"))] * 161)
    clients = [await traffic.client() for _ in range(161)]
    for number, each in enumerate(clients[:160]):
        await each.send(head(f"x-tenant: t{number}", target="/held"))
    # Without room of its own a key counts with another one, here as one too many.
    await traffic.upstream.wait_for(lambda: len(traffic.upstream.requests) == 64)
    await eventually(lambda: traffic.gateway.metrics()["concurrency_limited"] == 96)
    assert traffic.gateway.metrics()["concurrency_merged"] == 96
    await clients[160].send(LOGIN)
    await traffic.upstream.wait_for(lambda: len(traffic.upstream.requests) == 65)
    assert await statuses(client, 2, LOGIN) == [503, 503]
    go.set()
    answers = [(await each.response()).status for each in clients]
    assert sorted(answers) == [200] * 65 + [503] * 96
