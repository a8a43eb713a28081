"""A name server that is named, with several workers: each of them waits for its first answer, and uses no other."""

import asyncio
import json
import os
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from server.harness import REAL, Server, config, running, running_file
from traffic.test_names import LOCAL, dns, several
from upstreams.name_server import SILENCE, NameServer

from fastgate.testing import RawClient

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
WORKERS = 2


class Stand:
    """What `several` needs."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self.stack = stack


async def test_every_worker_waits_for_the_first_answer() -> None:
    async with AsyncExitStack() as stack, NameServer() as names:
        port, (system, named) = await several(Stand(stack), "127.0.0.1", "127.0.0.2")
        names.zone[LOCAL, "A"] = SILENCE
        settings = config(workers=WORKERS)
        settings["routes"][0]["timeouts"] = {"connect": 15.0}
        settings["upstreams"] = {"backend": {"targets": [f"{LOCAL}:{port}"], "dns": dns(names)}}
        gateway = await stack.enter_async_context(running(settings, REAL))
        entry = await gateway.complete(WORKERS)
        clients = [await stack.enter_async_context(RawClient(entry)) for _ in range(12)]
        for client in clients:
            await client.send(GET)
        await names.wait_asked(1)
        await clients[0].assert_silent()
        names.zone[LOCAL, "A"] = ["127.0.0.2"]
        names.speak()
        assert {(await client.response()).body for client in clients} == {b"127.0.0.2"}
        # A worker that begins later is told what is known.
        names.zone[LOCAL, "A"] = SILENCE
        os.kill(gateway.workers()[0], signal.SIGKILL)
        await gateway.says(r"worker \d+ is ready", times=WORKERS)
        for _ in range(12):
            async with RawClient(entry) as client:
                assert (await client.request(GET)).body == b"127.0.0.2"
        assert system.connections == []
        assert len(named.requests) == 24


async def test_a_reload_that_names_another_target_reaches_every_worker_and_those_to_come(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack, NameServer() as names:
        port, (first, _) = await several(Stand(stack), "127.0.0.1", "127.0.0.2")
        names.zone["one.test", "A"] = ["127.0.0.1"]
        names.zone["two.test", "A"] = ["127.0.0.2"]
        file = tmp_path / "fastgate.json"

        def write(target: str) -> None:
            settings: dict[str, Any] = config(workers=WORKERS)
            settings["upstreams"] = {"backend": {"targets": [f"{target}:{port}"], "dns": dns(names)}}
            file.write_text(json.dumps(settings))

        write("one.test")
        gateway = await stack.enter_async_context(running_file(file, REAL))
        entry = await gateway.complete(WORKERS)
        assert await bodies(entry) == {b"127.0.0.1"}
        write("two.test")
        await reloaded(gateway, 2)
        assert await bodies(entry) == {b"127.0.0.2"}
        os.kill(gateway.workers()[0], signal.SIGKILL)
        await gateway.says(r"worker \d+ is ready", times=WORKERS)
        assert await bodies(entry) == {b"127.0.0.2"}
        # What the name before would answer now is nothing to anybody.
        asked = len(first.requests)
        names.zone["one.test", "A"] = ["127.0.0.3"]
        await asyncio.sleep(0.2)
        assert await bodies(entry) == {b"127.0.0.2"}
        assert len(first.requests) == asked


async def reloaded(gateway: Server, generation: int) -> None:
    gateway.signal(signal.SIGHUP)
    await gateway.says(f"reload: generation {generation} is in use")


async def bodies(entry: int) -> set[bytes]:
    """Of answers on so many connections that every worker has some."""
    found = set()
    for _ in range(12):
        async with RawClient(entry) as client:
            found.add((await client.request(GET)).body)
    return found
