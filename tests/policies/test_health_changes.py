"""What policies are told of the health of upstreams: every worker the same, in the order in which it happened."""

import asyncio
import re
from pathlib import Path
from typing import Any

from policies import plugins
from server.harness import REAL, config, eventually, running
from server.traffic import Load, get, targets

from fastgate import GatewayConfig
from fastgate.testing import Answer, RawClient, RecordingUpstream, proxy_config, reset, start_gateway

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
EJECTING = {"health": {"passive": {"failures": 2, "eject": "200ms", "max_ejected": 1.0}}, "panic_threshold": 0}


async def test_every_worker_is_told_everything_in_order(tmp_path: Path) -> None:
    """Two targets of three die and come back; a target's events are also those of the log."""
    settings = config(workers=4)
    settings["plugins"] = [
        {"name": "notes", "use": "policies.plugins:HealthNotes", "options": {"folder": str(tmp_path)}}
    ]
    settings["routes"][0]["retry"] = {"attempts": 4, "on": ["connect", "reset"], "backoff": "5ms"}
    async with targets(*[{}] * 3) as upstreams:
        settings["upstreams"] = {"backend": {
            "targets": [target.name for target in upstreams],
            "health": {
                "active": {"path": "/healthz", "interval": "200ms", "healthy": 1, "unhealthy": 2},
                "passive": {"failures": 2, "eject": "500ms", "max_ejected": 0.7},
            },
            "breaker": {"scope": "target", "failures": 3, "ratio": 0, "open": "400ms"},
        }}
        async with running(settings, REAL) as server:
            port = await server.complete(4)
            await server.says("the probe says up", times=3)
            async with Load(port, 8, lambda *_: get(), pause=0.01):
                for victim in upstreams[:2]:
                    await victim.kill()
                for victim in upstreams[:2]:
                    await server.says(rf"{re.escape(victim.name)} .*the probe says down")
                    await server.says(rf"{re.escape(victim.name)} .*breaker open -> half-open")
                    await victim.start()
                for victim in upstreams[:2]:
                    await server.says(rf"{re.escape(victim.name)} .*breaker half-open -> closed")

            def told() -> list[list[str]]:
                return [file.read_text().splitlines() for file in tmp_path.iterdir()]

            # The first events may have come before a worker was ready: where the last one to come begins, all agree.
            await eventually(lambda: len({each[-1] for each in told() if each}) == 1 and all(told()))
            await asyncio.sleep(0.3)
            seen = sorted(told(), key=len)
            print("\n".join(seen[0]))
            assert len(seen) == 4
            for each in seen:
                assert each[-len(seen[0]):] == seen[0]
            for victim in upstreams[:2]:
                mine = [line.split(" ", 2)[2] for line in seen[0] if line.startswith(f"backend {victim.name} ")]
                breaker = [line.rpartition(" ")[0] for line in mine if line.startswith("breaker ")]
                assert breaker[:2] == ["breaker closed open", "breaker open half-open"]
                assert breaker[-1] == "breaker half-open closed"
                assert "ejected up ejected 500" in mine or "ejected down ejected 500" in mine
                assert mine.index("health up down 0") < mine.index("health down up 0")
                logged = [
                    line.partition("': breaker ")[2]
                    for line in server.log if f"target {victim.name} of" in line and "': breaker " in line
                ]
                assert [" -> ".join(each.split(" ")[1:]) for each in breaker] == logged


def told(upstream: RecordingUpstream, folder: Path, **uses: Any) -> dict[str, Any]:
    answer = proxy_config(upstream.port, upstream=EJECTING, route={"retry": False})
    answer["plugins"] = [
        {"name": name, "use": "policies.plugins:HealthNotes", "options": {"folder": str(folder), **options}}
        for name, options in uses.items()
    ]
    return answer


async def test_who_comes_with_a_reload_is_not_told_the_past(tmp_path: Path) -> None:
    async with RecordingUpstream(default=Answer(reset())) as upstream:
        async with start_gateway(told(upstream, tmp_path)) as gateway:
            for _ in range(2):
                async with RawClient(gateway.port) as client:
                    assert (await client.request(GET)).status == 502
            await asyncio.sleep(0.5)  # ejected, and returned
            await gateway.reload(GatewayConfig.from_dict(told(upstream, tmp_path, notes={})))
            (notes,) = tmp_path.iterdir()
            await asyncio.sleep(0.2)
            assert notes.read_text() == ""
            for _ in range(2):
                async with RawClient(gateway.port) as client:
                    assert (await client.request(GET)).status == 502
            await eventually(lambda: " returned " in notes.read_text())
            assert [line.split(" ")[2] for line in notes.read_text().splitlines()] == ["ejected", "returned"]


async def test_a_reload_loses_no_change(tmp_path: Path) -> None:
    """A policy that stays is told each change once, also those that it had not been told when the reload came."""
    plugins.NOTES.clear()
    settings = proxy_config(1, upstream=EJECTING, route={"retry": False})
    async with RecordingUpstream(default=Answer(reset())) as upstream:
        settings["upstreams"]["backend"]["targets"] = [f"127.0.0.1:{upstream.port}"]
        settings["plugins"] = [{"name": "a", "use": "policies.plugins:SlowNotes"}]
        async with start_gateway(settings) as gateway:
            for turn in range(3):
                for _ in range(2):
                    async with RawClient(gateway.port) as client:
                        assert (await client.request(GET)).status == 502
                await asyncio.sleep(0.7 + 0.2 * turn)  # each ejection is longer than the one before
                await gateway.reload(GatewayConfig.from_dict(settings))
            await eventually(lambda: plugins.NOTES.count("returned") == 3)
    assert plugins.NOTES == ["ejected", "returned"] * 3
