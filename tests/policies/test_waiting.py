"""A plugin that waits for somebody else holds up its own request and no other."""

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fastgate import Policy, Request, Response, testing
from fastgate.testing import Answer, RawClient, RecordingUpstream, compose_request, wait_for


class AsksHTTP(Policy):
    """Asks a service whether the user of ``x-user`` may come in."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.port = options["port"]

    def on_request(self, request: Request) -> Any:
        user = request.headers.get("x-user")
        return self.ask(request, user) if user else None

    async def ask(self, request: Request, user: str) -> Response | None:
        async with RawClient(self.port) as client:
            answer = await client.request(compose_request("GET", f"/{user}"))
        if answer.status != 200:
            return Response(403)
        request.headers.set("x-plan", answer.text)
        return None


class AsksRedis(Policy):
    """The plan of the user of ``x-user`` is the next in a list, which may have to be waited for."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.path = options["path"]

    async def on_startup(self, gateway: Any) -> None:
        from redis.asyncio import Redis

        self.redis = Redis(unix_socket_path=self.path)

    def on_request(self, request: Request) -> Any:
        user = request.headers.get("x-user")
        return self.ask(request, user) if user else None

    async def ask(self, request: Request, user: str) -> None:
        _, plan = await self.redis.blpop([user])
        request.headers.set("x-plan", plan.decode())

    async def on_shutdown(self, gateway: Any) -> None:
        await self.redis.aclose()


class Endless(Policy):
    """Waits for ever, also when it is cancelled once."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.cancelled = 0

    async def on_request(self, request: Request) -> None:
        if request.path == "/plain":
            return
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


async def test_others_are_answered_while_an_http_service_is_asked() -> None:
    go = asyncio.Event()
    async with RecordingUpstream() as service:
        service.script(Answer(wait_for(go), testing.respond(b"gold")))
        async with testing.run(AsksHTTP, options={"port": service.port}) as gateway:
            waiting = asyncio.create_task(gateway.get("/asked", headers={"x-user": "ada"}))
            await service.request()
            for number in range(20):
                assert (await gateway.get(f"/{number}")).status == 200
            assert not waiting.done()
            assert [request.target for request in gateway.upstream.requests] == [f"/{n}" for n in range(20)]
            go.set()
            assert (await waiting).status == 200
            assert gateway.upstream.requests[-1].headers["x-plan"] == "gold"


@pytest.fixture
async def redis(tmp_path: Path) -> AsyncIterator[str]:
    """A Redis server's socket."""
    path = tmp_path / "redis.sock"
    server = shutil.which("redis-server")
    assert server is not None
    options = ["--port", "0", "--unixsocket", str(path), "--save", "", "--appendonly", "no", "--dir", str(tmp_path)]
    process = await asyncio.create_subprocess_exec(server, *options, stdout=subprocess.DEVNULL)
    try:
        async with asyncio.timeout(10):
            while not path.exists():
                await asyncio.sleep(0.01)
        yield str(path)
    finally:
        process.terminate()
        await process.wait()


@pytest.mark.needs("redis-server", "redis")
async def test_others_are_answered_while_redis_is_asked(redis: str) -> None:
    from redis.asyncio import Redis

    async with testing.run(AsksRedis, options={"path": redis}) as gateway, Redis(unix_socket_path=redis) as client:
        waiting = [asyncio.create_task(gateway.get("/asked", headers={"x-user": f"u{n}"})) for n in range(5)]
        async with asyncio.timeout(10):
            while (await client.info("clients"))["blocked_clients"] < 5:
                await asyncio.sleep(0.005)
        for number in range(20):
            assert (await gateway.get(f"/{number}")).status == 200
        assert not any(task.done() for task in waiting)
        for number in range(5):
            await client.rpush(f"u{number}", f"plan-{number}")
        assert [response.status for response in await asyncio.gather(*waiting)] == [200] * 5
        plans = {request.headers["x-plan"] for request in gateway.upstream.requests[20:]}
        assert plans == {f"plan-{number}" for number in range(5)}


async def test_a_policy_that_never_ends_is_cut_by_the_total_timeout() -> None:
    async with testing.run(Endless, route={"timeouts": {"total": "100ms"}}) as gateway:
        waiting = asyncio.create_task(gateway.get("/"))
        assert (await gateway.get("/plain")).status == 200
        response = await waiting
        assert response.status == 504
        assert response.headers["content-type"] == "application/problem+json"
        assert gateway.policies[0].cancelled == 1  # type: ignore[attr-defined]
        assert [request.target for request in gateway.upstream.requests] == ["/plain"]
