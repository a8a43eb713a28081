"""What the log says of the life of a gateway: what started, who asked for what, that it ended."""

import os
import re
import signal
from pathlib import Path

from server.harness import REAL, config, running, running_file
from server.test_reload import ask

from fastgate.server.control_socket import name_of

ME = re.escape(name_of(os.getuid()))


async def test_the_log_says_what_started_and_that_it_ended() -> None:
    async with running(config(workers=2)) as server:
        port = await server.complete(2)
        said = await server.says("started: ")
        for part in ("version ", f"http://127.0.0.1:{port}", "workers: 2", f"process id {server.pid}", "file: none"):
            assert part in said.string
        server.signal(signal.SIGTERM)
        assert await server.left() == 0
        assert len(re.findall(r"stopped after \d+\.\d s, exit code 0", server.text)) == 1


async def test_the_log_says_which_file_it_started_with(tmp_path: Path) -> None:
    file = tmp_path / "fastgate.json"
    file.write_text('{"gateway": {"port": 0}, "routes": []}')
    async with running_file(file) as server:
        await server.says(f"started: .*configuration file: {re.escape(str(file))}")


async def test_an_upgrade_signal_is_ignored_and_said() -> None:
    async with running(config()) as server:
        await server.port()
        server.signal(signal.SIGUSR2)
        await server.says("warning.*SIGUSR2 is ignored.*restart")
        assert (await ask(server, "status"))["state"] == "running"


async def test_the_log_says_which_user_asked(tmp_path: Path) -> None:
    file = tmp_path / "fastgate.json"
    file.write_text('{"gateway": {"port": 0}, "routes": []}')
    async with running_file(file, REAL) as server:
        await server.port()
        answer = await ask(server, "reload", allow_empty=True)
        assert answer["ok"], answer
        await server.says(f"reload requested by {ME}")
        assert (await ask(server, "purge", everything=True))["ok"]
        await server.says(f"{ME} purged from the response cache: everything")
        assert (await ask(server, "drain"))["ok"]
        await server.says(f"{ME}: draining")
        assert await server.left() == 0


def test_users_are_called_by_what_they_are() -> None:
    assert name_of(0) == "root (uid 0)"
    assert name_of(4711) == "the gateway's user (uid 4711)"
    assert name_of(None) == "an operator"
