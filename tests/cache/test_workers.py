"""The response cache over several workers: crowds, purges, killed workers and reloads. Real processes and sockets.

FASTGATE_CACHE_CLIENTS, FASTGATE_CACHE_PURGES, FASTGATE_CACHE_RELOADS and FASTGATE_CACHE_KILLS make it the full thing
(2000, 500, 50, 20), with ``-m long``.
"""

import asyncio
import hashlib
import json
import os
import random
import signal
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from cache.support import Origin, ask, compose
from server.harness import REAL, Server, running, running_file

from fastgate.config import GatewayConfig
from fastgate.server import GatewayServer
from fastgate.testing import CutShort, RawClient
from fastgate.testing.upstream import UpstreamExchange

CLIENTS = int(os.environ.get("FASTGATE_CACHE_CLIENTS", "100"))
PURGES = int(os.environ.get("FASTGATE_CACHE_PURGES", "40"))
RELOADS = int(os.environ.get("FASTGATE_CACHE_RELOADS", "5"))
KILLS = int(os.environ.get("FASTGATE_CACHE_KILLS", "3"))
WORKERS = 4
PIECE = 65536
BODY = b"".join(bytes([65 + number]) * PIECE for number in range(16))


def settings(port: int, cache: dict[str, Any] | None = None, **route: Any) -> dict[str, Any]:
    return {
        "gateway": {"port": 0, "access_log": {"path": ""}, "workers": WORKERS},
        "cache": {"max_bytes": "64MB"},
        "routes": [{"name": "all", "path": "/*", "upstream": "backend", "cache": cache or {}, **route}],
        "upstreams": {"backend": {"targets": [f"127.0.0.1:{port}"]}},
    }


@asynccontextmanager
async def serving(
    play: Callable[[UpstreamExchange], Awaitable[None]], cache: dict[str, Any] | None = None, **route: Any
) -> AsyncIterator[tuple[Origin, Server, int]]:
    async with Origin() as origin:
        origin.play = play
        async with running(settings(origin.port, cache, **route), REAL) as server:
            yield origin, server, await server.complete(WORKERS)


async def slowly(exchange: UpstreamExchange) -> None:
    """1 MB in 16 pieces over half a second."""
    await exchange.read_body()
    await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nCache-Control: max-age=60\r\n\r\n" % len(BODY))
    for start in range(0, len(BODY), PIECE):
        await exchange.send(BODY[start : start + PIECE])
        await asyncio.sleep(0.03)


