"""Many clients at once that read one answer each, whole or not: what each got, and when.

One process, one epoll set, blocking for nothing: two thousand of them on one core.
"""

from __future__ import annotations

import os
import re
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field
from typing import Self

from benchmarks.load import ask
from benchmarks.machine import Unavailable
from benchmarks.processes import family, owners_of
from benchmarks.proxies import Proxy

STEP = 65_536
"""Of the body: when each of these pieces was whole is noted."""
ROOM = 1 << 18


@dataclass
class Client:
    """One connection and the answer that came on it."""

    connection: socket.socket
    body: bytes
    """The right one."""
    asked_at: float = 0.0
    first_byte_at: float = 0.0
    """Of the body; 0: none came."""
    status: int = 0
    length: int = -1
    """Of the body, as the head has it; -1: not known, or the head has another framing."""
    got: int = 0
    ended_at: float = 0.0
    steps: list[float] = field(default_factory=list)
    """When each `STEP` of the body was there."""
    closed: bool = False
    head: bytes = b""
    right: bool = True
    """What came of the body so far is that of the right one."""

    @property
    def whole(self) -> bool:
        """The answer is complete, as its own head has it."""
        return self.length >= 0 and self.got == self.length

    def take(self, data: memoryview, now: float) -> None:
        """What came."""
        if not self.status:
            self.head += bytes(data)
            head, found, rest = self.head.partition(b"\r\n\r\n")
            if not found:
                return
            self.status = int(head[9:12])
            length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
            self.length = int(length[1]) if length else -1
            data = memoryview(rest)
        if not data:
            return
        if not self.got:
            self.first_byte_at = now
        self.right = self.right and self.body.startswith(data, self.got)
        self.got += len(data)
        while len(self.steps) < self.got // STEP:
            self.steps.append(now)


@dataclass(frozen=True)
class Outcome:
    """How many clients got what. ``wrong``: they took something for a whole answer that was not the right one."""

    right: int = 0
    cut: int = 0
    refused: int = 0
    wrong: int = 0


def judge(clients: list[Client]) -> Outcome:
    """What became of the clients. Right is 200 with the whole body and its right length, byte for byte."""
    right = cut = refused = wrong = 0
    for client in clients:
        if client.status not in (0, 200):
            refused += 1
        elif not client.whole:
            cut += 1
        elif client.right and client.got == len(client.body):
            right += 1
        else:
            wrong += 1
    return Outcome(right, cut, refused, wrong)


def sum_of(outcomes: list[Outcome]) -> Outcome:
    """Of several crowds."""
    return Outcome(*(sum(figures) for figures in zip(*map(astuple, outcomes), strict=True)))


class Crowd:
    """Clients of one port, connected and silent, that want one body. A context manager, which closes what is open."""

    def __init__(self, port: int, count: int, body: bytes) -> None:
        self._room = memoryview(bytearray(ROOM))
        self._poller = select.epoll()
        self.clients: list[Client] = []
        self._open: dict[int, Client] = {}
        for _ in range(count):
            connection = socket.create_connection(("127.0.0.1", port), 10)
            connection.setblocking(False)
            client = Client(connection, body)
            self.clients.append(client)
            self._open[connection.fileno()] = client
            self._poller.register(connection, select.EPOLLIN)

    def ask(self, head: bytes, clients: list[Client]) -> float:
        """All of them ask. Returns when the first did."""
        began = time.monotonic()
        for client in clients:
            client.asked_at = time.monotonic()
            client.connection.send(head)
        return began

    def leave(self, client: Client) -> None:
        """It resets its connection."""
        if not client.closed:
            client.closed = True
            self._poller.unregister(client.connection)
            del self._open[client.connection.fileno()]
            client.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.connection.close()

    def lag(self, client: Client) -> None:
        """It reads no more; who wants to reads a byte at a time from its connection."""
        self._poller.unregister(client.connection)
        del self._open[client.connection.fileno()]

    def read(self, limit: float, meanwhile: Callable[[float], None] = lambda _: None) -> None:
        """Reads until every client has a whole answer or none more, or ``limit`` seconds are over.

        ``meanwhile`` is called at least every 10 ms with the time.
        """
        end = time.monotonic() + limit
        left = {client.connection.fileno() for client in self._open.values() if not client.ended_at}
        while left and time.monotonic() < end:
            meanwhile(time.monotonic())
            for fd, _ in self._poller.poll(0.01):
                client = self._open.get(fd)
                if client is None:
                    continue
                try:
                    got = client.connection.recv_into(self._room)
                except BlockingIOError:
                    continue
                except OSError:
                    got = 0
                now = time.monotonic()
                if got:
                    client.take(self._room[:got], now)
                if not got:
                    self._poller.unregister(fd)
                    del self._open[fd]
                if not got or client.whole:
                    client.ended_at = client.ended_at or now
                    left.discard(fd)
            left &= self._open.keys()

    def close(self) -> None:
        """Resets what is open."""
        for client in self.clients:
            if not client.closed:
                client.closed = True
                client.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.connection.close()
        self._poller.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Keeps the whole process on one core, where it is a crowd."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def wait_for_workers(proxy: Proxy, head: bytes, workers: int, limit: float = 30.0) -> None:
    """Returns when the gateway answers, and each of its workers has connections."""
    end = time.monotonic() + limit
    while time.monotonic() < end and proxy.process.running:
        try:
            if ask(proxy.port, head).status == 200 and _workers(proxy, 16 * workers) == workers:
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise Unavailable(f"the gateway does not answer with {workers} workers: {proxy.process.words()}")


def _workers(proxy: Proxy, connections: int) -> int:
    """How many processes have some of a few new connections."""
    with Crowd(proxy.port, connections, b"") as crowd:
        time.sleep(0.1)  # they are accepted
        ports = [client.connection.getsockname()[1] for client in crowd.clients]
        owners = owners_of([(proxy.port, port) for port in ports], family(proxy.process.pid))
    return len({owner for owner in owners if owner is not None})
