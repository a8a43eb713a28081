"""A name server that is named, with several workers: each of them waits for its first answer, and uses no other."""

import os
import signal
from contextlib import AsyncExitStack

from server.harness import REAL, config, running
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
