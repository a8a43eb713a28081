"""The run-time directory and the control socket in it."""

import asyncio
import json
import os
import shutil
import socket
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from server.harness import Server, config, fetch, running

from fastgate.server import control_socket, run_dir
from fastgate.server.run_dir import make_run_dir, run_dirs, running_gateways, socket_path


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a short path in which the run-time directory is made, as "run"."""
    place = Path(tempfile.mkdtemp(prefix="fg-"))
    monkeypatch.setenv("FASTGATE_RUN_DIR", str(place / "run"))
    yield place
    shutil.rmtree(place)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


async def line(server: Server, text: bytes) -> dict[str, object]:
    reader, writer = await asyncio.open_unix_connection(str(socket_path(run_dirs()[0], server.pid)))
    writer.write(text)
    answer: dict[str, object] = json.loads(await reader.readline())
    writer.close()
    return answer


def test_the_order_of_the_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTGATE_RUN_DIR", "/a")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/b")
    assert run_dirs() == [Path("/a")]
    monkeypatch.delenv("FASTGATE_RUN_DIR")
    monkeypatch.setattr(run_dir.os, "geteuid", lambda: 7)
    temporary = Path(tempfile.gettempdir(), "fastgate-7")
    assert run_dirs() == [Path("/b/fastgate"), temporary]
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert run_dirs() == [temporary]
    monkeypatch.setattr(run_dir.os, "geteuid", lambda: 0)
    assert run_dirs() == [Path("/run/fastgate"), Path(tempfile.gettempdir(), "fastgate-0")]


def test_it_is_made_for_its_user_only(place: Path) -> None:
    made = make_run_dir()
    assert (made, mode(made)) == (place / "run", 0o700)
    assert make_run_dir() == made


def test_one_in_which_others_could_put_something_is_not_used(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = place / "run"
    (place / "elsewhere").mkdir(mode=0o700)
    run.symlink_to(place / "elsewhere")
    with pytest.raises(OSError, match="is a symbolic link"):
        make_run_dir()
    assert list((place / "elsewhere").iterdir()) == []
    run.unlink()
    run.write_text("")
    with pytest.raises(OSError, match="is not a directory"):
        make_run_dir()
    run.unlink()
    run.mkdir()
    run.chmod(0o770)
    with pytest.raises(OSError, match="is writable by other users"):
        make_run_dir()
    run.chmod(0o755)
    assert make_run_dir() == run
    monkeypatch.setattr(run_dir.os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(OSError, match="belongs to another user"):
        make_run_dir()


def test_sockets_that_nobody_serves_are_removed(place: Path) -> None:
    run = make_run_dir()
    with socket.socket(socket.AF_UNIX) as served, socket.socket(socket.AF_UNIX) as dead:
        served.bind(str(run / "12.sock"))
        served.listen()
        dead.bind(str(run / "13.sock"))
        dead.close()
        (run / "14.sock").write_text("no socket")
        (run / "readme").write_text("something else")
        assert running_gateways() == {12: run / "12.sock"}
        assert not (run / "13.sock").exists()
        assert (run / "readme").exists()
    assert running_gateways() == {}


async def test_the_socket_is_there_while_the_gateway_runs(place: Path) -> None:
    async with running(config()) as server:
        await server.port()
        path = socket_path(place / "run", server.pid)
        assert (mode(path.parent), mode(path)) == (0o700, 0o600)
        assert list(running_gateways()) == [server.pid]
        assert await line(server, b'{"command": "drain"}\n') == {"ok": True}
        assert await server.left() == 0
        assert not path.exists()


async def test_what_is_no_request_is_answered_with_an_error(place: Path) -> None:
    async with running(config()) as server:
        await server.port()
        for text in (b"hello\n", b"[]\n", b"{}\n", b'{"command": "no"}\n', b'{"command": []}\n'):
            assert not (await line(server, text))["ok"]
        assert "Traceback" not in server.text
        assert (await line(server, b'{"command": "status"}\n'))["state"] == "running"


async def test_where_it_cannot_be_made_the_gateway_serves_with_one_warning(place: Path) -> None:
    (place / "run").write_text("in the way")
    async with running(config()) as server:
        port = await server.port()
        await server.says("warning supervisor: no control socket, so .*reload.* do not work: .* is not a directory")
        assert await fetch(port)


ASK = """
import os, socket, sys
connection = socket.socket(socket.AF_UNIX)
os.setuid(int(sys.argv[2]))
connection.connect(sys.argv[1])
connection.sendall(b'{"command": "hello"}\\n')
print(connection.recv(1000).decode())
"""


async def test_another_user_is_turned_away(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where the mode of the socket would let it in."""
    called = []

    async def command(_: dict[str, object], by: str) -> dict[str, object]:
        called.append(1)
        return {}

    async def answer(user: int = os.getuid()) -> dict[str, object]:
        path = str(socket_path(place / "run", os.getpid()))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", ASK, path, str(user), stdout=asyncio.subprocess.PIPE
        )
        output, _ = await process.communicate()
        found: dict[str, object] = json.loads(output)
        return found

    opened = control_socket.ControlSocket({"hello": command})
    await opened.open()
    try:
        assert await answer() == {"ok": True}
        if os.getuid() == 0:
            for path in (place, place / "run"):
                path.chmod(0o755)
            socket_path(place / "run", os.getpid()).chmod(0o666)
            refused = await answer(65534)
        else:
            monkeypatch.setattr(control_socket.os, "geteuid", lambda: os.getuid() + 1)
            refused = await answer()
        assert refused == {"ok": False, "error": "only the user of the gateway and root may use the control socket"}
        assert called == [1]
    finally:
        opened.close()
