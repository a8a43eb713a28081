"""Reloads under load: no request fails, no stream is cut, limits go on where they were, memory stays.

FASTGATE_RELOADS=50 FASTGATE_ROUTES=10000 make it the full thing; with ``-s`` it prints what it saw.
"""

import asyncio
import contextlib
import json
import os
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
from server.harness import REAL, Server, running_file
from server.test_reload import ask as operate
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve

RELOADS = int(os.environ.get("FASTGATE_RELOADS", "8"))
ROUTES = int(os.environ.get("FASTGATE_ROUTES", "2000"))
UPSTREAMS = ROUTES // 50
WEBSOCKETS = EVENT_STREAMS = 20
CLIENTS = 4
SPENT = 5


def configuration(number: int, ports: list[int], sockets: list[int]) -> dict[str, Any]:
    """The number changes weights everywhere, numbers of limits, fields and paths of routes, and one upstream."""
    targets = [{"host": "127.0.0.1", "port": port, "weight": 1 + (number + n) % 3} for n, port in enumerate(ports)]
    turned = [{"host": "127.0.0.1", "port": port, "weight": 1 + (number + n) % 2} for n, port in enumerate(sockets)]
    routes: list[dict[str, Any]] = [
        {"name": "plain", "path": "/plain", "upstream": "steady"},
        {"name": "events", "path": "/events", "upstream": "steady"},
        {"name": "ws", "path": "/ws", "upstream": "sockets"},
        {
            "name": "limited",
            "path": "/limited",
            "upstream": "steady",
            # A faster pace has no use for the slower one's debt; a slower one would find part of it paid.
            "rate_limit": {"rate": SPENT + number, "per": "1d", "burst": SPENT, "key": "header:x-key"},
        },
        {
            "name": "changing",
            "path": "/changing",
            "upstream": "steady",
            "rate_limit": {"rate": 1_000_000 + number, "per": "1s", "key": "client_ip"},
            "request_headers": {"set": {"x-number": str(number)}},
        },
    ]
    for n in range(ROUTES - len(routes)):
        route: dict[str, Any] = {"name": f"r{n}", "path": f"/r/{n}/{{id}}", "upstream": f"u{n % UPSTREAMS}"}
        if n % 7 == 0:
            route["path"] = f"/r/{n}/of-{number}"
        if n % 3 == 0:
            route["timeouts"] = {"read": 10 + (n + number) % 5}
        if n % 5 == 0:
            route["rate_limit"] = {"rate": 1_000_000 + number, "per": "1s", "key": "client_ip"}
        routes.append(route)
    balancers = ("weighted_round_robin", "least_connections", "power_of_two", "consistent_hash")
    upstreams: dict[str, Any] = {
        f"u{n}": {"balancer": balancers[n % 4], "targets": targets[n % 2 :]} for n in range(UPSTREAMS)
    }
    upstreams["steady"] = {"balancer": "weighted_round_robin", "targets": targets}
    upstreams["sockets"] = {"balancer": "weighted_round_robin", "targets": turned}
    upstreams[f"only-{number}"] = {"targets": targets}
    return {
        "gateway": {"port": 0, "workers": 2, "access_log": {"path": ""}},
        "routes": routes,
        "upstreams": upstreams,
    }


class Origin(asyncio.Protocol):
    """Answers "ok", and on /events a number a tick until it is told to stop."""

    streams: set["Origin"] = set()
    connections: set["Origin"] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.connections.add(self)
        self.received = b""

    def data_received(self, data: bytes) -> None:
        self.received += data
        while b"\r\n\r\n" in self.received:
            head, _, self.received = self.received.partition(b"\r\n\r\n")
            if head.startswith(b"GET /events"):
                self.streams.add(self)
                self.transport.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
                )
            else:
                self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    def connection_lost(self, error: Exception | None) -> None:
        self.streams.discard(self)
        self.connections.discard(self)

    @classmethod
    def tick(cls, number: int) -> None:
        event = b"data: %d\n\n" % number
        for stream in cls.streams:
            stream.transport.write(b"%x\r\n%b\r\n" % (len(event), event))


def port_of(server: Any) -> int:
    port: int = server.sockets[0].getsockname()[1]
    return port


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


@contextlib.asynccontextmanager
async def origins() -> AsyncIterator[tuple[list[int], list[int]]]:
    """Ports of three origins and of two WebSocket servers."""
    loop = asyncio.get_running_loop()
    async with contextlib.AsyncExitStack() as stack:
        plain = [await stack.enter_async_context(await loop.create_server(Origin, "127.0.0.1", 0)) for _ in range(3)]
        echoing = [await stack.enter_async_context(serve(echo, "127.0.0.1", 0)) for _ in range(2)]
        yield [port_of(each) for each in plain], [port_of(each) for each in echoing]
        # The loop is closed next: what is still open then is an error of this test, or of one that runs after it.
        for connection in list(Origin.connections):
            connection.transport.abort()
        async with asyncio.timeout(10):
            while Origin.connections:
                await asyncio.sleep(0.01)


