"""What makes a gateway start fast: what it does not import, and a first worker that does not wait for the file."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from server.harness import Server, environment, free_port

SERVE = "from fastgate.cli import main; main()"


def imported_by(program: str) -> set[str]:
    """The modules of a fresh interpreter after this program."""
    text = subprocess.run(
        [sys.executable, "-c", f"{program}\nimport sys\nprint(*sys.modules)"],
        env=environment(),
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return set(text.split())


@pytest.mark.parametrize(
    ("program", "unwanted"),
    [
        (
            "import fastgate.server.worker, fastgate.gateway.gateway",
            {"click", "cryptography", "email", "fastgate.gateway.tls", "html", "importlib.metadata", "rich", "tomllib"}
            | {"fastgate.config.check.auth", "fastgate.config.check.warnings", "fastgate.config.read.walker"},
        ),
        (
            "import fastgate.cli.serve, fastgate.server.process",
            {"asyncio", "fastgate.config", "logging", "msgspec", "uvloop"},
        ),
    ],
    ids=["worker", "before the worker is started"],
)
def test_what_a_start_does_not_import(program: str, unwanted: set[str]) -> None:
    assert not imported_by(program) & unwanted


def written(folder: Path) -> Path:
    file = folder / "fastgate.toml"
    file.write_text(f"""
[gateway]
port = {free_port()}
[[routes]]
name = "all"
path = "/*"
upstream = "backend"
[upstreams.backend]
targets = ["127.0.0.1:1"]
""")
    return file


async def test_every_worker_may_open_as_many_files_as_the_hard_limit_says(tmp_path: Path) -> None:
    """Also the first, which is started before the supervisor raises its own limit."""
    process = await asyncio.create_subprocess_exec(
        "/bin/sh",
        "-c",
        'ulimit -Sn 128; ulimit -Hn 512; exec "$@"',
        "sh",
        *(sys.executable, "-c", SERVE, "serve", str(written(tmp_path)), "--workers", "2"),
        stderr=asyncio.subprocess.PIPE,
        env=environment(),
    )
    server = Server(process)
    try:
        await server.complete(2)
        for pid in (server.pid, *server.workers().values()):
            limits = Path(f"/proc/{pid}/limits").read_text()
            assert next(line for line in limits.splitlines() if "open files" in line).split()[3:5] == ["512", "512"]
        server.signal(signal.SIGTERM)
        assert await server.left() == 0
    finally:
        if process.returncode is None:
            process.kill()
        await server.left()
