"""A target in a process of its own, which can be killed: ``python target_process.py PORT [JSON]``.

``delay``: seconds that an answer takes, drawn evenly from these two. ``status``: of every answer. ``/long`` is answered
with half a body at once and the other half after a tenth of a second. ``/healthz`` answers 200 until ``/control/sick``
is asked for, and again after ``/control/well``. ``/control/stats`` tells what came, not counting these.
"""

import asyncio
import json
import random
import re
import sys
import time
from typing import Any

import uvloop

REASONS = {200: "OK", 503: "Service Unavailable"}


class Target:
    def __init__(self, port: int, *, delay: tuple[float, float] = (0.0, 0.0), status: int = 200) -> None:
        self.port = port
        self.delay = delay
        self.status = status
        self.health = 200
        self.probes = 0
        self.in_flight = 0
        self.most_in_flight = 0
        self.arrivals: list[tuple[int, int, int]] = []
        """Of each request the monotonic and the wall clock when it arrived, and when its client says it was sent."""

    def stats(self) -> dict[str, Any]:
        return {
            "requests": len(self.arrivals),
            "probes": self.probes,
            "in_flight": self.in_flight,
            "most_in_flight": self.most_in_flight,
            "arrivals": self.arrivals,
        }


class Connection(asyncio.Protocol):
    def __init__(self, target: Target) -> None:
        self.target = target
        self.loop = asyncio.get_running_loop()
        self.held = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.held += data
        while True:
            head, end, rest = self.held.partition(b"\r\n\r\n")
            if not end:
                return
            length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
            size = int(length[1]) if length else 0
            if len(rest) < size:
                return
            self.held = rest[size:]
            self.asked(head.split(b" ", 2)[1].decode(), head)

    def asked(self, path: str, head: bytes) -> None:
        target = self.target
        if path == "/healthz":
            target.probes += 1
            self.answer(target.health, b"")
        elif path.startswith("/control/"):
            target.health = {"/control/sick": 503, "/control/well": 200}.get(path, target.health)
            self.answer(200, json.dumps(target.stats()).encode())
        else:
            sent = re.search(rb"(?i)\r\nx-sent: (\d+)", head)
            target.arrivals.append((time.monotonic_ns(), time.time_ns(), int(sent[1]) if sent else 0))
            target.in_flight += 1
            target.most_in_flight = max(target.most_in_flight, target.in_flight)
            if path == "/long":
                self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n" + b"x" * 1000)
                self.loop.call_later(0.1, self.done, b"x" * 1000)
            else:
                body = b"%d %d" % (target.port, len(target.arrivals))
                whole = answer_of(target.status, body)
                if target.delay[1]:
                    self.loop.call_later(random.uniform(*target.delay), self.done, whole)
                else:
                    self.done(whole)

    def done(self, data: bytes) -> None:
        self.target.in_flight -= 1
        if not self.transport.is_closing():
            self.transport.write(data)

    def answer(self, status: int, body: bytes) -> None:
        self.transport.write(answer_of(status, body))


def answer_of(status: int, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status} {REASONS[status]}\r\nContent-Length: {len(body)}\r\nX-Body: {body.decode()[:20]}\r\n\r\n"
    return head.encode() + body


async def main() -> None:
    target = Target(int(sys.argv[1]), **json.loads(sys.argv[2]))
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(target), "127.0.0.1", target.port, backlog=1024
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    target.port = server.sockets[0].getsockname()[1]
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
