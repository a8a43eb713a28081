"""Large bodies through a worker process: equal digests on both sides, and the worker's memory does not grow with them.

``FASTGATE_LARGE_BODY=1073741824`` runs them at 1 GB.
"""

import asyncio
import contextlib
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

import pytest
from server.harness import REAL, config, running

SIZE = int(os.environ.get("FASTGATE_LARGE_BODY", 64 << 20))
PIECE = os.urandom(1 << 20)
GROWTH = 20 << 20
SLOW_EVERY = 16 << 20  # a slow reader pauses after so many bytes

pytestmark = pytest.mark.timeout(600)


@contextlib.asynccontextmanager
async def storage(slow: bool) -> AsyncIterator[tuple[int, asyncio.Queue[str]]]:
    """GET sends SIZE bytes, PUT takes a body; the digest of either goes into the queue. Gives port and queue."""
    digests: asyncio.Queue[str] = asyncio.Queue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if head.startswith(b"GET"):
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE)
                    await digests.put(await send(writer))
                else:
                    await digests.put(await receive(reader, slow))
                    writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 20)
    try:
        yield server.sockets[0].getsockname()[1], digests
    finally:
        server.close()


async def send(writer: asyncio.StreamWriter) -> str:
    digest = hashlib.sha256()
    for _ in range(SIZE // len(PIECE)):
        digest.update(PIECE)
        writer.write(PIECE)
        await writer.drain()
    return digest.hexdigest()


async def receive(reader: asyncio.StreamReader, slow: bool) -> str:
    digest = hashlib.sha256()
    left = SIZE
    pause = SIZE - SLOW_EVERY
    while left:
        data = await reader.read(min(left, 1 << 20))
        assert data, f"cut, {left} bytes before the end"
        digest.update(data)
        left -= len(data)
        if slow and left <= pause:
            pause -= SLOW_EVERY
            await asyncio.sleep(0.05)
    return digest.hexdigest()


class Peak:
    """The most resident memory of a process while this is open, in bytes, beyond what it had at the beginning."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._before = self._value("VmRSS")

    def __enter__(self) -> Self:
        Path(f"/proc/{self._pid}/clear_refs").write_text("5")
        return self

    def __exit__(self, *_: object) -> None:
        self.growth = self._value("VmHWM") - self._before

    def _value(self, key: str) -> int:
        for line in Path(f"/proc/{self._pid}/status").read_text().splitlines():
            if line.startswith(f"{key}:"):
                return int(line.split()[1]) * 1024
        raise KeyError(key)


def through(port: int) -> dict[str, Any]:
    upstreams = {"backend": {"targets": [{"host": "127.0.0.1", "port": port}]}}
    return {**config(max_body=0), "upstreams": upstreams}


@pytest.mark.parametrize("slow", [False, True], ids=["fast reader", "slow reader"])
@pytest.mark.parametrize("direction", ["download", "upload"])
async def test_a_large_body_passes_whole_and_in_bounded_memory(
    direction: str, slow: bool, record_property: Any
) -> None:
    async with storage(slow) as (port, digests), running(through(port), REAL) as server:
        public = await server.port()
        (worker,) = server.workers().values()
        reader, writer = await asyncio.open_connection("127.0.0.1", public, limit=1 << 20)
        with Peak(worker) as peak:
            if direction == "download":
                writer.write(b"GET /file HTTP/1.1\r\nHost: localhost\r\n\r\n")
                head = await reader.readuntil(b"\r\n\r\n")
                assert b"\r\nContent-Length: %d\r\n" % SIZE in head
                here = await receive(reader, slow)
            else:
                writer.write(b"PUT /file HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % SIZE)
                here = await send(writer)
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 204 ")
        writer.close()
        there = await digests.get()
        grown = f"worker grew by {peak.growth / 1e6:.1f} MB"
        print(f"{direction}, {SIZE} bytes: sha256 {here[:16]}… = {there[:16]}…, {grown}")
        assert here == there
        assert peak.growth < GROWTH
