"""Runs a GatewayServer in a process of its own, and reads what it says."""

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1]
STUB = "server.stub_gateway:StubGateway"
REAL = "fastgate.gateway:Gateway"

PROGRAM = """
import json, sys
from fastgate.config import GatewayConfig
from fastgate.server import GatewayServer
GatewayServer(GatewayConfig.from_dict(json.loads(sys.argv[1])), factory=sys.argv[2]).start()
"""

FROM_FILE = """
import sys
from fastgate.config import GatewayConfig
from fastgate.server import GatewayServer, reload
from fastgate.server.watch import FileWatch
file, factory, watched, timeout = sys.argv[1:]
reload.PREPARE_TIMEOUT = float(timeout)
watch = FileWatch(file, 0.05) if watched else None
read = lambda allow_empty=False: GatewayConfig.from_file(file, allow_empty=allow_empty)
GatewayServer(read(), source=read, file=file, watch=watch, factory=factory).start()
"""


def config(**gateway: Any) -> dict[str, Any]:
    return {
        "gateway": {"port": 0, "access_log": {"path": ""}, **gateway},
        "routes": [{"name": "all", "path": "/*", "upstream": "backend"}],
        "upstreams": {"backend": {"targets": ["127.0.0.1:1"]}},
    }


def environment() -> dict[str, str]:
    path = [str(TESTS.parent), str(TESTS)]
    # `make debug` sets PYTHONSAFEPATH, which would hide what lies beside a script.
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    return {**inherited, "PYTHONPATH": os.pathsep.join(path)}


class Server:
    """A running gateway. ``log`` has every line of its standard error so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.log: list[str] = []
        self._changed = asyncio.Event()
        self._reader = asyncio.create_task(self._read())

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def text(self) -> str:
        return "\n".join(self.log)

    async def _read(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.log.append(line.decode().rstrip())
            self._changed.set()
        self.log.append("")
        self._changed.set()

    async def says(self, pattern: str, times: int = 1, within: float = 15.0) -> re.Match[str]:
        """The line of its log that matches, the last of so many."""
        async with asyncio.timeout(within):
            while True:
                self._changed.clear()
                found = [match for match in map(re.compile(pattern).search, self.log) if match]
                if len(found) >= times:
                    return found[times - 1]
                if self.log and self.log[-1] == "" and self._reader.done():
                    raise AssertionError(f"it left without saying {pattern!r}:\n{self.text}")
                await self._changed.wait()

    async def port(self) -> int:
        return int((await self.says(r"listens on http://127\.0\.0\.1:(\d+)"))[1])

    async def complete(self, workers: int) -> int:
        """Waits until all of so many workers are ready; the port."""
        port = await self.port()
        if workers > 1:
            await self.says(r"worker \d+ is ready", times=workers - 1)
        return port

    def workers(self) -> dict[int, int]:
        """Process id by position of the workers that live now, oldest first."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return dict(enumerate(sorted(map(int, children))))

    async def left(self, within: float = 15.0) -> int:
        """Its exit code, once it is gone."""
        async with asyncio.timeout(within):
            code = await self.process.wait()
            await self._reader
            return code

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)


def running(settings: dict[str, Any], factory: str = STUB) -> contextlib.AbstractAsyncContextManager[Server]:
    return program(PROGRAM, json.dumps(settings), factory)


def running_file(
    file: Path, factory: str = STUB, *, watch: bool = False, timeout: float = 30
) -> contextlib.AbstractAsyncContextManager[Server]:
    """The gateway reads that file, a JSON one, and reads it again when it is told to."""
    return program(FROM_FILE, str(file), factory, "watch" if watch else "", str(timeout))


@contextlib.asynccontextmanager
async def program(text: str, *arguments: str) -> AsyncIterator[Server]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", text, *arguments, stderr=asyncio.subprocess.PIPE, env=environment()
    )
    server = Server(process)
    try:
        yield server
    finally:
        if process.returncode is None:
            for pid in server.workers().values():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        await server.left()


async def fetch(port: int, path: str = "/", within: float = 5.0) -> str:
    """The body of the answer, over a connection of its own; "" when it was closed without one."""
    async with asyncio.timeout(within):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            return await ask(reader, writer, path)
        finally:
            writer.close()


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str = "/") -> str:
    """The body of the answer on a connection that is kept."""
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        assert length, head
        return (await reader.readexactly(int(length[1]))).decode()
    except (ConnectionError, asyncio.IncompleteReadError):
        return ""


async def eventually(condition: Callable[[], bool], within: float = 10.0) -> None:
    """Waits for something that cannot be awaited, such as the end of somebody else's process."""
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