async def get(port: int, target: str = "/big") -> tuple[int, bytes]:
    """Status and digest of the body; 0 where the answer was cut."""
    try:
        async with RawClient(port, timeout=30, keep=False) as client:
            await client.send(f"GET {target} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
            found = await client.response()
            return found.status, bytes.fromhex(found.sha256)
    except (CutShort, ConnectionError):
        return 0, b""


RIGHT = (200, hashlib.sha256(BODY).digest())


async def test_a_crowd_for_a_cold_object_is_one_request_to_the_upstream() -> None:
    async with serving(slowly) as (origin, _, port):
        found = await asyncio.gather(*(get(port) for _ in range(CLIENTS)))
        assert Counter(found) == {RIGHT: CLIENTS}
        assert len(origin.asked) == 1


async def test_the_first_client_may_leave() -> None:
    async with serving(slowly) as (origin, _, port):
        first = RawClient(port)
        await first.open()
        await first.send(b"GET /big HTTP/1.1\r\nHost: h\r\n\r\n")
        await first.receive(1000)
        rest = [asyncio.create_task(get(port)) for _ in range(CLIENTS)]
        await asyncio.sleep(0.05)
        first.close()
        assert Counter(await asyncio.gather(*rest)) == {RIGHT: CLIENTS}
        assert len(origin.asked) == 1


async def test_the_first_client_may_be_slow() -> None:
    async with serving(slowly, min_rate=0) as (origin, _, port):
        async with RawClient(port, receive_buffer=4096) as first:
            await first.send(b"GET /big HTTP/1.1\r\nHost: h\r\n\r\n")
            await first.receive(100)
            async with asyncio.timeout(10):
                found = await asyncio.gather(*(get(port) for _ in range(CLIENTS)))
        assert Counter(found) == {RIGHT: CLIENTS}
        assert len(origin.asked) == 1


async def test_what_may_not_be_shared_is_asked_for_by_all_at_once() -> None:
    waiting = 0
    most = 0

    async def private(exchange: UpstreamExchange) -> None:
        nonlocal waiting, most
        await exchange.read_body()
        waiting += 1
        most = max(most, waiting)
        await asyncio.sleep(0.2)
        waiting -= 1
        await exchange.send(compose(200, {"Cache-Control": "no-store"}, b"yours"))

    async with serving(private) as (origin, _, port):
        found = await asyncio.gather(*(get(port) for _ in range(40)))
        assert Counter(found) == {(200, hashlib.sha256(b"yours").digest()): 40}
        assert len(origin.asked) == 40
        assert most >= 39


async def test_a_killed_leader_makes_nobody_take_a_part_for_the_whole() -> None:
    async with serving(slowly) as (origin, server, port):
        rest = [asyncio.create_task(get(port)) for _ in range(CLIENTS)]
        async with asyncio.timeout(10):
            while not origin.connections or not origin.asked:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        # The worker that has the connection to the origin leads.
        peer = origin.connections[0].wire.socket.getpeername()[1]
        os.kill(owner_of(peer, server), signal.SIGKILL)
        found = Counter(await asyncio.gather(*rest))
        assert set(found) <= {RIGHT, (0, b"")}
        assert len(origin.asked) <= 2
        assert await get(port) == RIGHT


def owner_of(port: int, server: Server) -> int:
    """The worker that has a socket with this local port."""
    inodes = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].partition(":")[2], 16) == port:
            inodes.add(f"socket:[{fields[9]}]")
    for pid in server.workers().values():
        for each in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                if os.readlink(each) in inodes:
                    return pid
    raise AssertionError(f"no worker has port {port}")


# -- purges


async def test_after_a_purge_no_request_gets_what_was_made_before_it() -> None:
    """The origin's answers have a number that grows. What a purge has returned before, no request after it may get."""
    seed = random.randrange(10**6)
    made = random.Random(seed)
    version = 0

    async def numbered(exchange: UpstreamExchange) -> None:
        await exchange.read_body()
        number = version
        await asyncio.sleep(made.choice((0, 0, 0.002, 0.01)))
        tag = exchange.request.target.rpartition("/")[2]
        fields = {"Cache-Control": "max-age=600", "Cache-Tag": f"t{tag}, all", "ETag": f'"{number}"'}
        if exchange.request.fields.get("if-none-match") == f'"{number}"':
            await exchange.send(compose(304, fields, b""))
            return
        body = json.dumps({"number": number}).encode() + b" " * made.choice((0, 100, 40000))
        head = compose(200, {**fields, "Content-Length": str(len(body))}, b"")
        await exchange.send(head)
        await asyncio.sleep(made.choice((0, 0, 0.005)))
        await exchange.send(body)

    async with Origin() as origin:
        origin.play = numbered
        config = GatewayConfig.from_dict(settings(origin.port, {"stale_if_error": "1h"}))
        server = GatewayServer(config)
        ready = threading.Event()
        thread = threading.Thread(target=server.run, args=(ready.set,), daemon=True)
        thread.start()
        try:
            assert await asyncio.to_thread(ready.wait, 20)
            port = int(server.addresses[0].rpartition(":")[2])
            floors = dict.fromkeys(range(3), 0)
            stale: list[str] = []
            stop = False

            async def client() -> None:
                while not stop:
                    name = made.randrange(3)
                    least = floors[name]
                    found = await ask(port, f"/{name}")
                    number = json.loads(found.body)["number"]
                    if number < least:
                        stale.append(f"/{name}: {number} after {least}: {found.fields.pairs}")
                    await asyncio.sleep(0)

            clients = [asyncio.create_task(client()) for _ in range(12)]
            for _ in range(PURGES):
                await asyncio.sleep(made.choice((0, 0.001, 0.004, 0.01)))
                name = made.randrange(3)
                version += 1
                number = version
                kind = made.randrange(6)
                soft = made.random() < 0.3
                purge: dict[str, Any] = (
                    {"url": f"http://example.com/{name}"},
                    {"tag": f"t{name}"},
                    {"tag": "all"},
                    {"prefix": f"/{name}"},
                    {"route": "all"},
                    {"everything": True},
                )[kind]
                await asyncio.to_thread(server.purge, **purge, soft=soft)
                for each in floors:
                    if each == name or kind in (2, 4, 5):
                        floors[each] = max(floors[each], number)
            stop = True
            await asyncio.gather(*clients)
            assert stale == [], f"seed {seed}"
        finally:
            server.stop()
            await asyncio.to_thread(thread.join, 20)


