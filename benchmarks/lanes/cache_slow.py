"""Clients that take a byte a second of what is in the cache, and all others.

1,000 clients ask for 320 objects of 1 MB, more than the store has room for, and take a byte of them each second; the
kernel's buffers are as small as a client can make them. When these are full, others ask for one stored object at a
fixed rate, and new objects come, in every turn: each is asked for twice, and is stored if the second answer says that
it was a hit. Rounds of three turns: without slow clients, with them on a route that has `min_rate = 0`, and on one with
the defaults.

Memory: what the workers have that is no file, the blocks of the store's file, and what the kernel has in all TCP
sockets of the machine, where most of what slow clients do not take lies. Four workers have the first core together,
load and origin the last.
"""

from __future__ import annotations

import http.client
import json
import os
import select
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from benchmarks.arithmetic import ratios, spread
from benchmarks.contest import Options, say
from benchmarks.crowd import on_core, wait_for_workers
from benchmarks.load import DOCUMENT, LARGE, Load, Origin, cached_head, run_load
from benchmarks.machine import FILES, ROOT, Unavailable, cores, raise_file_limit
from benchmarks.processes import family, memory_of, socket_memory
from benchmarks.proxies import Proxy

TITLE = "Hits while clients take a byte a second"
CLIENTS = 1000
OBJECTS = 320
WORKERS = 4
BODY = 10 * 1024
RATE = 2000
SLICES = 50
"""Parts of the slow clients, of which one takes its bytes each 20 ms."""
OFFERED = 100
SECONDS = 15.0
"""Of a turn with slow clients: longer than the time over which a client's rate is averaged."""
ROUTES = {"none": None, "`min_rate = 0`": "/patient", "the default `min_rate`": ""}


class SlowClients:
    """They have asked, and take a byte each second. A context manager, which resets their connections."""

    def __init__(self, port: int, count: int, prefix: str, name: str) -> None:
        self.connections: list[socket.socket] = []
        self._over = threading.Event()
        for number in range(count):
            connection = socket.socket()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            connection.settimeout(10)
            connection.connect(("127.0.0.1", port))
            connection.setblocking(False)
            connection.send(cached_head(f"{prefix}/cached/{LARGE}/{name}-{number % OBJECTS}"))
            self.connections.append(connection)
        self._thread = threading.Thread(target=self._take)
        self._thread.start()

    def _take(self) -> None:
        # Not all at once: this process has its core with the load generator.
        number = 0
        while not self._over.wait(1.0 / SLICES):
            number += 1
            for connection in self.connections[number % SLICES :: SLICES]:
                try:
                    connection.recv(1)
                except OSError:
                    continue

    def closed(self) -> int:
        """How many connections the gateway has ended."""
        poller = select.poll()
        for connection in self.connections:
            poller.register(connection, select.POLLRDHUP)
        return len(poller.poll(0))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        for connection in self.connections:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()


@dataclass(frozen=True)
class Turn:
    """What others saw, and what it took."""

    load: Load
    stored: int
    offered: int
    closed: int
    anonymous: int
    blocks: int
    settled: float
    sockets: int


def run(options: Options) -> dict[str, object]:
    """Every row: one without slow clients, one for each route with them."""
    core, load_core = cores()
    clients = 100 if options.quick else CLIENTS
    rounds = 1 if options.quick else 2
    if raise_file_limit(FILES) < 4 * clients + 500:
        raise Unavailable(f"{4 * clients + 500:,} open files are needed")
    turns: dict[str, list[Turn]] = {label: [] for label in ROUTES}
    cuts: dict[str, list[int | None]] = {label: [] for label in ROUTES}
    with ExitStack() as stack:
        stack.enter_context(on_core(load_core))
        origin = stack.enter_context(Origin(load_core))
        head = cached_head(f"/cached/{DOCUMENT}")
        proxy = stack.enter_context(Proxy("fastgate-crowd", origin.port, core, head=head))
        wait_for_workers(proxy, head, WORKERS)
        for number in range(rounds):
            for place, (label, prefix) in enumerate(ROUTES.items()):
                before = readers_cut(proxy)
                turns[label].append(_turn(proxy, load_core, prefix, clients, f"{number}-{place}", options))
                after = readers_cut(proxy)
                cuts[label].append(None if before is None or after is None else after - before)
                say(f"  slow clients: {label}, round {number + 1}/{rounds}: {_told(turns[label][-1])}")
        size = store_file(proxy)[0]
    base = turns["none"]
    return {
        "settings": {"clients": clients, "objects": OBJECTS, "body_bytes": BODY, "rate": RATE, "workers": WORKERS},
        "rows": [_row(label, each, base, cuts[label], size) for label, each in turns.items()],
    }


