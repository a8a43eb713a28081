"""Health as clients of a gateway see it: who is asked while targets are sick, ejected, drained, or just back."""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from core.regions import ring

from fastgate import Gateway
from fastgate._core.delivery.health import TargetHealth, UpstreamHealth
from fastgate.testing import Answer, RawClient, RecordingUpstream, UpstreamExchange, gateway_to

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
INTERVAL = 0.1


class Patient:
    """A target that says how it is when it is probed, and answers everything else with its number."""

    def __init__(self, number: int, upstream: RecordingUpstream) -> None:
        self.number = number
        self.upstream = upstream
        self.sick = False
        self.probes: list[tuple[float, bool]] = []
        self.asked = 0
        self.delay = 0.0
        self.hold: asyncio.Event | None = None
        upstream.default = Answer(self.answer)

    async def answer(self, exchange: UpstreamExchange) -> None:
        if exchange.request.target == "/healthz":
            self.probes.append((time.monotonic(), self.sick))
            await exchange.send(b"HTTP/1.1 %b\r\nContent-Length: 0\r\n\r\n" % (
                b"503 Service Unavailable" if self.sick else b"200 OK"))
        else:
            self.asked += 1
            await asyncio.sleep(self.delay)
            if self.hold is not None:
                await self.hold.wait()
            await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % self.number)


@contextlib.asynccontextmanager
async def ward(count: int, **upstream: Any) -> AsyncIterator[tuple[Gateway, list[Patient]]]:
    """A gateway before so many targets, each probed and found well."""
    active = {"path": "/healthz", "interval": f"{INTERVAL}s", "healthy": 2, "unhealthy": 3}
    async with contextlib.AsyncExitStack() as stack:
        patients = [
            Patient(number, await stack.enter_async_context(RecordingUpstream())) for number in range(count)
        ]
        ports = [patient.upstream.port for patient in patients]
        settings = {"health": {"active": active}, **upstream}
        gateway = await stack.enter_async_context(gateway_to(*ports, upstream=settings))
        async with asyncio.timeout(5):
            while not all(patient.probes for patient in patients):
                await asyncio.sleep(0.01)
        yield gateway, patients


async def ask(gateway: Gateway, requests: int, pause: float = 0.0) -> Counter[int]:
    """How many of the requests each target answered."""
    seen: Counter[int] = Counter()
    async with RawClient(gateway.port) as client:
        for _ in range(requests):
            response = await client.request(GET)
            assert response.status == 200
            seen[int(response.body)] += 1
            if pause:
                await asyncio.sleep(pause)
    return seen


async def until(gateway: Gateway, targets: set[int], within: float = 10.0) -> float:
    """Asks until no others than these answer, and each of these does: when that began, and that it stays so."""
    async with asyncio.timeout(within):
        while set(await ask(gateway, 12)) != targets:
            await asyncio.sleep(0.005)
    return time.monotonic()


def target(gateway: Gateway, patients: list[Patient], number: int) -> TargetHealth:
    """What the control plane of the gateway knows a target by."""
    assert gateway._control is not None
    names = [f"127.0.0.1:{patient.upstream.port}" for patient in patients]
    segment = gateway._control.segment
    return UpstreamHealth(segment.rows, "backend", names, events=ring(segment)).target(number)


async def test_a_target_whose_probe_fails_is_left_out_after_as_many_as_configured_and_comes_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "fastgate.upstreams")
    async with ward(2) as (gateway, patients):
        await until(gateway, {0, 1})
        sick = patients[0]
        sick.sick = True
        began = time.monotonic()
        out = await until(gateway, {1})
        bad = [at for at, was_sick in sick.probes if was_sick]
        print(f"out {out - began:.2f} s after it was sick, with {len(bad)} probes that said so")
        assert len(bad) >= 3
        # It was used until the third bad probe: no answer of its own came later.
        asked = sick.asked
        assert set(await ask(gateway, 20)) == {1}
        assert sick.asked == asked
        assert "the probe says down (503 is not 2xx or 3xx)" in caplog.text
        sick.sick = False
        began, seen = time.monotonic(), len(sick.probes)
        back = await until(gateway, {0, 1})
        good = len(sick.probes) - seen
        print(f"back {back - began:.2f} s after it was well, with {good} probes that said so")
        assert good >= 2
        assert caplog.text.count("the probe says up (answered 200)") == 3


