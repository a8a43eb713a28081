"""What the tests of traffic rules have in common: several upstreams, any routes, and the lines of the access log."""

import asyncio
import json
from collections import Counter
from pathlib import Path

from wire.support import GET, Stand, eventually

from fastgate.config import GatewayConfig
from fastgate.testing import RawClient, RecordingUpstream, respond, start_gateway


class Traffic(Stand):
    """A `Stand` for configurations with several routes and upstreams. The access log is on."""

    def __init__(self, stack, place: Path):
        super().__init__(stack)
        self.log = place / "access.log"

    async def named(self, name: bytes, **options) -> RecordingUpstream:
        """An upstream that answers with its name."""
        return await self.new_upstream(default=respond(name), **options)

    async def serve(self, *routes, upstreams=None, gateway=None, **rest) -> RawClient:
        """Starts the gateway and gives a connected client.

        A route without a name gets one. ``upstreams`` are by name what stands in the configuration, or the ports of
        their targets; without any there is one, ``backend``, which is ``self.upstream``.
        """
        if upstreams is None:
            self.upstream = await self.new_upstream()
            upstreams = {"backend": [self.upstream.port]}
        config = {
            "gateway": {
                "host": "127.0.0.1",
                "port": 0,
                "access_log": {"path": str(self.log)},
                **(gateway or {}),
            },
            "routes": [
                {"name": f"r{number}", "path": "/*", **route}
                for number, route in enumerate(routes or [route_to("backend")])
            ],
            "upstreams": tables_of(upstreams),
            **rest,
        }
        self.config = config
        self.gateway = await self.stack.enter_async_context(start_gateway(config))
        return await self.client()

    async def reload(self, upstreams: dict) -> None:
        """The same configuration with other upstreams."""
        self.config = {**self.config, "upstreams": tables_of(upstreams)}
        await self.gateway.reload(GatewayConfig.from_dict(self.config))

    async def lines(self, count: int) -> list[dict]:
        """The lines of the access log, once there are that many."""
        await eventually(lambda: self.log.exists() and self.log.read_bytes().count(b"\n") >= count)
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    async def ends(self, count: int) -> list[tuple[int, str]]:
        """Status and end of each line."""
        return [(line["status"], line["end"]) for line in await self.lines(count)]


def route_to(upstream: str, **keys) -> dict:
    return {"upstream": upstream, **keys}


def tables_of(upstreams: dict) -> dict:
    return {
        name: {"targets": [address(each) for each in it]}
        if isinstance(it, list)
        else {**it, "targets": [address(each) for each in it["targets"]]}
        for name, it in upstreams.items()
    }


def address(target):
    """A target of a configuration; numbers are ports of 127.0.0.1."""
    return f"127.0.0.1:{target}" if isinstance(target, int) else target


async def statuses(client: RawClient, count: int, data: bytes = GET) -> list[int]:
    """The statuses of as many requests, one after the other."""
    return [(await client.request(data)).status for _ in range(count)]


async def bodies(client: RawClient, count: int, data: bytes = GET) -> Counter:
    """How many of as many pipelined requests each body answered, all with 200."""
    seen: Counter = Counter()
    for begin in range(0, count, 50):
        batch = min(50, count - begin)
        await client.send(data * batch)
        for _ in range(batch):
            response = await client.response()
            assert response.status == 200
            seen[response.body] += 1
    return seen


async def settled(turns: int = 5) -> None:
    """Lets whatever is on its way arrive."""
    for _ in range(turns):
        await asyncio.sleep(0.01)
