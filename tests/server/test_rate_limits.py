"""Rate limits over four workers, counted by the target on its own clock; a worker that is killed changes nothing.

Every request carries when its client sent it, and the target notes when it came; both read the one clock of the host.
So of each admission a span of a few milliseconds is known in which it was decided, and what is asserted of decisions
holds whatever the way to the target took: a limit is broken for certain only when the whole spans lie too close.
"""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from server.harness import REAL, config, running
from server.traffic import Load, get, scaled, segment_of, targets

CLIENTS, WORKERS = 16, 4
SECOND = 1_000_000_000


class Admission(NamedTuple):
    """Times in nanoseconds: of the host's monotonic clock, the last one of its wall clock."""

    sent: int
    arrived: int
    wall: int


class Flood(NamedTuple):
    admissions: list[Admission]
    """In the order of their arrival."""
    outcomes: dict[str, int]

    @property
    def slowest(self) -> float:
        """Milliseconds, the longest that an admission took to the target."""
        return max(each.arrived - each.sent for each in self.admissions) / 1e6


async def flood(limit: dict[str, Any], seconds: float, begin: Callable[[], float], killed: bool) -> Flood:
    """Sixteen clients with one key for so long, from ``begin()`` seconds on; ``killed``: a worker is, half-way."""
    settings = config(workers=WORKERS)
    settings["routes"][0]["rate_limit"] = limit
    # Answers take a while, so that the worker that is killed has admitted what it has not answered.
    async with targets({"delay": (0.02, 0.03)}) as (target,):
        settings["upstreams"] = {"backend": {"targets": [target.name]}}
        async with running(settings, REAL) as server:
            port = await server.complete(WORKERS)
            segment = segment_of(server.pid)
            await asyncio.sleep(begin())
            stop = time.monotonic() + seconds
            async with Load(port, CLIENTS, lambda *_: get("/", f"X-Sent: {time.monotonic_ns()}")) as load:
                if killed:
                    await asyncio.sleep(seconds / 2)
                    os.kill(segment.pid(2), signal.SIGKILL)
                await asyncio.sleep(stop - time.monotonic())
            if killed:
                await server.says("worker 2 killed by SIGKILL")
            arrivals = (await target.control())["arrivals"]
    admissions = [Admission(sent, arrived, wall) for arrived, wall, sent in arrivals]
    seen = Flood(admissions, dict(load.outcomes))
    print(f"{limit}: {seen.outcomes}, {len(admissions)} admitted, at most {seen.slowest:.1f} ms on their way")
    assert seen.outcomes["429"] > len(admissions)
    assert set(seen.outcomes) <= ({"200", "429", "unanswered"} if killed else {"200", "429"})
    assert seen.outcomes.get("unanswered", 0) < CLIENTS
    # What the target saw was admitted, and what was admitted it saw, but for the answers that died with a worker.
    assert 0 <= len(admissions) - seen.outcomes["200"] <= seen.outcomes.get("unanswered", 0)
    return seen


def assert_never_more(admissions: list[Admission], allowed: Callable[[float], float]) -> None:
    """No run of admissions, of which the first was sent and the last arrived so far apart, is longer than allowed."""
    for first, begin in enumerate(admissions):
        sent = begin.sent
        for last in range(first, len(admissions)):
            sent = min(sent, admissions[last].sent)
            span = (admissions[last].arrived - sent) / SECOND
            assert last - first + 1 <= allowed(span), f"admissions {first} to {last} within {span:.4f} s"


@pytest.mark.parametrize("killed", [False, True])
async def test_token_bucket(killed: bool) -> None:
    rate, burst = 100, 50
    limit = {"algorithm": "token_bucket", "rate": rate, "burst": burst, "key": "client_ip"}
    seen = (await flood(limit, scaled(3), lambda: 0.0, killed)).admissions
    span = (seen[-1].arrived - seen[0].arrived) / SECOND
    expected = burst + rate * span
    print(f"{len(seen)} admitted in {span:.4f} s on the target's clock: {burst} + {rate} * {span:.4f} = {expected:.2f}")
    ways = sum(seen[index].arrived - seen[index].sent for index in (0, -1)) / SECOND
    assert abs(len(seen) - expected) <= 1 + rate * ways
    assert_never_more(seen, lambda span: burst + rate * span)


@pytest.mark.parametrize("killed", [False, True])
async def test_fixed_window(killed: bool) -> None:
    """From one tenth into a window to nine tenths of the last one: as many times the limit as there are windows."""
    rate, per, windows = 40, 0.5, max(2, round(scaled(5)))
    limit = {"algorithm": "fixed_window", "rate": rate, "per": f"{per}s", "key": "client_ip"}
    seen = await flood(limit, (windows - 0.2) * per, lambda: (0.1 - time.time() / per % 1) % 1 * per, killed)
    print(f"{len(seen.admissions)} admitted in {windows} windows of {rate}")
    counts: dict[int, int] = {}
    for each in seen.admissions:
        # Decided in this window for certain, if it was sent in it too.
        window = int(each.wall / SECOND / per)
        if (each.wall - (each.arrived - each.sent)) / SECOND >= window * per:
            counts[window] = counts.get(window, 0) + 1
    print("by window:", counts)
    assert max(counts.values()) <= rate
    assert len(seen.admissions) == windows * rate


@pytest.mark.parametrize("killed", [False, True])
async def test_sliding_window_log(killed: bool) -> None:
    """Under a flood the limit is used up at once whenever the log's length has passed, and never exceeded."""
    rate, per, turns = 40, 0.5, max(2, round(scaled(5)))
    limit = {"algorithm": "sliding_window_log", "rate": rate, "per": f"{per}s", "key": "client_ip"}
    seen = await flood(limit, (turns - 0.4) * per, lambda: 0.0, killed)
    print(f"{len(seen.admissions)} admitted in {turns} turns of {rate}")
    assert_never_more(seen.admissions, lambda span: rate if span < per else float("inf"))
    assert len(seen.admissions) == turns * rate
