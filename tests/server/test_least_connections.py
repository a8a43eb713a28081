"""Least connections over four workers: a slow target has no more in flight than the others, but for a race."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from server.harness import REAL, Server, config, environment, eventually, running
from server.traffic import Load, TargetProcess, get, scaled, segment_of, targets

WORKERS, CLIENTS = 4, 40
WATCH = Path(__file__).with_name("in_flight_watch.py")


def settings(upstreams: list[TargetProcess]) -> dict[str, Any]:
    answer = config(workers=WORKERS)
    answer["upstreams"] = {"backend": {
        "targets": [target.name for target in upstreams], "balancer": "least_connections",
    }}
    return answer


async def watch(server: Server, rows: list[int], seconds: float) -> dict[str, Any]:
    """What a process of its own sees of the words in shared memory; see `in_flight_watch`."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(WATCH), str(server.pid), json.dumps(rows), str(seconds),
        stdout=asyncio.subprocess.PIPE, env=environment(),
    )
    said, _ = await process.communicate()
    seen: dict[str, Any] = json.loads(said)
    return seen


async def test_a_slow_target_never_has_more_in_flight_than_the_others_and_one_for_each_worker() -> None:
    # The machine keeps up with this load, so that a client that has its answer asks again at once. Where it does not,
    # answers arrive in batches, and between them a target that has just answered several has that many less: no
    # balancer can foresee that.
    slow, fast = {"delay": (0.4, 1.2)}, {"delay": (0.04, 0.2)}
    async with targets(slow, fast, fast, fast) as upstreams, running(settings(upstreams), REAL) as server:
        port = await server.complete(WORKERS)
        segment = segment_of(server.pid)
        rows = [segment.rows.row(f"backend\0{target.name}") for target in upstreams]
        async with Load(port, CLIENTS, lambda *_: get()) as load:
            await load.more(500)
            seen = await watch(server, rows, scaled(3))
            victim = segment.pid(1)
            before = load.outcomes["unanswered"]
            os.kill(victim, signal.SIGKILL)
            await server.says("worker 1 killed by SIGKILL")
            await load.more(300)
            after = await watch(server, rows, scaled(1.5))
        # Nothing is under way any more: nothing is counted, neither by those that live nor for the one that died.
        # A client has its answer a moment before its exchange is settled.
        await eventually(lambda: [segment.rows.requests_in_flight(row) for row in rows] == [0] * 4, within=2)
        print(f"{dict(load.outcomes)} ({before} unanswered before the kill), {load.served_by}")
        for name, each in (("4 workers", seen), ("after a kill -9", after)):
            print(
                f"{name}: {each['looks']} looks, mean in flight {each['mean']}; at any instant the slow target had at "
                f"most {each['excess']} more than the least of the others"
            )
            assert each["excess"] <= WORKERS
            # It is not spared either: it holds its share of the clients, as the others do.
            assert each["mean"][0] > 0.8 * CLIENTS / len(rows)
        # The killed worker's connections, and nobody else's; what it had read and not answered goes with them.
        assert before == 0
        assert 0 < load.outcomes["unanswered"] < CLIENTS
        assert set(load.outcomes) == {"200", "unanswered"}


async def test_what_a_killed_worker_had_in_flight_is_taken_back() -> None:
    async with targets(*[{"delay": (2.0, 2.0)}] * 2) as upstreams, running(settings(upstreams), REAL) as server:
        port = await server.complete(WORKERS)
        segment = segment_of(server.pid)
        rows = [segment.rows.row(f"backend\0{target.name}") for target in upstreams]

        def in_flight() -> list[int]:
            return [segment.rows.requests_in_flight(row) for row in rows]

        gaps = []

        def filled() -> bool:
            # Nobody is answered meanwhile, so counts only grow: of two looks the kinder one errs by no pick.
            one, other = in_flight(), in_flight()
            gaps.append(min(max(one) - min(other), max(other) - min(one)))
            return sum(other) == 32

        async with Load(port, 32, lambda *_: get()):
            async with asyncio.timeout(10):
                while not filled():
                    await asyncio.sleep(0)
            # Every pick saw all those before it, but for what other workers chose in the same instant.
            print(f"{len(gaps)} looks while 32 requests went out and none was answered: at most {max(gaps)} apart")
            assert max(gaps) <= WORKERS
            for slot in (0, 1):
                os.kill(segment.pid(slot), signal.SIGKILL)
            await server.says(r"worker [01] killed by SIGKILL", times=2)
        await eventually(lambda: in_flight() == [0, 0], within=2)
