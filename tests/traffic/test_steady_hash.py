"""Which target a key has: the same today and tomorrow, here and on another host."""

import contextlib

import pytest

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
