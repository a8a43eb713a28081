"""Targets in processes of their own, clients that keep their connections busy, and a look into the shared memory."""

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from server.harness import Server, environment

from fastgate._core.memory.segment import Segment

TARGET = Path(__file__).with_name("target_process.py")


def scaled(default: float) -> float:
    """So many seconds, times ``FASTGATE_TEST_SCALE``."""
    return default * float(os.environ.get("FASTGATE_TEST_SCALE", "1"))


class TargetProcess:
    """A running target; see `target_process`."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        self.port = 0
        self.process: asyncio.subprocess.Process

    @property
    def name(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Starts it, or starts it again on the port that it had."""
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, str(TARGET), str(self.port), json.dumps(self.options), stdout=asyncio.subprocess.PIPE,
            env=environment(),
        )
        assert self.process.stdout is not None
        async with asyncio.timeout(20):
            self.port = int(await self.process.stdout.readline())

    async def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGKILL)
        await self.process.wait()

    async def control(self, what: str = "stats") -> dict[str, Any]:
        """Asks it directly, not through a gateway: its numbers."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 24)
        try:
            writer.write(f"GET /control/{what} HTTP/1.1\r\nHost: target\r\n\r\n".encode())
            _, _, body = await read_answer(reader)
            answer: dict[str, Any] = json.loads(body)
            return answer
        finally:
            writer.close()


@contextlib.asynccontextmanager
async def targets(*options: dict[str, Any]) -> AsyncIterator[list[TargetProcess]]:
    """One target process for each of these options."""
    started = [TargetProcess(each) for each in options]
    async with contextlib.AsyncExitStack() as stack:
        for target in started:
            await target.start()
            stack.push_async_callback(target.kill)
        yield started


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, bytes, bytes]:
    """Status, head and body. Raises IncompleteReadError, whose ``partial`` is all that came."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
    assert length, head
    try:
        body = await reader.readexactly(int(length[1]))
    except asyncio.IncompleteReadError as error:
        raise asyncio.IncompleteReadError(head + error.partial, None) from None
    return int(head.split(b" ", 2)[1]), head, body


class Load:
    """Clients that ask over connections they keep, one request after the other, until the block ends.

    ``outcomes`` counts "200" and other statuses, "cut" for answers that had begun and broke off, and "unanswered" for
    requests that got not one byte. ``request(client, number)`` makes the bytes of a request.
    """

    def __init__(self, port: int, clients: int, request: Callable[[int, int], bytes], *, pause: float = 0.0) -> None:
        self.port = port
        self.clients = clients
        self.request = request
        self.pause = pause
        self.outcomes: Counter[str] = Counter()
        self.served_by: Counter[str] = Counter()
        self.slowest = 0.0
        self.odd: list[str] = []
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def answered(self) -> int:
        return self.outcomes["200"]

    @property
    def failed(self) -> dict[str, int]:
        """What a client would call an error: neither answered with 200, nor cut in an answer that had begun."""
        return {word: count for word, count in self.outcomes.items() if word not in ("200", "cut")}

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._client(number)) for number in range(self.clients)]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Every client finishes its request and leaves."""
        self._stopping = True
        async with asyncio.timeout(30):
            await asyncio.gather(*self._tasks)

    async def more(self, answers: int, within: float = 20.0) -> None:
        """Waits for so many answers more."""
        wanted = self.answered + answers
        async with asyncio.timeout(within):
            while self.answered < wanted:
                await asyncio.sleep(0.01)

    async def _client(self, client: int) -> None:
        number = 0
        while not self._stopping:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            try:
                while not self._stopping:
                    begun = time.monotonic()
                    writer.write(self.request(client, number))
                    number += 1
                    status, head, body = await read_answer(reader)
                    self.slowest = max(self.slowest, time.monotonic() - begun)
                    self._count(str(status))
                    if status == 200:
                        self.served_by[body.split(b" ")[0][:8].decode()] += 1
                    else:
                        self.odd.append(f"{time.time():.3f} {head!r} {body!r}")
                    if b"connection: close" in head.lower():
                        break
                    if self.pause:
                        await asyncio.sleep(self.pause)
            except asyncio.IncompleteReadError as error:
                self._count("cut" if error.partial else "unanswered")
            except ConnectionError:
                self._count("unanswered")
            finally:
                writer.close()

    def _count(self, outcome: str) -> None:
        self.outcomes[outcome] += 1


def get(path: str = "/", *fields: str) -> bytes:
    lines = "".join(f"{field}\r\n" for field in fields)
    return f"GET {path} HTTP/1.1\r\nHost: gateway\r\n{lines}\r\n".encode()


def segment_of(pid: int) -> Segment:
    """The shared memory of a gateway that runs in that process."""
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        if os.readlink(entry).startswith("/memfd:fastgate"):
            return Segment.attach(os.open(entry, os.O_RDWR))
    raise AssertionError(f"process {pid} has no segment")


def log_time(line: str) -> float:
    """When a line of the log was written, as ``time.time()``."""
    return datetime.fromisoformat(line.split(" ", 1)[0]).timestamp()


def lines_of(server: Server, pattern: str) -> list[tuple[float, str]]:
    """The lines of a server's log so far that match: when, and what the first group is."""
    found = []
    for line in server.log:
        match = re.search(pattern, line)
        if match:
            found.append((log_time(line), match[1] if match.re.groups else match[0]))
    return found
