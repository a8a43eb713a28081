"""The access log in a file on a local disk: written in the loop's own turn, and left to a thread where that fails.

Where the temporary folder is in memory or on a network, the first kind of file is not there to be tried: `local` says
that it is.
"""

import asyncio
import json
import os
import resource
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from fastgate.observe import access_log
from fastgate.testing import RawClient, RecordingUpstream, gateway_to

REQUEST = b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "access.log"


@pytest.fixture(autouse=True)
def local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_log, "is_local", lambda device: True)


@pytest.fixture
def file_limit() -> Iterator[Any]:
    """Sets how long files may become, which the kernel enforces as it does a full disk: some of a write, then none."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def has_thread() -> bool:
    return any(thread.name == "access-log" for thread in threading.enumerate())


def paths(log: Path) -> list[str]:
    return [json.loads(line)["path"] for line in log.read_bytes().splitlines()]


async def eventually(condition: Any, seconds: float = 5) -> None:
    due = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < due, "it did not happen in time"
        await asyncio.sleep(0.01)


class Run:
    """A gateway that logs to ``log``, and a client that numbers its requests."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.asked = 0

    async def __aenter__(self) -> Self:
        self.server = await RecordingUpstream().__aenter__()
        self.running = gateway_to(self.server.port, gateway={"access_log": {"path": str(self.log)}})
        self.gateway = await self.running.__aenter__()
        self.client = await RawClient(self.gateway.port).__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.client.__aexit__(*error)
        await self.running.__aexit__(*error)
        await self.server.__aexit__(*error)

    async def ask(self, count: int = 1) -> None:
        for _ in range(count):
            await self.client.request(REQUEST % self.asked)
            self.asked += 1

    @property
    def all(self) -> list[str]:
        return [f"/{number}" for number in range(self.asked)]


async def test_lines_are_written_soon_and_without_a_thread(path: Path) -> None:
    async with Run(path) as run:
        for _ in range(2):
            await run.ask(3)
            assert paths(path) != run.all, "many lines are written at once"
            await eventually(lambda: paths(path) == run.all, access_log.FLUSH_INTERVAL + 0.5)
        assert not has_thread()


async def test_many_lines_are_written_at_once_and_the_rest_at_the_end(path: Path) -> None:
    async with Run(path) as run:
        await run.ask(400)
        first = path.stat().st_size
    assert first == 0 or 64 * 1024 <= first < path.stat().st_size
    assert paths(path) == run.all
    assert not has_thread()


async def test_a_file_of_a_network_is_written_to_by_a_thread(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_log, "is_local", lambda device: False)
    async with Run(path) as run:
        assert has_thread()
        await run.ask(3)
    assert paths(path) == run.all
    assert not has_thread()


async def test_reopening_follows_a_rename_and_loses_nothing(path: Path) -> None:
    aside = path.with_suffix(".1")
    async with Run(path) as run:
        await run.ask(3)
        path.rename(aside)
        run.gateway.reopen_logs()
        assert paths(aside) == run.all
        await run.ask(2)
        assert not has_thread()
    assert paths(aside) + paths(path) == run.all


async def test_a_reopening_that_fails_keeps_the_old_file_and_tries_again(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(access_log, "RETRY_INTERVAL", 0.05)
    aside = path.with_suffix(".1")
    async with Run(path) as run:
        await run.ask()
        path.rename(aside)
        path.mkdir()
        run.gateway.reopen_logs()
        await run.ask()
        await eventually(lambda: paths(aside) == run.all)
        path.rmdir()
        await eventually(path.exists)
        await run.ask()
    assert paths(aside) + paths(path) == run.all
    assert "cannot open the file: Is a directory" in caplog.text


async def test_a_full_disk_is_said_once_and_nothing_is_lost(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, file_limit: Any
) -> None:
    """It takes some of a line, then nothing, then everything. Requests are answered all the time."""
    monkeypatch.setattr(access_log, "RETRY_INTERVAL", 0.05)
    async with Run(path) as run:
        file_limit(1000)
        await run.ask(10)
        await eventually(lambda: "File too large; trying again" in caplog.text)
        assert path.stat().st_size == 1000
        await run.ask(10)
        file_limit(resource.RLIM_INFINITY)
        await eventually(lambda: "writing again; 0 lines were lost" in caplog.text)
        await run.ask(10)
    assert paths(path) == run.all


async def test_a_line_that_a_full_disk_has_torn_is_not_continued_in_another_file(
    path: Path, monkeypatch: pytest.MonkeyPatch, file_limit: Any
) -> None:
    monkeypatch.setattr(access_log, "RETRY_INTERVAL", 0.05)
    aside = path.with_suffix(".1")
    async with Run(path) as run:
        file_limit(1000)
        await run.ask(10)
        await eventually(has_thread)
        path.rename(aside)
        file_limit(resource.RLIM_INFINITY)
        run.gateway.reopen_logs()
    whole = aside.read_bytes().count(b"\n")
    assert 0 < whole < 9
    assert paths(path) == run.all[whole + 1 :]


async def test_what_a_slow_disk_leaves_is_written_by_the_thread_in_order(path: Path) -> None:
    async with Run(path) as run:
        await run.ask(3)
        writer = run.gateway._access_log
        writer._collect()
        writer.left(b"")
        assert has_thread()
        await run.ask(3)
        await eventually(lambda: paths(path) == run.all, access_log.FLUSH_INTERVAL + 0.5)
        await run.ask(3)
    assert paths(path) == run.all


def test_disks_and_what_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert access_log.is_local(os.makedev(259, 1))
    assert not access_log.is_local(os.makedev(0, 43))