def _turn(proxy: Proxy, core: int, prefix: str | None, clients: int, name: str, options: Options) -> Turn:
    head = cached_head(f"/cached/{BODY}")
    with ExitStack() as stack:
        slow, settled = None, 0.0
        if prefix is not None:
            slow = stack.enter_context(SlowClients(proxy.port, clients, prefix, name))
            settled = _settle(proxy)
        duration = SECONDS if prefix is not None else SECONDS / 3
        if options.quick:
            duration = 1.0
        offering = Offering(proxy.port, name, OFFERED if slow else OFFERED // 3, duration)
        offering.start()
        load = run_load(core, proxy.port, head, duration=duration, rate=RATE, length=BODY)
        offering.join()
        workers = family(proxy.process.pid)[1:]
        return Turn(
            load,
            offering.stored,
            offering.count,
            slow.closed() if slow else 0,
            sum(memory_of(worker).anonymous for worker in workers),
            store_file(proxy)[1],
            settled,
            socket_memory(Path("/proc/net/sockstat").read_text()),
        )


def _settle(proxy: Proxy, limit: float = 10.0) -> float:
    """Returns once the gateway has given the slow clients what the kernel takes; how long that took.

    It fetches hundreds of megabytes then, and fills a thousand buffers: work that anybody can ask for, slow or not.
    """
    began = time.monotonic()
    while time.monotonic() < began + limit:
        before = proxy.process.cpu().total
        time.sleep(0.5)
        if proxy.process.cpu().total - before < 0.1:
            break
    return time.monotonic() - began


class Offering(threading.Thread):
    """Asks twice for each of ``count`` new objects, over ``duration`` seconds. ``stored``: the second was a hit."""

    def __init__(self, port: int, name: str, count: int, duration: float) -> None:
        super().__init__()
        self.port, self.prefix, self.count, self.pause = port, name, count, duration / count / 2
        self.stored = 0

    def run(self) -> None:
        """One after the other, on one connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        for number in range(self.count):
            time.sleep(self.pause)
            try:
                for again in (False, True):
                    connection.request("GET", f"/cached/{BODY}/new-{self.prefix}-{number}")
                    answer = connection.getresponse()
                    whole = len(answer.read()) == BODY
                    self.stored += again and whole and "hit" in answer.headers.get("cache-status", "")
            except (OSError, http.client.HTTPException):
                connection.close()
        connection.close()


def store_file(proxy: Proxy) -> tuple[int, int]:
    """Size of the file of the store, and bytes of its blocks."""
    for pid in family(proxy.process.pid):
        try:
            links = [*Path(f"/proc/{pid}/fd").iterdir()]
        except OSError:
            continue
        for link in links:
            try:
                if os.readlink(link).startswith("/memfd:fastgate-cache"):
                    stat = link.stat()
                    return stat.st_size, stat.st_blocks * 512
            except OSError:
                continue
    raise Unavailable("the file of the store was not found")


def readers_cut(proxy: Proxy) -> int | None:
    """Answers that the store has cut short so far, by its own count; None where it does not count them."""
    command = [sys.executable, "-c", "from fastgate.cli import main; main()", "cache", "stats", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1"}
    command += ["--pid", str(proxy.process.pid)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, env=environment)
    if done.returncode != 0:
        raise Unavailable(f"the cache does not tell its counts: {done.stderr}")
    counts: dict[str, Any] = json.loads(done.stdout)
    return counts.get("readers_cut")


def _told(turn: Turn) -> str:
    return (
        f"p99 {turn.load.latency['p99']:.0f} µs, {turn.load.wrong} wrong, {turn.stored} of {turn.offered} new stored, "
        f"{turn.closed} closed, settled after {turn.settled:.1f} s, {turn.anonymous >> 20} MB, "
        f"file {turn.blocks >> 20} MB, sockets {turn.sockets >> 20} MB"
    )


def _row(
    label: str, turns: Sequence[Turn], base: Sequence[Turn], cuts: Sequence[int | None], size: int
) -> dict[str, object]:
    p99 = [turn.load.latency["p99"] for turn in turns]
    known = [cut for cut in cuts if cut is not None]
    return {
        "label": label,
        "kind": "fastgate",
        "p50_us": spread([turn.load.latency["p50"] for turn in turns]),
        "p99_us": spread(p99),
        "p99_ratio": ratios(p99, [turn.load.latency["p99"] for turn in base]),
        "requests": sum(turn.load.requests for turn in turns),
        "wrong": sum(turn.load.wrong for turn in turns),
        "stored": sum(turn.stored for turn in turns),
        "offered": sum(turn.offered for turn in turns),
        "closed": sum(turn.closed for turn in turns),
        "readers_cut": sum(known) if known else None,
        "anonymous": max(turn.anonymous for turn in turns),
        "file_blocks": max(turn.blocks for turn in turns),
        "file_size": size,
        "socket_memory": max(turn.sockets for turn in turns),
        "settled_seconds": max(turn.settled for turn in turns),
    }
