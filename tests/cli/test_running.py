"""reload and status, against gateways that run."""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from server.harness import Server, environment, fetch, free_port

from fastgate.cli.status import _spell

MAIN = "from fastgate.cli import main; main()"


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A run-time directory of its own, with a short path, and a folder to work in."""
    run_dir = tempfile.mkdtemp(prefix="fg-")
    monkeypatch.setenv("FASTGATE_RUN_DIR", run_dir)
    monkeypatch.chdir(tmp_path)
    yield
    shutil.rmtree(run_dir)


def write(port: int, health: str = "/one", more: str = "") -> None:
    Path("fastgate.toml").write_text(
        f'[gateway]\nport = {port}\nhealth_path = "{health}"\n{more}\n'
        '[[routes]]\nname = "all"\npath = "/x"\nupstream = "b"\n[upstreams.b]\ntargets = ["127.0.0.1:1"]\n'
    )


@contextlib.asynccontextmanager
async def serving(*options: str) -> AsyncIterator[Server]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", MAIN, "serve", *options, stderr=asyncio.subprocess.PIPE, env=environment()
    )
    server = Server(process)
    try:
        await server.says("listens on")
        yield server
    finally:
        if process.returncode is None:
            for _ in range(2):
                with contextlib.suppress(ProcessLookupError):
                    server.signal(signal.SIGTERM)
        await server.left()


async def fastgate(*words: str) -> tuple[int | None, str, str]:
    """Exit code, standard output, standard error."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        MAIN,
        *words,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(),
    )
    out, err = await asyncio.wait_for(process.communicate(), 30)
    return process.returncode, out.decode(), err.decode()


async def test_where_nobody_runs() -> None:
    place = os.environ["FASTGATE_RUN_DIR"]
    for command in ("reload", "status"):
        assert await fastgate(command) == (
            1,
            "",
            f"fastgate: no gateway is running (looked in {place}; FASTGATE_RUN_DIR sets another directory)\n",
        )


async def test_reload_takes_the_file_over_with_the_options_of_serve() -> None:
    port = free_port()
    write(1)  # the option wins, at each reading
    async with serving("--port", str(port), "--workers", "2"):
        write(2, "/two")
        code, out, err = await fastgate("reload")
        assert (code, err) == (0, "")
        assert re.fullmatch(r"reloaded: generation 2, [12] workers?, 1 route \(\d+\.\d\d s\)\n", out)
        assert "404" not in await fetch(port, "/two")


async def test_a_file_that_is_wrong_is_told_as_check_tells_it() -> None:
    port = free_port()
    write(port)
    async with serving():
        write(port, more='prot = 1\ntls = { certificates = [{ cert = "no.pem", key = 5 }] }')
        checked = await fastgate("check")
        code, out, err = await fastgate("reload")
        assert (code, out) == (1, "")
        assert err == f"{checked[2]}fastgate: reload refused; the gateway keeps its current configuration\n"
        assert "fastgate.toml:4: gateway.prot: unknown key" in err
        assert "404" not in await fetch(port, "/one")


async def test_a_file_that_has_been_emptied_is_refused_unless_that_is_meant() -> None:
    port = free_port()
    write(port)
    async with serving("--port", str(port)):
        refused = {"": "fastgate.toml: the file is empty", "[gateway]\n": "fastgate: routes: the file has none"}
        for text, told in refused.items():
            Path("fastgate.toml").write_text(text)
            code, out, err = await fastgate("reload")
            assert (code, out) == (1, "")
            assert err.startswith(told)
            assert err.endswith("fastgate: reload refused; the gateway keeps its current configuration\n")
            assert "404" not in await fetch(port, "/one")
        for text in ("# nothing\n", "[gateway]\n"):
            write(port)
            assert (await fastgate("reload"))[0] == 0
            Path("fastgate.toml").write_text(text)
            code, out, err = await fastgate("reload", "--allow-empty")
            assert (code, err) == (0, "")
            assert "0 routes" in out
            assert "404" in await fetch(port, "/one")
    for command in ("check", "serve"):
        Path("fastgate.toml").write_text("# nothing\n")
        told = "fastgate.toml: the file is empty, so the gateway would serve nothing\n"
        assert await fastgate(command) == (2, "", told)


async def test_what_needs_a_restart_says_so() -> None:
    write(free_port())
    async with serving():
        write(9090)
        code, _, err = await fastgate("reload")
        assert code == 1
        assert err.splitlines()[0] == (
            "fastgate: gateway.port: cannot change while the gateway runs; restart it to use 9090"
        )


async def test_status() -> None:
    port = free_port()
    write(port)
    async with serving() as server:
        (worker,) = server.workers().values()
        code, out, err = await fastgate("status")
        assert (code, err) == (0, "")
        assert re.fullmatch(
            f"pid         {server.pid}\n"
            "state       running\n"
            f"addresses   http://127.0.0.1:{port}\n"
            r"uptime      \d+\.\d s" + "\n"
            f"file        {re.escape(str(Path.cwd()))}/fastgate.toml\n"
            r"generation  1 \(1 route\)" + "\n"
            f"worker 0    pid {worker}, generation 1\n",
            out,
        )


async def test_when_several_run_one_is_chosen() -> None:
    ports = free_port(), free_port()
    write(0)
    async with serving("--port", str(ports[0])) as one, serving("--port", str(ports[1])) as other:
        for command in ("reload", "status"):
            code, out, err = await fastgate(command)
            assert (code, out) == (2, "")
            assert err.startswith("fastgate: 2 gateways are running; choose one:\n")
            for server, port in ((one, ports[0]), (other, ports[1])):
                assert f"  --pid {server.pid}  http://127.0.0.1:{port}  {Path.cwd()}/fastgate.toml\n" in err
        code, out, _ = await fastgate("status", "--pid", str(other.pid))
        assert (code, f"127.0.0.1:{ports[1]}" in out) == (0, True)
        code, _, err = await fastgate("reload", "--pid", "1")
        assert code == 1
        assert err.startswith("fastgate: no running gateway has process id 1; running: ")


async def test_a_gateway_that_does_not_answer() -> None:
    write(free_port())
    async with serving() as server:
        os.kill(server.pid, signal.SIGSTOP)
        try:
            assert await fastgate("reload", "--timeout", "0.3") == (
                1,
                "",
                "fastgate: the gateway did not answer within 0.3 s\n",
            )
        finally:
            os.kill(server.pid, signal.SIGCONT)


async def test_watch_needs_no_command() -> None:
    port = free_port()
    write(port)
    async with serving("--watch") as server:
        write(port, "/two")
        await server.says("generation 2 is in use")
        assert "404" not in await fetch(port, "/two")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (59.9, "59.9 s"), (60, "1 min 0 s"), (3725, "1 h 2 min"), (86400 * 3 + 7200, "3 d 2 h")],
)
def test_how_long_it_runs(seconds: float, text: str) -> None:
    assert _spell(seconds) == text