# -- reloads and deaths


async def test_reloads_and_killed_workers_make_nothing_wrong(tmp_path: Path) -> None:
    """Hits and misses under load: no body is wrong and none fails that the death of its own worker did not cut."""

    async def named(exchange: UpstreamExchange) -> None:
        await exchange.read_body()
        body = (exchange.request.target.encode() + b"|") * 400
        await exchange.send(compose(200, {"Cache-Control": "max-age=600"}, body))

    async with Origin() as origin:
        origin.play = named
        file = tmp_path / "fastgate.json"

        def write(number: int) -> None:
            config = settings(origin.port)
            config["routes"].append({"name": "other", "path": f"/other{number}/*", "upstream": "backend", "cache": {}})
            file.write_text(json.dumps(config))

        write(0)
        async with running_file(file, REAL) as server:
            port = await server.complete(WORKERS)
            stop = False
            wrong: list[str] = []
            counts: Counter[str] = Counter()

            async def client(number: int) -> None:
                made = random.Random(number)
                while not stop:
                    target = f"/{made.randrange(400)}" if made.random() < 0.9 else f"/once/{made.random()}"
                    for _ in range(5):
                        try:
                            found = await ask(port, target)
                            break
                        except (CutShort, ConnectionError):
                            counts["cut"] += 1
                    else:
                        wrong.append(f"{target}: no answer")
                        continue
                    counts[str(found.status)] += 1
                    if found.status != 200 or found.body != (target.encode() + b"|") * 400:
                        wrong.append(f"{target}: {found.status} {found.body[:60]!r}")

            clients = [asyncio.create_task(client(number)) for number in range(8)]
            before = len(origin.asked)
            for number in range(1, RELOADS + 1):
                write(number)
                server.signal(signal.SIGHUP)
                await server.says(r"generation \d+|reload", times=number, within=30)
                await asyncio.sleep(0.05)
            for number in range(1, KILLS + 1):
                os.kill(random.choice([*server.workers().values()]), signal.SIGKILL)
                await server.says("killed by SIGKILL; starting a new one", times=number, within=30)
                # One that only just starts could die before it is told what it is.
                await server.says(r"worker \d+ is ready", times=WORKERS - 1 + number, within=30)
            await asyncio.sleep(0.3)
            stop = True
            await asyncio.gather(*clients)
            assert wrong == []
            assert set(counts) <= {"200", "cut"}
            assert len(origin.asked) > before
            # What was stored is still there after all of that.
            async with asyncio.timeout(10):
                asked = len(origin.asked)
                for number in range(400):
                    await ask(port, f"/{number}")
                again = len(origin.asked)
                for number in range(400):
                    await ask(port, f"/{number}")
                assert len(origin.asked) == again
            assert again - asked < 200
