"""Latency while a file of 10,000 routes is reloaded, beside latency when it is not.

Rounds of two turns at one fixed rate, which leaves the gateway time for a reload; at most half of what it reached in a
closed loop before. Latency counts from the moment a request was due. In the second turn one reload follows the other,
so that its p99 is that of a time that has nothing but reloads in it. Each reload changes paths, weights, fields and the
numbers of limits of most routes.

Worker and supervisor have the first core together. 20 WebSockets and 20 event streams stay open from the first to the
last round and must deliver after each of them; a client that has spent its limit must stay refused.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from benchmarks.arithmetic import ratios, spread
from benchmarks.contest import Options, say
from benchmarks.load import DOCUMENT, Load, Origin, ask, request_head, run_load
from benchmarks.machine import ROOT, Unavailable, busy, cores, pinned
from benchmarks.processes import Process, memory_of
from benchmarks.proxies import free_port
from fastgate.server.run_dir import socket_path

TITLE = "Reload of 10,000 routes under load"
ROUTES = 10_000
UPSTREAMS = 200
RELOADS = 50
STREAMS = 20
SPENT = 5
RATE = 4_000
UPGRADE = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}


def configuration(number: int, port: int, origin: int, streams: int) -> dict[str, Any]:
    """Configuration ``number``: what is asked for by load and streams has the same routes in all of them."""
    steady = [{"host": "127.0.0.1", "port": origin, "weight": 1 + number % 3}]
    limit = {"rate": SPENT + number, "per": "1d", "burst": SPENT, "key": "header:x-key"}
    routes: list[dict[str, Any]] = [
        {"name": "api", "path": "/api/*", "upstream": "origin"},
        {"name": "streams", "path": "/streams/*", "upstream": "streams"},
        {"name": "limited", "path": "/limited", "upstream": "origin", "rate_limit": limit},
    ]
    for n in range(ROUTES - len(routes)):
        path = f"/r/{n}/of-{number}" if n % 7 == 0 else f"/r/{n}/{{id}}"
        route: dict[str, Any] = {"name": f"r{n}", "path": path, "upstream": f"u{n % UPSTREAMS}"}
        if n % 3 == 0:
            route["request_headers"] = {"set": {"x-route": f"r{n} of {number}"}}
        if n % 5 == 0:
            route["rate_limit"] = {"rate": 100 + (n + number) % 10, "per": "1s", "key": "client_ip"}
        routes.append(route)
    balancers = ("weighted_round_robin", "least_connections", "round_robin", "consistent_hash")
    upstreams: dict[str, Any] = {}
    for n in range(UPSTREAMS):
        ports = range(20_000 + n * 3, 20_003 + n * 3)
        targets = [{"host": "127.0.0.1", "port": port, "weight": 1 + (number + port) % 5} for port in ports]
        upstreams[f"u{n}"] = {"balancer": balancers[n % 4], "targets": targets}
    upstreams["origin"] = {"balancer": "weighted_round_robin", "targets": steady}
    upstreams["streams"] = {"targets": [{"host": "127.0.0.1", "port": streams}]}
    gateway = {"host": "127.0.0.1", "port": port, "workers": 1, "access_log": {"path": ""}}
    return {"gateway": gateway, "routes": routes, "upstreams": upstreams}


class StreamOrigin:
    """Answers an upgrade and sends back what comes; to any other request an event stream that ``tick`` feeds."""

    def __init__(self) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listening.getsockname()[1]
        self.streams: list[socket.socket] = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        while True:
            try:
                connection, _ = self.listening.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=[connection], daemon=True).start()

    def serve(self, connection: socket.socket) -> None:
        head = connection.recv(65536)
        if b"websocket" in head:
            connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
            while data := connection.recv(4096):
                connection.sendall(data)
            connection.close()
            return
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        self.streams.append(connection)

    def tick(self) -> None:
        for stream in self.streams:
            stream.sendall(b"9\r\ndata: 1\n\n\r\n")

    def close(self) -> None:
        self.listening.close()
        for stream in self.streams:
            stream.close()


class Stream:
    """A WebSocket or an event stream through the gateway."""

    def __init__(self, port: int, *, upgraded: bool) -> None:
        self.upgraded = upgraded
        self.connection = socket.create_connection(("127.0.0.1", port), 10)
        fields = "".join(f"{name}: {value}\r\n" for name, value in UPGRADE.items()) if upgraded else ""
        self.connection.sendall(f"GET /streams/one HTTP/1.1\r\nHost: h\r\n{fields}\r\n".encode())
        head = self.read(b"\r\n\r\n")
        if head.split()[1] != (b"101" if upgraded else b"200"):
            raise Unavailable(f"a stream was answered {head!r}")

    def read(self, end: bytes) -> bytes:
        data = b""
        while not data.endswith(end):
            part = self.connection.recv(4096)
            if not part:
                raise OSError("a stream was cut")
            data += part
        return data

    def delivers(self) -> bool:
        """Whether something still goes through; the origin has ticked."""
        try:
            if self.upgraded:
                self.connection.sendall(b"ping.")
            return bool(self.read(b"ping." if self.upgraded else b"data: 1\n\n\r\n"))
        except OSError:
            return False


class Reloading:
    """A gateway on ``core`` whose file becomes the next configuration with each reload. A context manager."""

    def __init__(self, core: int, origin: int, streams: int) -> None:
        self.port, self.origin, self.streams = free_port(), origin, streams
        self.number = 0
        self.seconds: list[float] = []
        self._folder = tempfile.TemporaryDirectory(prefix="benchmark-reload-")
        self._file = Path(self._folder.name, "fastgate.json")
        self._run_dir = Path(self._folder.name, "run")
        self.write()
        command = [sys.executable, "-c", "from fastgate.cli import main; main()", "serve", str(self._file)]
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
        environment = {"PYTHONPATH": path, "FASTGATE_RUN_DIR": str(self._run_dir)}
        self.process = Process(pinned(core, command), Path(self._folder.name, "output"), environment=environment)
        self.wait()

    def write(self) -> None:
        self._file.write_text(json.dumps(configuration(self.number, self.port, self.origin, self.streams)))

    def wait(self, limit: float = 20.0) -> None:
        end = time.monotonic() + limit
        while True:
            try:
                if ask(self.port, request_head()).status == 200:
                    return
            except OSError:
                pass
            if time.monotonic() > end or not self.process.running:
                raise Unavailable(f"the gateway does not answer: {self.process.words()}")
            time.sleep(0.05)

    def reload(self) -> None:
        """Returns when the next configuration is in use."""
        self.number += 1
        self.write()
        with socket.socket(socket.AF_UNIX) as operator:
            operator.settimeout(60)
            operator.connect(str(socket_path(self._run_dir, self.process.pid)))
            operator.sendall(b'{"command": "reload"}\n')
            answer = json.loads(operator.makefile().readline())
        if not answer.get("ok") or answer["routes"] != ROUTES:
            raise Unavailable(f"reload {self.number}: {answer}")
        self.seconds.append(answer["seconds"])

    def close(self) -> None:
        self.process.stop()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True)
class Turn:
    """``foreign``: the larger share of the two cores that went to processes that do not belong here."""

    load: Load
    foreign: float


def under_load(gateway: Reloading, origin: Origin, rate: float, reloads: int, duration: float) -> Turn:
    """One turn: reloads one after the other, at most so many, for as long as the load lasts."""
    core, load_core = cores()
    result: list[Load] = []

    def load() -> None:
        result.append(run_load(load_core, gateway.port, request_head(), duration=duration, rate=rate))

    before = busy(core), busy(load_core), gateway.process.cpu().total, origin.cpu().total
    thread = threading.Thread(target=load)
    thread.start()
    end = time.monotonic() + duration
    time.sleep(0.05)
    while reloads and time.monotonic() < end - 0.1:
        gateway.reload()
        reloads -= 1
    thread.join()
    if not result:
        raise Unavailable("the load generator failed")
    after = busy(core), busy(load_core), gateway.process.cpu().total, origin.cpu().total
    first, last, proxy, served = (later - earlier for later, earlier in zip(after, before, strict=True))
    seen = result[0]
    return Turn(seen, max(0.0, first - proxy, last - served - seen.cpu_seconds) / seen.seconds)


def row(label: str, turns: list[Turn], base: list[Turn]) -> dict[str, object]:
    loads = [turn.load for turn in turns]
    p50, p99 = ([load.latency[name] for load in loads] for name in ("p50", "p99"))
    return {
        "label": label,
        "kind": "fastgate",
        "p50_us": spread(p50),
        "p99_us": spread(p99),
        "p99_ratio": ratios(p99, [turn.load.latency["p99"] for turn in base]),
        "max_us": max(load.latency["max"] for load in loads),
        "foreign": spread([turn.foreign for turn in turns]),
        "requests": sum(load.requests for load in loads),
        "wrong": sum(load.wrong for load in loads),
        "turns": [asdict(turn) for turn in turns],
    }


def run(options: Options) -> dict[str, object]:
    """Both rows; how long a reload takes; what became of streams, limit and memory."""
    core, load_core = cores()
    reloads = 4 if options.quick else RELOADS
    head = request_head()
    limited = request_head(target="/limited", x_key="spent")
    with ExitStack() as stack:
        origin = stack.enter_context(Origin(load_core))
        streams = StreamOrigin()
        stack.callback(streams.close)
        gateway = stack.enter_context(Reloading(core, origin.port, streams.port))
        held = [Stream(gateway.port, upgraded=number < STREAMS) for number in range(2 * STREAMS)]
        statuses = [ask(gateway.port, limited).status for _ in range(SPENT + 1)]
        if statuses != [200] * SPENT + [429]:
            raise Unavailable(f"the limit answered {statuses}")
        reached = run_load(load_core, gateway.port, head, duration=options.duration)
        rate = round(min(RATE, reached.rate / 2))
        gateway.reload()
        worker = gateway.process.worker()
        before = memory_of(worker).rss
        duration = max(1.0, gateway.seconds[0] * 5)
        calm: list[Turn] = []
        reloading: list[Turn] = []
        cut = admitted = 0
        while gateway.number <= reloads:
            number = gateway.number
            calm.append(under_load(gateway, origin, rate, 0, duration))
            reloading.append(under_load(gateway, origin, rate, reloads + 1 - number, duration))
            streams.tick()
            cut += sum(not stream.delivers() for stream in held)
            admitted += ask(gateway.port, limited).status != 429
            figures = ", ".join(f"p99 {each[-1].load.latency['p99']:.0f} µs" for each in (calm, reloading))
            say(f"  {gateway.number - number} reloads: {figures}")
        after = memory_of(worker).rss
    rows = [row("no reload", calm, calm), row("reload after reload", reloading, calm)]
    return {
        "settings": {
            "routes": ROUTES,
            "upstreams": UPSTREAMS,
            "reloads": reloads,
            "rate": rate,
            "streams": len(held),
            "body_bytes": DOCUMENT,
        },
        "rows": rows,
        "reload_seconds": spread(gateway.seconds[1:]),
        "memory": {"before": before, "after": after},
        "streams": [{"label": "streams cut", "wrong": cut}, {"label": "admitted over the limit", "wrong": admitted}],
    }
