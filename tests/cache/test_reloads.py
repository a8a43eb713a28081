"""What is stored outlives a reload exactly where the answers would be the same, and an upstream that is down."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from cache.looking import ETAG, FRESH, age_of, answering, is_hit, status_of
from cache.support import Fields, Handler, Origin, ask

from fastgate.config import GatewayConfig
from fastgate.gateway import Gateway
from fastgate.testing import RecordedRequest, proxy_config, start_gateway


class Reloading:
    def __init__(self, origin: Origin, gateway: Gateway, config: dict[str, Any]) -> None:
        self.origin = origin
        self.gateway = gateway
        self.config = config

    async def reload(self, cache: Mapping[str, Any] | None = None, **route: Any) -> None:
        """The same route with other keys."""
        table = {**self.config["routes"][0], **route}
        table["cache"] = {**table["cache"], **(cache or {})}
        await self.gateway.reload(GatewayConfig.from_dict({**self.config, "routes": [table]}))

    async def ask(self, target: str = "/a", **fields: str) -> Any:
        return await ask(self.gateway.port, target, fields=fields)


@asynccontextmanager
async def reloading(handler: Handler, cache: Mapping[str, Any] | None = None) -> AsyncIterator[Reloading]:
    async with Origin(handler) as origin:
        config = proxy_config(origin.port, route={"cache": dict(cache or {})})
        async with start_gateway(config) as gateway:
            yield Reloading(origin, gateway, config)


KEEP: dict[str, dict[str, Any]] = {
    "nothing": {},
    "ttl": {"cache": {"ttl": "10s"}},
    "max_object": {"cache": {"max_object": 5000}},
    "stale_if_error": {"cache": {"stale_if_error": "60s"}},
    "collapse": {"cache": {"collapse": False}},
    "timeouts": {"timeouts": {"read": "10s"}},
    "response_headers": {"response_headers": {"set": {"x-new": "1"}}},
}
SEPARATE: dict[str, dict[str, Any]] = {
    "host_header": {"host_header": "other.com"},
    "add_prefix": {"add_prefix": "/v2"},
    "request_headers": {"request_headers": {"set": {"x-tenant": "b"}}},
    "key": {"cache": {"key": ["header:x-a"]}},
    "vary": {"cache": {"vary": ["x-a"]}},
    "query": {"cache": {"query": {"sort": True}}},
    "set_cookie": {"cache": {"set_cookie": "strip"}},
    "bypass": {"cache": {"bypass": ["header:x-preview"]}},
}


@pytest.mark.parametrize("case", [*KEEP, *SEPARATE])
async def test_a_reload_keeps_what_would_be_answered_the_same(case: str) -> None:
    async with reloading(answering(200, FRESH)) as stand:
        await stand.ask()
        await stand.reload(**(KEEP | SEPARATE)[case])
        assert is_hit(await stand.ask()) == (case in KEEP)
        await stand.reload()
        assert is_hit(await stand.ask()), "what was stored under the first rules is good under them again"


async def test_an_upstream_that_is_down_a_reload_and_back_up() -> None:
    up = True

    def handler(_: RecordedRequest) -> tuple[int, Fields, bytes]:
        if not up:
            return 503, {"Retry-After": "0"}, b""
        first = len(stand.origin.asked) == 1
        lives = {"Cache-Control": "max-age=60", "Age": "70", "ETag": ETAG} if first else FRESH
        return 200, lives, b"old" if first else b"new"

    async with reloading(handler, {"stale_if_error": "600s", "retry_stale": "60s"}) as stand:
        await stand.ask()
        up = False
        for number in range(6):
            answer = await stand.ask()
            assert answer.body == b"old"
            assert status_of(answer)["detail"] == ("retry-later" if number else "stale-if-error")
            assert status_of(answer)["ttl"] <= -10
            assert age_of(answer) >= 70
            if number == 2:
                await stand.reload({"max_object": 5000})
        assert len(stand.origin.asked) == 2, "once in all this time"
        up = True
        answer = await stand.ask(**{"Cache-Control": "no-cache"})
        assert answer.body == b"new"
        assert is_hit(await stand.ask())


async def test_a_gateway_that_stops_finishes_the_fetch_that_others_wait_for() -> None:
    go_on = asyncio.Event()
    async with Origin() as origin:

        async def play(exchange: Any) -> None:
            await exchange.send(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 60000\r\n\r\n")
            await go_on.wait()
            await exchange.send(b"." * 60000)

        origin.play = play
        async with Gateway(GatewayConfig.from_dict(proxy_config(origin.port, route={"cache": {}}))) as gateway:
            waiting = [asyncio.create_task(ask(gateway.port, "/a")) for _ in range(5)]
            await origin.request(0)
            await asyncio.sleep(0.05)
            asyncio.get_running_loop().call_later(0.1, go_on.set)
            await gateway.drain()
        answers = await asyncio.gather(*waiting)
        assert {len(answer.body) for answer in answers} == {60000}
        assert len(origin.asked) == 1
