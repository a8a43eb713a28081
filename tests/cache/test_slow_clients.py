"""Clients that stop taking what they asked for, in a store too small for all: it serves on, and few are cut."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import lru_cache

import pytest
from cache.support import Origin, ask

from fastgate._core.memory.cache.cache_store import CacheStore
from fastgate._core.probes import cache_probe
from fastgate.gateway import Gateway
from fastgate.testing import RawClient, RecordedRequest, RecordedResponse, proxy_config, start_gateway
from fastgate.testing.http_messages import CutShort

LONG = 5_000_000
SHORT = 60_000
OTHER = 2_000
OBJECTS = 30
RECORDS = 1
"""Long ones: more than the store has room for."""


@lru_cache(64)
def body_of(target: str) -> bytes:
    """Of /long..., /short... and others; no two are alike in any part."""
    size = LONG if target.startswith("/long") else SHORT if target == "/short" else OTHER
    return random.Random(target).randbytes(size)


def answer(request: RecordedRequest) -> tuple[int, dict[str, str], bytes]:
    return 200, {"Cache-Control": "max-age=600"}, body_of(request.target)


@asynccontextmanager
async def small_store() -> AsyncIterator[tuple[Origin, Gateway]]:
    async with Origin(answer) as origin:
        route = {"cache": {"max_object": "6MB"}, "min_rate": 0}
        config = proxy_config(origin.port, route=route, gateway={"min_rate": 0})
        config["cache"] = {"max_bytes": "32MB"}
        async with start_gateway(config) as gateway:
            yield origin, gateway


class Slow:
    """A client that has asked for these targets, and has taken no more than the first head."""

    def __init__(self, client: RawClient, first: RecordedResponse, targets: Sequence[str]) -> None:
        self.client, self.first, self.targets = client, first, targets

    async def whole(self) -> bool:
        """Takes the rest. False: it was cut."""
        target = self.targets[0]
        try:
            assert await self.client.body(self.first) == body_of(target)
            for target in self.targets[1:]:
                assert (await self.client.response()).body == body_of(target)
        except CutShort as cut:
            assert cut.response is not None
            assert body_of(target).startswith(cut.response.body)
            return False
        return True


class SlowClients(AsyncExitStack):
    """Slow clients of a gateway, which leave at the end."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__()
        self.port = gateway.port

    async def ask(self, *targets: str) -> Slow:
        client = await self.enter_async_context(RawClient(self.port, timeout=20, receive_buffer=4096))
        await client.send("".join(f"GET {target} HTTP/1.1\r\nHost: example.com\r\n\r\n" for target in targets).encode())
        return Slow(client, await client.head(), targets)

    async def ask_for_all(self) -> list[Slow]:
        """Each one for an object of its own: together they use more than there is."""
        return [await self.ask(f"/long-{number}") for number in range(OBJECTS)]


async def stored(origin: Origin, gateway: Gateway, target: str) -> bool:
    """Whether an object can be stored, or is already."""
    await ask(gateway.port, target)
    before = len(origin.asked)
    assert (await ask(gateway.port, target)).body == body_of(target)
    return len(origin.asked) == before


async def test_in_a_full_store_a_client_may_pause() -> None:
    async with small_store() as (origin, gateway), SlowClients(gateway) as clients:
        assert await stored(origin, gateway, "/long")
        slow = await clients.ask("/long")
        began = time.monotonic()
        number = 0
        while number < 30 or time.monotonic() < began + 7:
            assert await stored(origin, gateway, f"/long-{number}")
            number += 1
            await asyncio.sleep(0.05)
        assert gateway.cache.stats().evictions > 20
        assert await slow.whole()


@pytest.mark.parametrize("stalls", [0, 2])
async def test_when_all_is_in_use_a_short_pause_and_a_worker_that_stood_still_cut_nobody(stalls: int) -> None:
    async with small_store() as (origin, gateway), SlowClients(gateway) as clients:
        slow = await clients.ask_for_all()
        assert not await stored(origin, gateway, "/long-more")
        for _ in range(stalls):
            time.sleep(1.5)  # noqa: ASYNC251
            await asyncio.sleep(0.1)
        await asyncio.sleep(1.5)
        for number in range(20):
            await ask(gateway.port, f"/other-{number}")
        assert all(await asyncio.gather(*(each.whole() for each in slow)))


async def test_those_who_take_nothing_do_not_keep_others_from_being_stored() -> None:
    async with small_store() as (origin, gateway), SlowClients(gateway) as clients:
        slow = await clients.ask_for_all()
        assert not await stored(origin, gateway, "/long-more")
        async with asyncio.timeout(20):
            while not await stored(origin, gateway, "/long-more"):
                await asyncio.sleep(0.2)
        for number in range(40):
            await stored(origin, gateway, f"/long-new-{number}")
        whole = await asyncio.gather(*(each.whole() for each in slow))
        assert 0 < whole.count(False) == gateway.cache.stats().readers_cut < OBJECTS
        assert gateway.cache.stats().pinned == 0


def store_of(gateway: Gateway) -> CacheStore:
    assert gateway._cached_by is not None
    return gateway._cached_by.memory


async def starved_until_nothing_is_pinned(gateway: Gateway) -> int:
    """How many seconds that took."""
    for seconds in range(20):
        if gateway.cache.stats().pinned == 0:
            return seconds
        await asyncio.sleep(1)
        cache_probe.starve(store_of(gateway))
    raise AssertionError("pinned for 20 seconds")


@pytest.mark.parametrize("target", ["/long", "/short"])
async def test_what_is_left_for_a_client_that_takes_nothing(target: str) -> None:
    """Of what is short there is a copy; what is long is there as long as it is not thrown out."""
    async with small_store() as (origin, gateway), SlowClients(gateway) as clients:
        assert await stored(origin, gateway, target)
        # All are more than the kernel takes.
        slow = await clients.ask(*[target] * (100 if target == "/short" else 1))
        assert gateway.cache.stats().pinned > 0
        assert await starved_until_nothing_is_pinned(gateway) >= (1 if target == "/short" else 5)
        gateway.cache.purge_everything()
        cache_probe.free_all(store_of(gateway))
        assert await slow.whole() == (target == "/short")
        assert gateway.cache.stats().readers_cut == (target == "/long")
        assert gateway.cache.stats().pinned == 0


async def test_who_lost_his_pins_finds_what_was_moved() -> None:
    async with small_store() as (origin, gateway), SlowClients(gateway) as clients:
        for _ in range(4):
            assert await stored(origin, gateway, "/long")
        slow = await clients.ask("/long")
        await starved_until_nothing_is_pinned(gateway)
        async with RawClient(gateway.port, keep=False) as other:
            for number in range(1000):
                await ask(other, f"/other-{number}")
            # Its record goes to another segment, since it is used; what is not used goes.
            before = cache_probe.segments(store_of(gateway))[RECORDS]
            for _ in range(300):
                cache_probe.work(store_of(gateway), 1 << 18)
                await ask(other, "/long")
        assert cache_probe.segments(store_of(gateway))[RECORDS][3] > before[3]
        assert gateway.cache.stats().evictions > 100
        assert sum(each.target == "/long" for each in origin.asked) == 1
        assert await slow.whole()