ALL = {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("over_probes", "sick", "used"),
    [
        (False, 1, {1, 2, 3}), (False, 2, {2, 3}), (False, 3, {3}), (False, 4, ALL),
        (True, 2, {2, 3}), (True, 3, ALL), (True, 4, ALL),
    ],
)  # fmt: skip
async def test_targets_that_the_probe_says_are_down_are_used_when_none_is_up(
    over_probes: bool, sick: int, used: set[int], caplog: pytest.LogCaptureFixture
) -> None:
    """With `panic_over_probes` when too few are."""
    caplog.set_level(logging.INFO, "fastgate.upstreams")
    async with ward(4, panic_threshold=0.5, panic_over_probes=over_probes) as (gateway, patients):
        for patient in patients[:sick]:
            patient.sick = True
        async with asyncio.timeout(10):
            while caplog.text.count("the probe says down") < sick:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.15)   # one look of the control plane for the log
        assert set(await ask(gateway, 16)) == used
        panic = sick > 2 and used == ALL
        assert ("too few targets are healthy: using all targets" in caplog.text) == panic
        for patient in patients:
            patient.sick = False
        await until(gateway, ALL)
        if panic:
            async with asyncio.timeout(5):
                while "enough targets are healthy: using only healthy targets again" not in caplog.text:
                    await asyncio.sleep(0.01)


@pytest.mark.parametrize("balancer", ["round_robin", "least_connections", "power_of_two"])
async def test_slow_start_ramps_from_little_to_its_share(balancer: str) -> None:
    async with ward(2, balancer=balancer, slow_start="2s") as (gateway, patients):
        await until(gateway, {0, 1})
        patients[0].sick = True
        await until(gateway, {1})
        health = target(gateway, patients, 0)
        patients[0].sick = False
        async with asyncio.timeout(5):
            while health.status().state != "up":
                await ask(gateway, 1)
        shares = []
        for patient in patients:
            patient.delay = 0.002
        for _ in range(5):
            ends, counts = time.monotonic() + 0.5, Counter[int]()
            while time.monotonic() < ends:
                # Several at once: who has fewest in flight for its weight is not known to idle targets.
                for seen in await asyncio.gather(*(ask(gateway, 5) for _ in range(12))):
                    counts += seen
            shares.append(counts[0] / counts.total())
        after = shares.pop()
        print(f"{balancer}: {', '.join(f'{share:.0%}' for share in shares)}, then {after:.0%}")
        assert shares[0] < 0.3
        assert shares[0] < shares[2] < after
        assert 0.4 < after < 0.6


async def test_a_drained_target_gets_nothing_new_and_finishes_what_it_has() -> None:
    async with ward(2) as (gateway, patients):
        await until(gateway, {0, 1})
        for patient in patients:
            patient.hold = asyncio.Event()
        async with contextlib.AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(RawClient(gateway.port)) for _ in range(4)]
            asked = [patient.asked for patient in patients]
            waiting = [asyncio.create_task(client.request(GET)) for client in clients]
            async with asyncio.timeout(5):
                while sum(patient.asked for patient in patients) < sum(asked) + 4:
                    await asyncio.sleep(0.01)
            assert [patient.asked - before for patient, before in zip(patients, asked, strict=True)] == [2, 2]
            health = target(gateway, patients, 0)
            health.drain()
            assert health.status().state == "drained"
            patients[1].hold.set()
            before = patients[0].asked
            assert set(await ask(gateway, 20)) == {1}
            patients[0].hold.set()
            assert sorted([int((await each).body) for each in waiting]) == [0, 0, 1, 1]
            assert set(await ask(gateway, 20)) == {1}
            assert patients[0].asked == before
            health.enable()
            await until(gateway, {0, 1})