class Client:
    """Asks one path after the other on a connection that it keeps, and counts the answers."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.answers: Counter[str] = Counter()
        self.stopping = False

    async def run(self, paths: list[str]) -> None:
        while not self.stopping:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            try:
                while not self.stopping:
                    for path in paths:
                        self.answers[await get(reader, writer, path)] += 1
            except (ConnectionError, asyncio.IncompleteReadError) as error:
                self.answers[repr(error)] += 1
            finally:
                writer.close()


async def get(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, fields: str = "") -> str:
    """Status and body."""
    writer.write(f"GET {path} HTTP/1.1\r\nHost: h\r\n{fields}\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = re.search(r"(?i)content-length: (\d+)", head)
    assert length, head
    body = await reader.readexactly(int(length[1]))
    status = head.split()[1]
    return f"{status} {body.decode()}" if status == "200" else status


class Events:
    """The numbers of an event stream."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.numbers: list[int] = []
        self.ended = False

    async def run(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(b"GET /events HTTP/1.1\r\nHost: h\r\n\r\n")
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            async for line in reader:
                if line.startswith(b"data: "):
                    self.numbers.append(int(line[6:]))
            self.ended = True
        finally:
            writer.close()


async def limited(port: int) -> str:
    """The answer to a request under the limit that is spent; over a connection of its own, so by any worker."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        return await get(reader, writer, "/limited", "X-Key: k\r\n")
    finally:
        writer.close()


def memory(server: Server) -> list[int]:
    """Anonymous memory of each worker in MiB."""
    texts = [Path(f"/proc/{pid}/status").read_text() for pid in server.workers().values()]
    return [int(re.findall(r"RssAnon:\s+(\d+)", text)[0]) // 1024 for text in texts]


@contextlib.asynccontextmanager
async def wrk(port: int) -> AsyncIterator[list[str]]:
    """wrk runs meanwhile; what it printed stands in the list afterwards."""
    url = f"http://127.0.0.1:{port}/plain"
    process = await asyncio.create_subprocess_exec(
        "wrk", "-t1", "-c16", "-d600s", "--latency", url, stdout=asyncio.subprocess.PIPE
    )
    said: list[str] = []
    try:
        yield said
    finally:
        process.send_signal(signal.SIGINT)
        output, _ = await process.communicate()
        said.append(output.decode())


async def talk(websockets: list[ClientConnection], text: str) -> None:
    for websocket in websockets:
        await websocket.send(text)
    for websocket in websockets:
        assert await asyncio.wait_for(websocket.recv(), 10) == text


@pytest.mark.needs("wrk")
@pytest.mark.timeout(60 + RELOADS * (3 + ROUTES // 1000))
async def test_nothing_is_lost(tmp_path: Path) -> None:
    file = tmp_path / "fastgate.json"
    sizes: list[list[int]] = []
    async with contextlib.AsyncExitStack() as stack:
        ports, sockets = await stack.enter_async_context(origins())
        file.write_text(json.dumps(configuration(0, ports, sockets)))
        server = await stack.enter_async_context(running_file(file, REAL))
        port = await server.complete(2)
        websockets = [await connect(f"ws://127.0.0.1:{port}/ws", proxy=None) for _ in range(WEBSOCKETS)]
        streams = [Events(port) for _ in range(EVENT_STREAMS)]
        tasks = [asyncio.create_task(each.run()) for each in streams]
        async with asyncio.timeout(10):
            while len(Origin.streams) < EVENT_STREAMS:
                await asyncio.sleep(0.01)
        assert [await limited(port) for _ in range(SPENT + 1)] == ["200 ok"] * SPENT + ["429"]
        clients = [Client(port) for _ in range(CLIENTS)]
        paths = ["/plain", "/changing", "/r/1/a", "/r/2/b", f"/r/{ROUTES // 2 // 7 * 7 + 1}/c"]
        asking = [asyncio.create_task(each.run(paths)) for each in clients]
        async with wrk(port) as said:
            for number in range(1, RELOADS + 1):
                file.write_text(json.dumps(configuration(number, ports, sockets)))
                if number % 2:
                    server.signal(signal.SIGHUP)
                    await server.says(rf"reload: generation {number + 1} is in use", within=30)
                else:
                    answer = await operate(server, within=30)
                    assert (answer.get("generation"), answer.get("workers")) == (number + 1, 2), answer
                Origin.tick(number)
                # One more of each generation: what it keeps of its time must be little.
                websockets.append(await connect(f"ws://127.0.0.1:{port}/ws", proxy=None))
                await talk(websockets, f"n{number}")
                assert {await limited(port) for _ in range(4)} == {"429"}
                sizes.append(memory(server))
        for each in clients:
            each.stopping = True
        await asyncio.gather(*asking)
        async with asyncio.timeout(10):
            while any(len(each.numbers) < RELOADS for each in streams):
                await asyncio.sleep(0.01)
        answers = sum((each.answers for each in clients), Counter[str]())
        print(f"\n{RELOADS} reloads of {ROUTES} routes; clients: {dict(answers)}; MiB a worker: {sizes}\n{said[0]}")
        assert set(answers) == {"200 ok"}
        assert all(each.numbers == list(range(1, RELOADS + 1)) and not each.ended for each in streams)
        assert "Socket errors" not in said[0]
        assert "Non-2xx" not in said[0]
        assert int(re.findall(r"(\d+) requests in", said[0])[0]) > 0
        # Nothing of former configurations stays: the second reload needed as much as any later one.
        assert max(sizes[-1]) <= max(sizes[1]) * 1.15 + 4, sizes
        for websocket in websockets:
            await websocket.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
