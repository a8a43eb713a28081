"""Targets that are killed under load and started again: no client notices, and the log tells it in order."""

import asyncio
import re
import time
from typing import Any

import pytest
from server.harness import REAL, Server, config, running
from server.traffic import Load, TargetProcess, get, lines_of, scaled, targets

INTERVAL, EJECT, OPEN = 0.3, 1.0, 1.0
LAG = 0.35  # what the log may be late: the sweep of the control plane, ten times a second, on a machine that is busy
CLIENTS = 40


def settings(upstreams: list[TargetProcess], balancer: str, *, active: bool) -> dict[str, Any]:
    health: dict[str, Any] = {
        "passive": {"failures": 3, "window": "5s", "eject": f"{EJECT}s", "max_eject": f"{EJECT}s", "max_ejected": 0.5}
    }
    if active:
        health["active"] = {
            "path": "/healthz", "interval": f"{INTERVAL}s", "timeout": "500ms", "healthy": 2, "unhealthy": 2,
        }
    upstream = {
        "targets": [target.name for target in upstreams],
        "balancer": balancer,
        "health": health,
        "breaker": {"scope": "target", "failures": 3, "ratio": 0, "open": f"{OPEN}s", "half_open": 1},
    }
    if balancer == "consistent_hash":
        upstream["hash_key"] = "header:x-user"
    answer = config(workers=4)
    answer["routes"][0]["retry"] = {"attempts": 4, "on": ["connect", "reset"], "backoff": "5ms", "budget": 0.2}
    answer["upstreams"] = {"backend": upstream}
    return answer


def request(client: int, number: int) -> bytes:
    """GET from most clients, PUT with up to 64 KB from some, and answers that take a while from a few."""
    user = f"X-User: {client * 7919 + number}"
    if client % 10 == 0:
        return get("/long", user)
    if client % 4 == 1:
        size = (1, 1000, 20000, 65536)[number % 4]
        head = f"PUT / HTTP/1.1\r\nHost: gateway\r\n{user}\r\nContent-Length: {size}\r\n\r\n"
        return head.encode() + b"b" * size
    return get("/", user)


def transitions(server: Server, target: TargetProcess) -> list[str]:
    return [word for _, word in lines_of(server, rf"target {re.escape(target.name)} of .*: breaker (.+)$")]


async def first_arrival(target: TargetProcess, within: float = 10.0) -> float:
    """When the first request came to a target, as ``time.time()``."""
    async with asyncio.timeout(within):
        while True:
            arrivals = (await target.control())["arrivals"]
            if arrivals:
                return float(arrivals[0][1]) / 1e9
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("balancer", ["round_robin", "least_connections", "consistent_hash"])
async def test_two_of_four_targets_die_and_come_back_unnoticed(balancer: str) -> None:
    async with (
        targets(*[{"delay": (0.001, 0.005)}] * 4) as upstreams,
        running(settings(upstreams, balancer, active=True), REAL) as server,
    ):
        port = await server.complete(4)
        await server.says("the probe says up", times=4)
        async with Load(port, CLIENTS, request) as load:
            await asyncio.sleep(scaled(0.7))
            killed = time.time()
            await asyncio.gather(*(target.kill() for target in upstreams[:2]))
            for target in upstreams[:2]:
                await server.says(rf"target {re.escape(target.name)} .*the probe says down")
            await asyncio.sleep(scaled(1.2))
            restarted = time.time()
            await asyncio.gather(*(target.start() for target in upstreams[:2]))
            listening = time.time()
            used = [await first_arrival(target) for target in upstreams[:2]]
            for target in upstreams[:2]:
                await server.says(rf"target {re.escape(target.name)} .*breaker half-open -> closed")
            await asyncio.sleep(scaled(0.5))
        print(f"{balancer}: {dict(load.outcomes)}, slowest {load.slowest:.3f} s, served by {dict(load.served_by)}")
        print("\n".join(load.odd[:20]))
        for target in upstreams[:2]:
            print(target.name, [f"{at - killed:+.2f} {line}" for at, line in lines_of(
                server, rf"(?:supervisor: )?target {re.escape(target.name)} of upstream 'backend': (.+)$")])
        assert load.failed == {}
        assert load.answered > 500
        for target, arrived in zip(upstreams[:2], used, strict=True):
            (ejected, _), *_ = lines_of(server, rf"target {re.escape(target.name)} .*(ejected for 1 s)$")
            returned = rf"target {re.escape(target.name)} .*(in use again|no longer ejected, but down)$"
            (back, _), *_ = lines_of(server, returned)
            (down, _), *_ = lines_of(server, rf"target {re.escape(target.name)} .*(the probe says down)")
            (_, _), (up, _) = lines_of(server, rf"target {re.escape(target.name)} .*(the probe says up)")
            print(
                f"{target.name}: ejected {ejected - killed:.2f} s and down {down - killed:.2f} s after the kill; "
                f"up {up - listening:.2f} s and asked {arrived - listening:.2f} s after it listened again "
                f"({listening - restarted:.2f} s to start)"
            )
            assert ejected - killed < 0.5
            assert abs(back - ejected - EJECT) < LAG
            assert down - killed < 2 * 1.1 * INTERVAL + LAG
            assert up - listening < 2 * 1.1 * INTERVAL + LAG
            assert down < up - INTERVAL * 0.9
            assert arrived > up - LAG
            assert arrived - up < 1.0
            assert transitions(server, target) == ["closed -> open", "open -> half-open", "half-open -> closed"]
        for target in upstreams[2:]:
            assert transitions(server, target) == []
            assert not lines_of(server, rf"target {re.escape(target.name)} .*ejected")


async def test_without_probes_requests_find_out_and_still_no_client_notices() -> None:
    """Ejections end and breakers try while the targets are still dead: each finds it out anew, at a client's cost."""
    async with (
        targets(*[{"delay": (0.001, 0.005)}] * 4) as upstreams,
        running(settings(upstreams, "round_robin", active=False), REAL) as server,
    ):
        port = await server.complete(4)
        async with Load(port, CLIENTS, request) as load:
            await asyncio.sleep(scaled(0.7))
            await asyncio.gather(*(target.kill() for target in upstreams[:2]))
            for target in upstreams[:2]:
                await server.says(rf"target {re.escape(target.name)} .*breaker half-open -> open", times=2)
            await asyncio.gather(*(target.start() for target in upstreams[:2]))
            for target in upstreams[:2]:
                await first_arrival(target)
                await server.says(rf"target {re.escape(target.name)} .*breaker half-open -> closed")
            await load.more(500)
        print(f"{dict(load.outcomes)}, slowest {load.slowest:.3f} s, served by {dict(load.served_by)}")
        print("\n".join(load.odd[:20]))
        assert load.failed == {}
        for target in upstreams[:2]:
            seen = transitions(server, target)
            print(target.name, seen)
            again = len(seen) // 2 - 2 if len(seen) >= 4 else 0
            assert seen[0] == "closed -> open"
            assert seen[-1] == "half-open -> closed"
            assert seen[1:-1] == ["open -> half-open", "half-open -> open"] * (again + 1) + ["open -> half-open"]
