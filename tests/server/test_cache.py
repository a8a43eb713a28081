"""The response cache of a gateway with several workers: what a dead one leaves, and purges, which all of them see."""

import asyncio
import errno
import json
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from server.harness import REAL, Server, config, fetch, running

from fastgate._core.memory.cache.cache_file import needed
from fastgate.config import ConfigError, GatewayConfig
from fastgate.server import GatewayServer
from fastgate.server.supervisor import StartError


def settings(workers: int = 2, **more: Any) -> dict[str, Any]:
    found = {**config(workers=workers), **more}
    found["plugins"] = [{"name": "keeper", "use": "server.cache_keeper:Keeper"}]
    found["routes"][0]["policies"] = [{"use": "keeper"}]
    return found


async def do(port: int, path: str) -> dict[str, Any]:
    """The answer of the worker that the kernel chooses."""
    found: dict[str, Any] = json.loads(await fetch(port, path))
    return found


async def by(slot: int, port: int, path: str) -> Any:
    """What the worker of a slot answers, which is asked on a connection that it has accepted."""
    async with asyncio.timeout(10):
        while True:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                for target in ("/who", path):
                    writer.write(f"GET {target} HTTP/1.1\r\nHost: shop.example\r\n\r\n".encode())
                    head = (await reader.readuntil(b"\r\n\r\n")).lower()
                    length = int(head.partition(b"content-length:")[2].split()[0])
                    found = json.loads(await reader.readexactly(length))
                    if found["slot"] != slot:
                        break
                else:
                    return found["found"]
            except (ConnectionError, asyncio.IncompleteReadError):
                await asyncio.sleep(0.02)
            finally:
                writer.close()


async def pid_of(slot: int, port: int) -> int:
    async with asyncio.timeout(10):
        while (found := await do(port, "/who"))["slot"] != slot:
            pass
    return int(found["pid"])


@asynccontextmanager
async def serving(workers: int = 2) -> AsyncIterator[tuple[Server, int]]:
    async with running(settings(workers), REAL) as server:
        yield server, await server.complete(workers)


async def test_what_a_killed_worker_held_is_given_back_before_its_successor_starts() -> None:
    async with serving() as (server, port):
        assert await by(0, port, "/hold/thing") == "lead"
        assert await by(1, port, "/follow") == "follow True"
        assert (await by(1, port, "/stats"))["pinned"] == 1
        os.kill(await pid_of(0, port), signal.SIGKILL)
        await server.says("worker 0 killed by SIGKILL; starting a new one")
        # The one that waited is told, over its eventfd, that nobody leads any more.
        async with asyncio.timeout(10):
            while not (told := await by(1, port, "/told")):
                await asyncio.sleep(0.01)
        assert told == ["given up"]
        await server.says("worker 0 is ready")
        stats = await by(0, port, "/stats")
        assert (stats["pinned"], stats["objects"]) == (0, 1)
        assert await by(0, port, "/put/other")
        assert await by(1, port, "/state/other") == await by(0, port, "/state/thing") == "fresh"
        assert "belongs to process" not in server.text


async def test_a_worker_that_leaves_gives_its_slot_back_and_keeps_what_is_stored() -> None:
    async with serving() as (server, port):
        assert await by(0, port, "/put/thing")
        os.kill(await pid_of(0, port), signal.SIGTERM)
        await server.says("worker 0 exited with code 0; starting a new one")
        await server.says("worker 0 is ready")
        assert await by(0, port, "/state/thing") == "fresh"


async def test_what_a_plugin_purges_in_one_worker_is_purged_in_all() -> None:
    async with serving() as (_, port):
        for name in ("one", "two"):
            assert await by(0, port, f"/put/{name}")
        await by(1, port, "/purge/one")
        for slot in range(2):
            assert [await by(slot, port, f"/state/{name}") for name in ("one", "two")] == ["purged", "fresh"]
        await by(0, port, "/soften/all")
        assert [await by(1, port, f"/state/{name}") for name in ("one", "two")] == ["purged", "stale"]


class InThread:
    """A gateway in a thread of this process."""

    def __init__(self, config: GatewayConfig) -> None:
        self.server = GatewayServer(config)
        self.failures: list[Exception] = []
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()
        assert self.ready.wait(20)

    def _run(self) -> None:
        try:
            self.server.run(self.ready.set)
        except Exception as error:
            self.failures.append(error)

    def stop(self) -> None:
        self.server.stop()
        self.thread.join(20)
        assert not self.thread.is_alive()
        assert not self.failures


@pytest.fixture
def in_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[InThread]:
    monkeypatch.setattr(sys, "path", [*sys.path, os.path.dirname(os.path.dirname(__file__))])
    found = InThread(GatewayConfig.from_dict(settings()))
    yield found
    found.stop()


async def test_a_purge_from_another_thread_is_in_effect_when_it_returns(in_thread: InThread) -> None:
    server = in_thread.server
    port = int(server.addresses[0].rpartition(":")[2])
    purges: list[tuple[dict[str, Any], str]] = [
        ({"url": "http://SHOP.example:80/thing"}, "purged"),
        ({"url": "http://shop.example/thing?"}, "fresh"),
        ({"url": "https://shop.example/thing"}, "fresh"),
        ({"url": "http://shop.example/thing", "soft": True}, "stale"),
        ({"prefix": "http://shop.example/thi"}, "purged"),
        ({"prefix": "/th"}, "purged"),
        ({"prefix": "/other"}, "fresh"),
        ({"route": "all"}, "purged"),
        ({"tag": "news"}, "purged"),
        ({"tag": "http://shop.example:80 g"}, "purged"),
        ({"tag": "old"}, "fresh"),
        ({"everything": True, "soft": True}, "stale"),
        ({"everything": True}, "purged"),
    ]
    for number, (purge, state) in enumerate(purges):
        slot = number % 2
        assert await by(slot, port, "/put/thing")
        assert await by(1 - slot, port, "/state/thing") == "fresh"
        server.purge(**purge)
        assert [await by(each, port, "/state/thing") for each in range(2)] == [state, state], purge
    with pytest.raises(ValueError, match='unknown route "al", did you mean "all"'):
        server.purge(route="al")
    with pytest.raises(ValueError, match="nothing is given: choose exactly one of url, prefix, route, tag and every"):
        server.purge(soft=True)


def test_before_it_runs_nothing_can_be_purged() -> None:
    with pytest.raises(RuntimeError, match="the gateway does not run"):
        GatewayServer(GatewayConfig.from_dict(config())).purge(everything=True)


def test_a_system_that_has_no_descriptors_left_ends_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def eventfd(count: int, flags: int) -> int:
        if len(made) == 2:
            raise OSError(errno.EMFILE, "Too many open files")
        made.append(os.dup(2))
        return made[-1]

    monkeypatch.setattr(os, "eventfd", eventfd)
    with pytest.raises(StartError, match="cannot create the memory of the response cache: Too many open files"):
        GatewayServer(GatewayConfig.from_dict(config(workers=3))).run()
    for each in made:
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(each)


def test_memory_that_is_too_small_for_the_workers_ends_the_start() -> None:
    small = GatewayConfig.from_dict({**config(workers=8), "cache": {"max_bytes": "2MB"}})
    with pytest.raises(ConfigError) as raised:
        GatewayServer(small).run()
    assert not isinstance(raised.value, StartError)
    assert str(raised.value) == f"cache.max_bytes: 2MB is too small: 8 workers need {needed(8) // 1024}KB at least"
