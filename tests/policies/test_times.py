"""What the hooks of a plugin take: histograms in shared memory, and a warning for those that keep the event loop."""

import asyncio
import logging
import re
import time
from typing import Any

import pytest

from fastgate import Gateway, GatewayConfig, Policy, Request, testing
from fastgate._core.memory.plugin_times import PluginTimes, plugin_times, plugins_size
from fastgate._core.memory.segment import Segment


class Slow(Policy):
    """Keeps the loop for ``block`` seconds at once, ``later`` after it has waited."""

    def __init__(self, options: dict[str, float]) -> None:
        self.block = options.get("block", 0.0)
        self.later = options.get("later", 0.0)
        self.wait = options.get("wait", 0.0)

    def on_request(self, request: Request) -> Any:
        spin(self.block)
        return self.wait_then(self.later) if self.wait else None

    async def wait_then(self, seconds: float) -> None:
        await asyncio.sleep(self.wait)
        spin(seconds)

    def on_error(self, request: Request, error: Any) -> None:
        spin(self.block)


class Fails(Policy):
    def on_request(self, request: Request) -> None:
        spin(0.002)
        raise ValueError("wrong")


class AlsoFails(Fails):
    async def on_request(self, request: Request) -> None:  # type: ignore[override]
        await asyncio.sleep(0.002)
        raise ValueError("wrong")


def spin(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def times(gateway: Gateway, name: str) -> tuple[Any, Any, int]:
    found: Any = gateway.metrics()["plugins"]
    return found[name]["running"], found[name]["waiting"], found[name]["over_budget"]


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


async def test_each_hook_is_counted_once() -> None:
    async with testing.run(Slow, options={"block": 0.003}) as gateway:
        for count in (1, 2, 3):
            await gateway.get()
            running, waiting, _ = times(gateway.gateway, "Slow")
            assert (running.count, waiting.count) == (count, 0)
        assert running.sum >= 3 * 3000


async def test_what_waits_is_counted_apart() -> None:
    async with testing.run(Slow, options={"block": 0.002, "wait": 0.01, "later": 0.002}) as gateway:
        await gateway.get()
        running, waiting, _ = times(gateway.gateway, "Slow")
        assert (running.count, waiting.count) == (1, 1)
        assert running.sum >= 4000
        assert waiting.sum >= 9000


@pytest.mark.parametrize("kind", [Fails, AlsoFails])
async def test_a_hook_that_fails_counts_too(kind: type[Policy]) -> None:
    async with testing.run(kind) as gateway:
        assert (await gateway.get()).status == 500
        running, waiting, _ = times(gateway.gateway, kind.__name__)
        assert (running.count, waiting.count) == (1, 1 if kind is AlsoFails else 0)


async def test_a_client_that_leaves_ends_the_count() -> None:
    async with testing.run(Slow, options={"wait": 60}) as gateway:
        async with testing.RawClient(gateway.port) as client:
            await client.send(testing.compose_request("GET"))
            await asyncio.sleep(0.01)
        async with asyncio.timeout(5):
            while times(gateway.gateway, "Slow")[1].count == 0:
                await asyncio.sleep(0.001)


@pytest.mark.parametrize("options", [{"block": 0.01}, {"wait": 0.001, "later": 0.01}], ids=["at once", "after a wait"])
async def test_a_hook_over_its_budget_is_told_of_once_a_minute(
    options: dict[str, float], caplog: pytest.LogCaptureFixture
) -> None:
    policy = Slow(options)
    async with testing.RecordingUpstream() as upstream:
        config = testing.proxy_config(upstream.port, route={"name": "api", "policies": [{"use": "slow"}]})
        config["plugins"] = [{"name": "slow", "use": "nowhere:Slow", "budget": "5ms"}]
        async with Gateway(GatewayConfig.from_dict(config), policies={"slow": policy}) as gateway:
            for _ in range(3):
                async with testing.RawClient(gateway.port) as client:
                    await client.request(testing.compose_request("GET"))
            assert times(gateway, "slow")[2] == 3
            (said,) = warned(caplog)
            told = re.fullmatch(
                r"plugin slow: (\w+) on route 'api' held the event loop for ([\d.]+) ms, its budget is 5 ms", said
            )
            assert told is not None, said
            assert told[1] == "on_request"
            assert float(told[2]) >= 10
            # Another budget is used after a reload, and the object stays.
            config["plugins"][0]["budget"] = 0
            await gateway.reload(GatewayConfig.from_dict(config))
            async with testing.RawClient(gateway.port) as client:
                await client.request(testing.compose_request("GET"))
            assert times(gateway, "slow")[2] == 3
            assert gateway._plugins.policies["slow"] is policy


async def test_by_default_a_blocked_loop_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    async with testing.run(Slow, options={"block": 0.06}) as gateway:
        await gateway.get()
    assert "its budget is 50 ms" in warned(caplog)[0]


async def test_waiting_is_no_blocking() -> None:
    async with testing.run(Slow, options={"wait": 0.1}) as gateway:
        assert (await gateway.get()).status == 200
        running, waiting, _ = times(gateway.gateway, "Slow")
        assert waiting.sum >= 90_000 > running.sum


async def test_the_next_warning_has_the_number_since(caplog: pytest.LogCaptureFixture) -> None:
    async with testing.run(Slow, options={"block": 0.055}) as gateway:
        assert gateway.gateway._engine is not None
        match = gateway.gateway._engine.runtime.router.match("GET", "/")
        assert match is not None
        meter = match.value.on_request[0].meter
        assert meter.again == 60_000_000
        for _ in range(3):
            await gateway.get()
        meter.again = 0
        await gateway.get()
    first, second = warned(caplog)
    assert first.endswith("its budget is 50 ms")
    assert second.endswith("its budget is 50 ms; 3 times since the last warning")


def test_workers_are_added_up_and_a_name_is_one_plugin() -> None:
    segment = Segment.create(slots=3, plugins=plugins_size(3))
    for slot in range(3):
        PluginTimes(segment.region("plugins"), slot, "a", 0.001)
    found = plugin_times(segment.region("plugins"), ["a", "b"])
    assert set(found) == {"a", "b"}
    assert all(len(each["running"]) == 0 for each in found.values())


def test_more_plugins_than_there_is_room_for_run_unmeasured() -> None:
    segment = Segment.create(plugins=plugins_size(1))
    meters = [PluginTimes(segment.region("plugins"), 0, f"p{number}") for number in range(64 + 5)]
    assert len(meters) == 64 + 5
    assert len(plugin_times(segment.region("plugins"), ["p0", f"p{64 + 1}"])) == 2
    assert plugin_times(Segment.create().region("plugins"), ["p0"])["p0"]["over_budget"] == 0


