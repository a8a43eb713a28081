"""An origin that takes its time: ``python -m benchmarks.crowd_origin`` prints its port and serves until it is ended.

``/pieces/NAME`` is `BODY` bytes made from the name, in `PIECES` pieces, one each `SECONDS` / `PIECES`; it may be stored
for an hour. ``/private/NAME`` is the same with ``no-store``. ``?wait=S`` comes before the head. ``/asked`` tells, as
JSON, who asked for what: for each path the ports of the connections, and when it was asked.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from functools import cache
from typing import Any, ClassVar

import uvloop

from benchmarks.load import Listening, ask, cached_head

BODY = 1 << 20
PIECES = 16
SECONDS = 0.5


@cache
def body_of(path: str) -> bytes:
    """The body at a path, which has no query."""
    return random.Random(path).randbytes(BODY)


class Serving(asyncio.Protocol):
    """One connection."""

    asked: ClassVar[dict[str, list[dict[str, float]]]] = {}
    """On all connections."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        self.transport: Any = transport
        self.received = b""

    def data_received(self, data: bytes) -> None:
        """A head, or a part of it; nobody sends bodies here."""
        self.received += data
        while b"\r\n\r\n" in self.received:
            head, _, self.received = self.received.partition(b"\r\n\r\n")
            self.answer(head.split(b" ", 2)[1].decode())

    def answer(self, target: str) -> None:
        """Begins an answer."""
        path, _, query = target.partition("?")
        if path == "/asked":
            body = json.dumps(self.asked).encode()
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            return
        port = self.transport.get_extra_info("peername")[1]
        self.asked.setdefault(path, []).append({"port": port, "at": time.monotonic()})
        lifetime = "no-store" if path.startswith("/private/") else "max-age=3600"
        head = f'HTTP/1.1 200 OK\r\nContent-Length: {BODY}\r\nCache-Control: {lifetime}\r\nETag: "{path}"\r\n\r\n'
        loop = asyncio.get_running_loop()
        begins = loop.time() + float(query.removeprefix("wait=") or 0)
        loop.call_at(begins, self.give, begins, 0, head.encode(), memoryview(body_of(path)))

    def give(self, begins: float, number: int, head: bytes, body: memoryview) -> None:
        """The next piece."""
        if self.transport.is_closing():
            return
        size = BODY // PIECES
        piece = body[number * size : (number + 1) * size]
        self.transport.write(head + piece if head else piece)
        if number + 1 < PIECES:
            due = begins + (number + 1) * SECONDS / PIECES
            asyncio.get_running_loop().call_at(due, self.give, begins, number + 1, b"", body)


class CrowdOrigin(Listening):
    """The program, on ``core``. A context manager."""

    def __init__(self, core: int) -> None:
        super().__init__(core, [sys.executable, "-m", "benchmarks.crowd_origin"])

    def asked(self, path: str) -> list[dict[str, float]]:
        """Requests for a path so far: the port they came from and when."""
        found: dict[str, list[dict[str, float]]] = json.loads(ask(self.port, cached_head("/asked")).body)
        return found.get(path, [])


async def main() -> None:
    """Serve until the process is ended."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Serving, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
