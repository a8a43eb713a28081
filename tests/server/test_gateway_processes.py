"""The processes with the gateway itself in the workers, in front of an upstream."""

import asyncio
import contextlib
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from server.harness import (
    REAL,
    TESTS,
    Server,
    ask,
    config,
    environment,
    eventually,
    fetch,
    free_port,
    is_alive,
    running,
)


@contextlib.asynccontextmanager
async def upstream() -> AsyncIterator[int]:
    """Answers every request with "ok" after 2 ms, those for /slow after 1 s, for /stuck after 20 s; gives its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await asyncio.sleep({b"/slow": 1, b"/stuck": 20}.get(head.split()[1], 0.002))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def through(port: int, **gateway: Any) -> dict[str, Any]:
    return {**config(**gateway), "upstreams": {"backend": {"targets": [{"host": "127.0.0.1", "port": port}]}}}


async def test_requests_go_through_every_worker() -> None:
    async with upstream() as port, running(through(port, workers=2), REAL) as server:
        answers = [await fetch(await server.complete(2)) for _ in range(20)]
        assert answers == ["ok"] * 20


async def test_a_target_with_a_name_reaches_the_workers_and_they_stay_in_touch(tmp_path: Path) -> None:
    async with upstream() as port:
        settings = through(port, workers=2)
        settings["upstreams"]["backend"]["targets"] = [f"localhost:{port}"]
        async with running(settings, REAL) as server:
            public = await server.complete(2)
            await server.says("localhost resolves to 127.0.0.1")
            assert [await fetch(public) for _ in range(10)] == ["ok"] * 10
            server.signal(signal.SIGTERM)
            assert await server.left() == 0
        assert "Traceback" not in server.text


async def test_kill_9_of_a_worker_under_load_fails_its_connections_only() -> None:
    async with upstream() as port, running(through(port, workers=2), REAL) as server:
        public = await server.complete(2)
        stop = asyncio.Event()
        failed: list[float] = []
        answered = 0

        async def client() -> None:
            nonlocal answered
            while not stop.is_set():
                reader, writer = await asyncio.open_connection("127.0.0.1", public)
                while not stop.is_set():
                    async with asyncio.timeout(2):
                        if await ask(reader, writer) != "ok":
                            failed.append(time.monotonic())
                            break
                    answered += 1
                writer.close()

        clients = [asyncio.create_task(client()) for _ in range(32)]
        await eventually(lambda: answered > 500)
        killed = time.monotonic()
        os.kill(server.workers()[0], signal.SIGKILL)
        await server.says("is ready", times=2)
        assert time.monotonic() - killed < 2
        seen = answered
        await eventually(lambda: answered > seen + 500)
        stop.set()
        await asyncio.gather(*clients)
        assert 0 < len(failed) < 32
        assert all(at - killed < 1 for at in failed)


@pytest.mark.needs("wrk")
async def test_kill_9_of_a_worker_under_wrk() -> None:
    """Only the connections of the killed worker break, at most once each, and it is answered again within 2 s."""
    async with upstream() as port, running(through(port, workers=2), REAL) as server:
        public = await server.complete(2)
        url = f"http://127.0.0.1:{public}/"
        wrk = await asyncio.create_subprocess_exec(
            "wrk", "-t1", "-c32", "-d4s", url, stdout=asyncio.subprocess.PIPE, env={**os.environ, "LC_ALL": "C"}
        )
        victim = server.workers()[0]
        await asyncio.sleep(1)  # wrk says nothing before its end
        before = [await count_connections(pid, public) for pid in server.workers().values()]
        killed = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        while not await fetch(public):
            assert time.monotonic() - killed < 2
        await server.says(r"worker \d+ is ready", times=2)
        assert time.monotonic() - killed < 2
        said, _ = await wrk.communicate()
        text = said.decode()
        print(text, before)
        errors = dict.fromkeys(("connect", "read", "write", "timeout"), 0)
        if found := re.search(r"Socket errors: (.*)", text):
            errors = {kind: int(number) for kind, number in re.findall(r"(\w+) (\d+)", found[1])}
        assert errors["connect"] == errors["timeout"] == 0
        assert errors["read"] + errors["write"] <= before[0]
        assert "Non-2xx" not in text
        completed = re.search(r"(\d+) requests in", text)
        assert completed
        assert int(completed[1]) > 1000


async def count_connections(pid: int, port: int) -> int:
    """Established connections that a process has accepted on this port."""
    inodes = set()
    for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1].endswith(f":{port:04X}") and fields[3] == "01":
            inodes.add(fields[9])
    held = 0
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            held += os.readlink(entry).removeprefix("socket:[").rstrip("]") in inodes
    return held


async def test_sigterm_under_64_keep_alive_clients_loses_no_request() -> None:
    async with upstream() as port, running(through(port, workers=2), REAL) as server:
        public = await server.complete(2)
        lost: list[str] = []
        refused = answered = 0

        async def connection() -> bool:
            """Uses one connection until it is told to close it; False when there is nobody to connect to any more."""
            nonlocal answered, refused
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", public)
            except (ConnectionRefusedError, ConnectionResetError):
                refused += 1  # a reset: the sockets closed between its handshake and its being accepted
                return False
            accepted = False
            try:
                while True:
                    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                    head = await reader.readuntil(b"\r\n\r\n")
                    assert await reader.readexactly(2) == b"ok"
                    accepted = True
                    answered += 1
                    if b"connection: close" in head.lower():
                        return True
            except (ConnectionError, asyncio.IncompleteReadError) as error:
                if accepted:
                    lost.append(repr(error))
                else:
                    refused += 1  # the sockets closed before anybody accepted it
                return accepted
            finally:
                writer.close()

        async def client() -> None:
            while await connection():
                pass

        clients = [asyncio.create_task(client()) for _ in range(64)]
        await eventually(lambda: answered > 1000)
        server.signal(signal.SIGTERM)
        await asyncio.gather(*clients)
        print(f"{answered} answered, {len(lost)} lost, {refused} connects refused")
        assert lost == []
        assert refused >= 64
        assert await server.left() == 0


async def test_a_request_in_flight_is_finished_by_the_drain() -> None:
    async with upstream() as port, running(through(port), REAL) as server:
        public = await server.port()
        slow = asyncio.create_task(fetch(public, "/slow"))
        await asyncio.sleep(0.3)
        server.signal(signal.SIGTERM)
        assert await slow == "ok"
        assert await server.left() == 0


async def test_a_second_signal_cuts_what_is_in_flight() -> None:
    async with upstream() as port, running(through(port), REAL) as server:
        public = await server.port()
        slow = asyncio.create_task(fetch(public, "/stuck", within=20))
        await asyncio.sleep(0.3)
        began = time.monotonic()
        server.signal(signal.SIGTERM)
        await server.says("draining")
        server.signal(signal.SIGTERM)
        assert await slow == ""
        assert await server.left() == 1
        assert time.monotonic() - began < 2


async def test_a_health_path_turns_503_during_the_drain_delay() -> None:
    settings = through(1, health_path="/healthz", drain_delay="500ms")
    async with running(settings, REAL) as server:
        public = await server.port()
        assert await status(public, "/healthz") == 200
        server.signal(signal.SIGTERM)
        await server.says("draining")
        async with asyncio.timeout(5):
            while await status(public, "/healthz") == 200:
                await asyncio.sleep(0.01)
        assert await status(public, "/healthz") == 503
        assert await server.left() == 0


async def status(port: int, path: str) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return int(answer.split()[1])


async def test_workers_whose_supervisor_was_killed_finish_and_leave() -> None:
    async with upstream() as port, running(through(port, workers=2), REAL) as server:
        public = await server.complete(2)
        slow = asyncio.create_task(fetch(public, "/slow"))
        await fetch(public)
        await asyncio.sleep(0.3)
        workers = list(server.workers().values())
        server.signal(signal.SIGKILL)
        assert await slow == "ok"
        await eventually(lambda: not any(map(is_alive, workers)))


async def test_a_worker_that_is_stopped_is_missed_and_replaced() -> None:
    async with upstream() as port, running(through(port, worker_timeout="1s"), REAL) as server:
        public = await server.port()
        assert await fetch(public) == "ok"
        os.kill(server.workers()[0], signal.SIGSTOP)
        await server.says("has not responded for")
        assert await fetch(public, within=10) == "ok"


async def test_a_certificate_that_is_missing_is_one_line(tmp_path: Path) -> None:
    settings = config(tls={"certificates": [{"cert": str(tmp_path / "a.pem"), "key": str(tmp_path / "a.key")}]})
    async with running(settings, REAL) as server:
        assert await server.left() == 1
        assert len(server.log) == 2
        assert "a.pem" in server.log[0]


# --- The command


@contextlib.asynccontextmanager
async def command(*arguments: str, cwd: Path) -> AsyncIterator[Server]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "from fastgate.cli import main; main()",
        "serve",
        *arguments,
        stderr=asyncio.subprocess.PIPE,
        env=environment(),
        cwd=cwd,
    )
    server = Server(process)
    try:
        yield server
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await server.left()


def written(folder: Path, port: int) -> Path:
    file = folder / "fastgate.toml"
    file.write_text(f"""
