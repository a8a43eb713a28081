"""Duties of a supervisor with several workers: who is told what, and when; and one that raises takes nobody down."""

import asyncio
import json
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from server.harness import FROM_FILE, Server, config, eventually, fetch, program

PROGRAM = "from server import duties\nduties.install(duties.NewerDuty)\n" + FROM_FILE
WORKERS = 2


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "fastgate.json"
    write(file, "first")
    return file


def write(file: Path, name: str) -> None:
    settings = config(workers=WORKERS)
    settings["routes"][0].update(name=name, policies=[{"use": "look"}])
    hold = str(file.with_name("hold"))
    settings["plugins"] = [{"name": "look", "use": "server.duties:Look", "options": {"hold": hold}}]
    fresh = file.with_suffix(".new")
    fresh.write_text(json.dumps(settings))
    fresh.rename(file)


@asynccontextmanager
async def serving(file: Path) -> AsyncIterator[tuple[Server, int]]:
    async with program(PROGRAM, str(file), "server.duties:gateway", "", "30") as server:
        yield server, await server.complete(WORKERS)


async def look(port: int, path: str = "/") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(await fetch(port, path))
    return found


async def everywhere(port: int, last: str, *, workers: int = WORKERS) -> dict[int, dict[str, Any]]:
    """What each worker has seen, by process id, once all were told that."""
    found: dict[int, dict[str, Any]] = {}
    async with asyncio.timeout(10):
        while len(found) < workers:
            seen = await look(port)
            if last in seen["seen"]:
                found[seen["pid"]] = seen
    return found


async def test_what_is_told_reaches_every_worker_and_an_answer_the_one_that_asked(file: Path) -> None:
    async with serving(file) as (_, port):
        asking = (await look(port, "/ticks"))["pid"]
        seen = {pid: each["seen"] for pid, each in (await everywhere(port, "tick 1")).items()}
        assert len(seen) == WORKERS
        assert asking in seen
        async with asyncio.timeout(10):
            # The answer may come behind what all are told.
            while not any(line.startswith("answer") for line in seen[asking]):
                found = await look(port)
                seen[found["pid"]] = found["seen"]
        for pid, told in seen.items():
            assert [line for line in told if line.startswith("answer")] == (
                [told[-1]] if pid == asking and re.fullmatch(r"answer to [01]: hello", told[-1]) else []
            )


async def test_a_new_worker_has_the_snapshot_before_its_first_request(file: Path) -> None:
    async with serving(file) as (server, port):
        for number in range(1, 4):
            await look(port, "/ticks")
            await everywhere(port, f"tick {number}")
        before = set(server.workers().values())
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        answers = await asyncio.gather(*(look(port) for _ in range(20)))
        assert before.isdisjoint(each["pid"] for each in answers)
        for answer in answers:
            assert answer["at_startup"] == ["snapshot 3 first"]
            assert answer["seen"][0] == "snapshot 3 first"


async def test_a_worker_that_starts_while_answers_change_misses_none(file: Path) -> None:
    async with serving(file) as (server, port):
        await look(port, "/ticks")
        await everywhere(port, "tick 1")
        hold = file.with_name("hold")
        hold.touch()
        victim = min(server.workers().values())
        os.kill(victim, signal.SIGKILL)
        # One after the other, before the new interpreter starts and while it does; those that the kernel puts into the
        # queue of the worker that is held are answered at last.
        asked = []
        for _ in range(30):
            asked.append(asyncio.create_task(look(port, "/ticks")))
            await asyncio.sleep(0.05)
        hold.unlink()
        answers = await asyncio.gather(*asked)
        assert victim not in {answer["pid"] for answer in answers}
        seen = await everywhere(port, "tick 31")
        (told,) = [each["seen"] for each in seen.values() if each["seen"][0].startswith("snapshot")]
        found = re.fullmatch(r"snapshot (\d+) first", told[0])
        assert found
        ticks = [line for line in told[1:] if line.startswith("tick")]
        assert ticks == [f"tick {number}" for number in range(int(found[1]) + 1, 32)]
        # Not all of it was in the snapshot: it was told while it started.
        assert len(ticks) > 5


async def test_a_reload_reaches_the_duty_and_what_it_tells_the_workers(file: Path) -> None:
    async with serving(file) as (server, port):
        write(file, "second")
        server.signal(signal.SIGHUP)
        await server.says("reload: generation 2 is in use")
        assert len(await everywhere(port, "update second")) == WORKERS
        os.kill(server.workers()[0], signal.SIGKILL)
        await server.says(r"worker \d+ is ready", times=WORKERS)
        assert any(each["at_startup"] == ["snapshot 0 second"] for each in (await fresh(port)).values())


async def fresh(port: int) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    async with asyncio.timeout(10):
        while len(found) < WORKERS:
            seen = await look(port)
            found[seen["pid"]] = seen
    return found


async def test_one_that_raises_is_logged_with_its_topic_and_takes_nobody_down(file: Path) -> None:
    async with serving(file) as (server, port):
        before = server.workers()
        assert (await look(port, "/broken"))["pid"] in before.values()
        await server.says(r"supervisor.*duty 'broken': the answer to worker [01] failed; the gateway continues")
        for what in ("the snapshot", "the update", "a task"):
            if what == "the snapshot":
                os.kill(before[0], signal.SIGKILL)
                await server.says(r"worker \d+ is ready", times=WORKERS)
            await server.says(f"supervisor.*duty 'broken': {what} failed")
        await server.says(r"supervisor.*duty 'unmade': the start failed")
        await server.says(r"worker [01].*duty 'broken': the subscriber of this worker failed", times=WORKERS)
        await look(port, "/unmade")
        await look(port, "/ticks")
        assert len(await everywhere(port, "tick 1")) == WORKERS
        assert len(server.workers()) == WORKERS
        server.signal(signal.SIGTERM)
        assert await server.left() == 0
        assert "duty 'broken': the stop failed" in server.text
        assert "ticks: stopped after 1" in server.text


async def test_an_unknown_topic_is_logged_once_and_ignored(file: Path) -> None:
    async with serving(file) as (server, port):
        for _ in range(3):
            await look(port, "/nobody")
        line = "ignoring questions of workers about the unknown topic 'nobody'"
        await server.says(f"supervisor.*{line}")
        await server.says(r"worker [01].*ignoring messages about the unknown topic 'newer'", times=WORKERS)
        await look(port, "/ticks")
        assert len(await everywhere(port, "tick 1")) == WORKERS
        assert server.text.count(line) == 1
        assert server.text.count("unknown topic 'newer'") == WORKERS


async def test_stop_ends_it(file: Path) -> None:
    async with serving(file) as (server, port):
        await look(port, "/ticks")
        server.signal(signal.SIGTERM)
        assert await server.left() == 0
        await eventually(lambda: "ticks: stopped after 1" in server.text)
        assert server.text.count("ticks: stopped") == 1
