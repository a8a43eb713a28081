"""``on_health_change``: policies are told what happens to targets, whoever noticed it."""

import asyncio
from typing import Any

import pytest

from fastgate import Gateway, GatewayConfig, Policy
from fastgate.gateway.policy import HealthChange
from fastgate.testing import RawClient, RecordingUpstream, proxy_config

TOLD: list[tuple[str, HealthChange]] = []
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Told(Policy):
    """Notes every change."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.name = options["name"]

    def on_health_change(self, change: HealthChange) -> None:
        TOLD.append((self.name, change))
        raise RuntimeError("logged, and no reason to stop")


class ToldLater(Told):
    """The same, and takes its time."""

    async def on_health_change(self, change: HealthChange) -> None:  # type: ignore[override]
        await asyncio.sleep(0.01)
        TOLD.append((self.name, change))


@pytest.fixture(autouse=True)
def nothing_told() -> None:
    TOLD.clear()


def configured(port: int, *plugins: str, eject: str = "200ms") -> GatewayConfig:
    passive = {"failures": 1, "eject": eject}
    data = proxy_config("127.0.0.1:1", port, upstream={"health": {"passive": passive}})
    data["plugins"] = [
        {"name": kind, "use": f"{__name__}:{kind}", "options": {"name": kind}} for kind in plugins
    ]
    return GatewayConfig.from_dict(data)


async def until_told(*kinds: str) -> None:
    async with asyncio.timeout(5):
        while [change.kind for _, change in TOLD][-len(kinds) :] != list(kinds):
            await asyncio.sleep(0.01)


async def test_every_policy_is_told_in_order() -> None:
    async with RecordingUpstream() as upstream, Gateway(configured(upstream.port, "Told", "ToldLater")) as gateway:
        async with RawClient(gateway.port) as client:
            assert [(await client.request(GET)).status for _ in range(2)] == [200, 200]
        await until_told("ejected", "ejected", "returned", "returned")
    assert [name for name, _ in TOLD] == ["Told", "ToldLater"] * 2
    ejected, returned = TOLD[0][1], TOLD[2][1]
    assert ejected == ("backend", "127.0.0.1:1", "ejected", "unknown", "ejected", 200)
    assert returned == ("backend", "127.0.0.1:1", "returned", "ejected", "unknown", 1)


async def test_a_reload_decides_who_is_told() -> None:
    async with RecordingUpstream() as upstream, Gateway(configured(upstream.port)) as gateway:
        assert gateway.metrics()["requests"] == 0
        async with RawClient(gateway.port) as client:
            for _ in range(2):
                await client.request(GET)
            await asyncio.sleep(0.5)  # it is ejected and comes back, and nobody wants to know
            await gateway.reload(configured(upstream.port, "Told"))
            for _ in range(2):
                await client.request(GET)
            await until_told("ejected")
            assert len(TOLD) == 1, "what was before is not news"
            await gateway.reload(configured(upstream.port))
            await asyncio.sleep(0.5)
    assert TOLD[-1][1].kind == "ejected"