[gateway]
port = 0
[gateway.access_log]
path = ""
[[routes]]
name = "all"
path = "/*"
upstream = "backend"
[upstreams.backend]
targets = ["127.0.0.1:{port}"]
""")
    return file


async def test_serve_runs_a_file_with_options_that_win(tmp_path: Path) -> None:
    public = free_port()
    async with upstream() as port:
        file = written(tmp_path, port)
        async with command(str(file), "--workers", "2", "--port", str(public), cwd=tmp_path) as server:
            await server.says(rf"listens on http://127\.0\.0\.1:{public} \(2 workers, pid \d+\)")
            assert await fetch(public) == "ok"
            assert len(server.workers()) == 2
            server.signal(signal.SIGTERM)
            assert await server.left() == 0


async def test_serve_without_an_argument_takes_the_file_that_is_here(tmp_path: Path) -> None:
    async with upstream() as port:
        written(tmp_path, port)
        async with command("--host", "::1", cwd=tmp_path) as server:
            await server.says(r"listens on http://\[::1\]:\d+")
            server.signal(signal.SIGINT)
            assert await server.left() == 0


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        ([], 2, "fastgate.toml not found in this folder"),
        (["missing.toml"], 2, "missing.toml"),
        (["--workers", "0"], 2, '"0" is not a valid number of workers: use 1 to 1024, or "auto"'),
        (["--workers", "many"], 2, '"many" is not a valid number'),
        (["--port", "70000"], 2, "70000"),
        (["there.toml", "--host", "http://x"], 2, "has no scheme"),
        (["there.toml", "--host", "192.0.2.77"], 1, "no interface of this machine has that address"),
    ],
)
async def test_what_cannot_be_served_is_one_line(tmp_path: Path, arguments: list[str], code: int, line: str) -> None:
    written(tmp_path, 1).rename(tmp_path / "there.toml")
    async with command(*arguments, cwd=tmp_path) as server:
        assert await server.left() == code
        assert line in server.text
        assert len(server.log) == 2


async def test_workers_find_what_the_supervisors_script_finds(tmp_path: Path) -> None:
    """A script without a main guard, next to a module that only its own folder has."""
    (tmp_path / "neighbour.py").write_text("from server.stub_gateway import StubGateway as Gateway\n")
    script = tmp_path / "run.py"
    script.write_text(f"""
import sys
sys.path.append({str(TESTS)!r})
from fastgate.config import GatewayConfig
from fastgate.server import GatewayServer
GatewayServer(GatewayConfig.from_dict({config()!r}), factory="neighbour:Gateway").start()
""")
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(script), stderr=asyncio.subprocess.PIPE, env=environment(), cwd="/"
    )
    server = Server(process)
    assert await fetch(await server.port())
    server.signal(signal.SIGTERM)
    assert await server.left() == 0
