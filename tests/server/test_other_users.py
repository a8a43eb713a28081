"""Root and the gateways of other users: it finds them, asks them, and believes none of them more than it must."""

import asyncio
import contextlib
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from server.harness import environment

from fastgate.server.run_dir import connect, running_gateways, searched_dirs

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")

SERVICE, STRANGER = 65534, 65533

# A gateway with the control socket of a real one, and nothing else: a user's gateway would need its own interpreter.
GATEWAY = """
import asyncio, os, sys
from fastgate.config import ConfigError, Problem
from fastgate.server.control_socket import ControlSocket

async def status(_, by):
    maintenance = {"closed": [], "switched": []}
    return {"pid": os.getpid(), "state": "running", "addresses": ["http://a:1"], "uptime": 1.0, "file": sys.argv[2],
            "generation": 1, "routes": 2, "workers": [], "maintenance": maintenance}

async def reload(request, by):
    return {"generation": 2, "workers": 1, "routes": 3, "seconds": 0.1}

async def run():
    control = ControlSocket({"status": status, "reload": reload})
    await control.open()
    print("open", flush=True)
    await asyncio.Event().wait()

os.setgid(int(sys.argv[1]))
os.setuid(int(sys.argv[1]))
asyncio.run(run())
"""


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A short path for temporary files, as everybody may use it."""
    place = Path(tempfile.mkdtemp(prefix="fg-"))
    place.chmod(0o1777)
    for name in ("FASTGATE_RUN_DIR", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TMPDIR", str(place))
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    yield place
    shutil.rmtree(place)


@contextlib.asynccontextmanager
async def serving(user: int, file: str = "fastgate.toml", **environ: str) -> AsyncIterator[int]:
    """The process id of a gateway of that user."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", GATEWAY, str(user), file),
        stdout=asyncio.subprocess.PIPE,
        env={**environment(), **environ},
    )
    try:
        assert process.stdout is not None
        assert await asyncio.wait_for(process.stdout.readline(), 20) == b"open\n"
        yield process.pid
    finally:
        process.kill()
        await process.wait()


async def fastgate(*words: str) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from fastgate.cli import main; main()", *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(),
    )
    out, err = await asyncio.wait_for(process.communicate(), 30)
    return process.returncode, out.decode(), err.decode()


async def test_root_finds_and_asks_the_gateway_of_a_service_user(place: Path) -> None:
    async with serving(SERVICE) as pid:
        assert running_gateways()[pid] == place / f"fastgate-{SERVICE}" / f"{pid}.sock"
        code, out, err = await fastgate("status", "--pid", str(pid))
        assert (code, err) == (0, "")
        assert f"pid         {pid}\n" in out
        code, out, err = await fastgate("reload", "--pid", str(pid))
        assert (code, out, err) == (0, "reloaded: generation 2, 1 worker, 3 routes (0.10 s)\n", "")


async def test_a_list_says_whose_each_is(place: Path) -> None:
    async with serving(SERVICE, "/one.toml") as one, serving(STRANGER, "/two.toml") as other:
        code, _, err = await fastgate("status")
        assert code == 2
        assert f"  --pid {one}  http://a:1  /one.toml  (user nobody)\n" in err
        assert f"  --pid {other}  http://a:1  /two.toml  (user {STRANGER})\n" in err


async def test_the_places_of_service_managers(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory named in the environment, and temporary files of one service, whose path is too long for a socket."""
    named = place / "named"
    named.mkdir(mode=0o755)
    os.chown(named, SERVICE, SERVICE)
    private = Path("/tmp") / f"systemd-private-{'0' * 32}-fastgate-of-a-test.service-{os.getpid()}" / "tmp"
    private.mkdir(parents=True)
    try:
        private.chmod(0o1777)
        async with serving(SERVICE, FASTGATE_RUN_DIR=str(named)) as one, serving(SERVICE) as other:
            monkeypatch.setenv("FASTGATE_RUN_DIR", str(named))
            assert running_gateways() == {one: named / f"{one}.sock"}
            assert (await fastgate("status"))[0] == 0
            monkeypatch.delenv("FASTGATE_RUN_DIR")
            moved = private / f"fastgate-{SERVICE}"
            (place / f"fastgate-{SERVICE}").rename(moved)
            path = moved / f"{other}.sock"
            assert len(str(path)) > 107
            assert running_gateways()[other] == path
            assert (await fastgate("status", "--pid", str(other)))[0] == 0
    finally:
        shutil.rmtree(private.parent)


async def test_a_socket_that_another_user_serves_is_not_asked(place: Path) -> None:
    """Its directory is the service's, and whoever answers is not."""
    async with serving(SERVICE) as pid, serving(STRANGER) as other:
        path = place / f"fastgate-{SERVICE}" / f"{pid}.sock"
        path.unlink()
        (place / f"fastgate-{STRANGER}" / f"{other}.sock").rename(path)
        assert pid not in running_gateways()
        served = "user [0-9]+ serves .*, but the directory belongs to user"
        with socket.socket(socket.AF_UNIX) as sock, pytest.raises(PermissionError, match=served):
            connect(sock, path)
        code, _, err = await fastgate("status", "--pid", str(pid))
        assert code == 1
        assert f"no running gateway has process id {pid}" in err


async def test_directories_in_which_others_could_put_something_are_not_used(place: Path) -> None:
    async with serving(SERVICE) as pid:
        run = place / f"fastgate-{SERVICE}"
        run.chmod(0o777)
        assert pid not in running_gateways()
        run.chmod(0o700)
        assert pid in running_gateways()
        run.rename(place / "elsewhere")
        run.symlink_to(place / "elsewhere")
        assert pid not in running_gateways()


def test_root_removes_nothing_in_directories_of_others(place: Path) -> None:
    run = place / f"fastgate-{SERVICE}"
    run.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(run / "7.sock"))
    os.chown(run, SERVICE, SERVICE)
    assert 7 not in running_gateways()
    assert (run / "7.sock").exists()


async def test_what_a_gateway_says_cannot_steer_the_terminal(place: Path) -> None:
    async with serving(SERVICE, "\x1b]0;pwned\x07\x9b2J.toml") as pid:
        _, out, _ = await fastgate("status", "--pid", str(pid))
        assert "file        \ufffd]0;pwned\ufffd\ufffd2J.toml\n" in out


def test_where_root_looks_and_a_user_does_not(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = place / f"fastgate-{SERVICE}"
    run.mkdir(mode=0o700)
    assert run in searched_dirs()
    monkeypatch.setenv("FASTGATE_RUN_DIR", "/a")
    assert searched_dirs() == [Path("/a")]
    monkeypatch.delenv("FASTGATE_RUN_DIR")
    monkeypatch.setattr("fastgate.server.run_dir._SYSTEM", place / "system")
    (place / "system").mkdir(mode=0o755)
    monkeypatch.setattr("fastgate.server.run_dir.os.geteuid", lambda: STRANGER)
    assert searched_dirs() == [place / f"fastgate-{STRANGER}"]
    os.chown(place / "system", STRANGER, STRANGER)  # as a service manager makes it for its user
    assert searched_dirs() == [place / "system", place / f"fastgate-{STRANGER}"]
