"""Which target a key has: the same today and tomorrow, here and on another host."""

import contextlib

import pytest
from traffic.support import bodies, route_to
from wire.support import head

from fastgate.testing import RawClient, RecordingUpstream, gateway_to, respond


@pytest.mark.parametrize("balancer", ["ip_hash", "consistent_hash"])
async def test_another_gateway_makes_the_same_choice(balancer: str) -> None:
    async with contextlib.AsyncExitStack() as stack:
        upstreams = [
            await stack.enter_async_context(RecordingUpstream(default=respond(b"%d" % number))) for number in range(3)
        ]
        ports = [upstream.port for upstream in upstreams]
        chosen: list[list[bytes]] = []
        for _ in range(2):
            settings = {"balancer": balancer, "hash_key": "header:x-user", "load_bound": 0}
            if balancer == "ip_hash":
                del settings["load_bound"]
            async with gateway_to(*ports, upstream=settings) as gateway, RawClient(gateway.port) as client:
                answers = []
                for number in range(40):
                    request = b"GET / HTTP/1.1\r\nHost: h\r\nX-User: u%d\r\n\r\n" % number
                    answers.append((await client.request(request)).body)
                chosen.append(answers)
        assert chosen[0] == chosen[1]
        assert len(set(chosen[0])) == 3


ABSENT = {
    "header": "header:x-user",
    "cookie": "cookie:sid",
    "param": "param:id",
    "identity": "key",
    "claim": "claim:sub",
    "list": ["cookie:sid", "header:x-user"],
}


@pytest.mark.parametrize("balancer", ["ip_hash", "consistent_hash"])
@pytest.mark.parametrize("key", ABSENT.values(), ids=ABSENT)
async def test_requests_without_the_key_go_to_targets_by_chance(traffic, balancer: str, key: str | list[str]) -> None:
    """By weight: one of the three gets two thirds."""
    ports = [(await traffic.named(b"%d" % number)).port for number in range(3)]
    weights = zip(ports, (4, 1, 1), strict=True)
    targets = [{"host": "127.0.0.1", "port": port, "weight": weight} for port, weight in weights]
    upstream = {"balancer": balancer, "hash_key": key, "targets": targets}
    client = await traffic.serve(route_to("backend"), upstreams={"backend": upstream})
    seen = await bodies(client, 300)
    assert set(seen) == {b"0", b"1", b"2"}
    assert 140 < seen[b"0"] < 260


@pytest.mark.parametrize("balancer", ["ip_hash", "consistent_hash"])
async def test_a_request_with_a_part_of_the_key_stays(traffic, balancer: str) -> None:
    """An empty value is one too, and so is what is the same for all."""
    ports = [(await traffic.named(b"%d" % number)).port for number in range(3)]
    keys = {"/several": ["cookie:sid", "header:x-user"], "/route": "route"}
    client = await traffic.serve(
        *(route_to(path[1:], path=path) for path in keys),
        upstreams={
            path[1:]: {"balancer": balancer, "hash_key": key, "load_bound": 0, "targets": ports}
            if balancer == "consistent_hash"
            else {"balancer": balancer, "hash_key": key, "targets": ports}
            for path, key in keys.items()
        },
    )
    for request in (
        head("Cookie: sid=1", target="/several"), head("X-User:", target="/several"), head(target="/route")
    ):
        assert len(await bodies(client, 60, request)) == 1


async def test_a_try_after_a_failure_is_drawn_among_the_others(traffic) -> None:
    good = await traffic.named(b"good")
    upstream = {"balancer": "ip_hash", "hash_key": "cookie:sid", "targets": [good.port, traffic.refusing_port()]}
    client = await traffic.serve(route_to("backend"), upstreams={"backend": upstream})
    assert await bodies(client, 40) == {b"good": 40}
