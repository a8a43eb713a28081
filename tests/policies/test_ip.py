"""Who may use a route by the address of the client."""

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from fastgate.config import ConfigError, GatewayConfig
from fastgate.testing import RawClient, RecordingUpstream, gateway_to, proxy_config

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
FROM = "GET /a HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {}\r\n\r\n"


async def statuses(rules: dict[str, Any], *addresses: str) -> list[int]:
    """What clients with these addresses get, by word of a proxy that is believed."""
    gateway = {"trusted_proxies": ["127.0.0.1"]}
    async with RecordingUpstream() as upstream, gateway_to(upstream.port, gateway=gateway, route={"ip": rules}) as to:
        async with RawClient(to.port) as client:
            found = [(await client.request(FROM.format(address).encode())).status for address in addresses]
            assert len(upstream.requests) == found.count(200)
    return found


@pytest.mark.parametrize(
    ("rules", "served", "refused"),
    [
        ({"allow": ["10.0.0.0/8"]}, ["10.0.0.1", "10.255.255.255", "::ffff:10.1.1.1"], ["11.0.0.1", "::a00:1"]),
        ({"deny": ["10.0.0.0/8"]}, ["11.0.0.1", "2001:db8::1"], ["10.0.0.1", "::ffff:10.0.0.1"]),
        ({"allow": ["10.0.0.0/8"], "deny": ["10.1.0.0/16"]}, ["10.0.0.1", "10.2.0.1"], ["10.1.2.3", "192.0.2.1"]),
        ({"allow": ["10.1.2.3"], "deny": ["10.0.0.0/8"]}, ["10.1.2.3"], ["10.1.2.4", "192.0.2.1"]),
        ({"deny": ["0.0.0.0/0"]}, ["2001:db8::1"], ["192.0.2.1", "::ffff:192.0.2.1"]),
        ({"allow": ["::/0"]}, ["2001:db8::1"], ["192.0.2.1"]),
        ({"allow": ["2001:db8::/32"], "deny": ["2001:db8:1::/48"]}, ["2001:db8::1"], ["2001:db8:1::1", "2001:db9::1"]),
    ],
)
async def test_the_most_specific_network_decides(rules: dict[str, Any], served: list[str], refused: list[str]) -> None:
    assert await statuses(rules, *served, *refused) == [200] * len(served) + [403] * len(refused)


async def test_a_refusal() -> None:
    async with RecordingUpstream() as upstream, gateway_to(upstream.port, route={"ip": {"deny": ["127.0.0.1"]}}) as to:
        async with RawClient(to.port) as client:
            answer = await client.request(GET)
            problem = json.loads(answer.body)
            assert answer.status == 403
            assert answer.fields["content-type"] == "application/problem+json"
            assert answer.fields["cache-control"] == "no-store"
            assert (problem["status"], problem["instance"]) == (403, "/a")
            assert problem["detail"] == "This client may not use this service."
            assert "127.0.0" not in answer.body.decode()
            assert (await client.request(b"HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n")).status == 403  # connection is kept
        assert not upstream.requests


async def test_what_an_untrusted_peer_says_of_its_address_does_not_matter() -> None:
    async with RecordingUpstream() as upstream, gateway_to(upstream.port, route={"ip": {"allow": ["10.0.0.1"]}}) as to:
        async with RawClient(to.port) as client:
            assert (await client.request(FROM.format("10.0.0.1").encode())).status == 403


@pytest.mark.parametrize(("rules", "status"), [({"allow": ["0.0.0.0/0", "::/0"]}, 403), ({"deny": ["10.0.0.1"]}, 200)])
async def test_the_peer_of_a_unix_socket_has_no_address(rules: dict[str, Any], status: int, tmp_path: Path) -> None:
    path = tmp_path / "s"
    gateway = {"host": f"unix:{path}"}
    async with RecordingUpstream() as upstream, gateway_to(upstream.port, gateway=gateway, route={"ip": rules}):
        async with RawClient(str(path)) as client:
            assert (await client.request(GET)).status == status


async def test_a_refused_body_is_not_waited_for() -> None:
    async with RecordingUpstream() as upstream, gateway_to(upstream.port, route={"ip": {"deny": ["127.0.0.1"]}}) as to:
        async with RawClient(to.port) as client:
            head = b"POST /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 100000\r\n\r\n"
            answer = await client.request(head)
            assert (answer.status, answer.interim) == (403, [])
            with contextlib.suppress(asyncio.TimeoutError):
                assert await client.wait_closed() in ("eof", "reset")


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({}, "routes[0].ip: is empty: set allow or deny"),
        ({"allow": ["10.0.0.0/8"], "deny": ["10.0.0.0/8"]}, "routes[0].ip.deny[0]: 10.0.0.0/8 is also in allow"),
        ({"allow": ["10.0.0.1/8"]}, 'routes[0].ip.allow[0]: "10.0.0.1/8" has bits set beyond its prefix'),
        ({"deny": ["localhost"]}, 'routes[0].ip.deny[0]: "localhost" is not a valid address or network'),
        ({"whitelist": ["10.0.0.1"]}, "routes[0].ip.whitelist: unknown key"),
    ],
)
def test_rules_that_cannot_be(rules: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        GatewayConfig.from_dict(proxy_config(1, route={"ip": rules}))
    assert said in str(caught.value)


def test_a_route_switches_the_default_off() -> None:
    data = proxy_config(1, route={"ip": False})
    data["defaults"] = {"ip": {"allow": ["10.0.0.1"]}}
    assert GatewayConfig.from_dict(data).routes[0].ip is None
