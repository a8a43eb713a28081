"""Reload: every worker takes the new configuration over, or none does and the log says why."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from server.harness import (
    REAL,
    STUB,
    TESTS,
    Server,
    config,
    environment,
    eventually,
    fetch,
    free_port,
    running,
    running_file,
)

from fastgate.server.run_dir import socket_path

RUN_DIR = Path(os.environ["FASTGATE_RUN_DIR"])


def write(file: Path, name: str, until: Path | None = None, **gateway: Any) -> None:
    """A configuration whose first route has that name, which tells a stub how to behave; as an editor writes a file."""
    settings = config(**{"port": 0, "workers": 2, **gateway})
    settings["routes"][0]["name"] = name
    if until is not None:
        settings["plugins"] = [{"name": "hold", "use": "nowhere:Nobody", "options": {"until": str(until)}}]
    fresh = file.with_suffix(".new")
    fresh.write_text(json.dumps(settings))
    fresh.rename(file)


async def ask(server: Server, command: str = "reload", within: float = 20.0, **arguments: Any) -> dict[str, Any]:
    """What the control socket answers."""
    async with asyncio.timeout(within):
        reader, writer = await asyncio.open_unix_connection(str(socket_path(RUN_DIR, server.pid)))
        writer.write(json.dumps({"command": command, **arguments}).encode() + b"\n")
        answer: dict[str, Any] = json.loads(await reader.readline())
        writer.close()
        return answer


async def names(server: Server, port: int, workers: int = 2) -> set[str]:
    """The configurations in use, when every worker has answered."""
    found: dict[str, str] = {}
    async with asyncio.timeout(10):
        while len(found) < workers:
            pid, *_, name = (await fetch(port)).split()
            found[pid] = name
    return set(found.values())


async def generations(server: Server) -> list[int]:
    """As the supervisor knows them, once every worker is ready."""
    async with asyncio.timeout(10):
        while True:
            workers = (await ask(server, "status"))["workers"]
            if all(worker["ready"] for worker in workers):
                return [worker["generation"] for worker in workers]
            await asyncio.sleep(0.02)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "fastgate.json"
    write(file, "first")
    return file


async def test_sighup_has_every_worker_take_over_the_file(file: Path) -> None:
    async with running_file(file) as server:
        port = await server.complete(2)
        before = server.workers()
        assert await names(server, port) == {"first"}
        write(file, "second")
        server.signal(signal.SIGHUP)
        await server.says(r"reload requested by SIGHUP")
        await server.says(r"reload: generation 2 is in use \(1 route, \d+\.\d\d s\)")
        assert await names(server, port) == {"second"}
        assert server.workers() == before


async def test_the_control_socket_answers_when_it_is_done(file: Path) -> None:
    async with running_file(file) as server:
        port = await server.complete(2)
        write(file, "second")
        answer = await ask(server)
        assert answer.pop("seconds") >= 0
        assert answer == {"ok": True, "generation": 2, "workers": 2, "routes": 1}
        assert await names(server, port) == {"second"}
        assert await generations(server) == [2, 2]


async def test_a_file_that_is_wrong_changes_nothing_and_every_error_is_said(file: Path) -> None:
    async with running_file(file) as server:
        port = await server.complete(2)
        file.write_text('{"gateway": {"prot": 1},\n"routes": [{"name": "a", "path": "a", "upstream": "b"}]}')
        answer = await ask(server)
        assert not answer["ok"]
        assert [problem["path"] for problem in answer["problems"]] == [
            "gateway.prot",
            "routes[0].path",
            "routes[0].upstream",
        ]
        await server.says("reload refused: 3 errors; the gateway keeps its current configuration")
        await server.says(r"fastgate\.json:2: routes\[0\]\.path: a path must start with")
        assert "preparing" not in server.text
        assert await names(server, port) == {"first"}
        write(file, "second")
        assert (await ask(server))["ok"]
        assert await names(server, port) == {"second"}


async def test_what_cannot_change_is_refused_with_its_reason(file: Path) -> None:
    async with running_file(file) as server:
        await server.complete(2)
        write(file, "second", port=(port := free_port()), workers=3)
        assert [f"{each['path']}: {each['message']}" for each in (await ask(server))["problems"]] == [
            f"gateway.port: cannot change while the gateway runs; restart it to use {port}",
            "gateway.workers: cannot change while the gateway runs; restart it to use 3",
        ]


# The same settings as the file has: a change of these would be refused for another reason.
NO_ROUTES = {"gateway": {"port": 0, "workers": 2, "access_log": {"path": ""}}}
EMPTIED = {
    "no byte": ("", "the file is empty, so the gateway would serve nothing"),
    "no table": ("{}", "the file is empty, so the gateway would serve nothing"),
    "no route": (json.dumps(NO_ROUTES), "the file has none, but the running configuration has 1 route: every request"),
    "an empty list": (
        json.dumps({**NO_ROUTES, "routes": []}),
        "the file has none, but the running configuration has 1",
    ),
}


@pytest.mark.parametrize("kind", EMPTIED)
async def test_a_file_that_has_been_emptied_is_refused(kind: str, file: Path) -> None:
    text, told = EMPTIED[kind]
    async with running_file(file) as server:
        port = await server.complete(2)
        file.write_text(text)
        (problem,) = (await ask(server))["problems"]
        assert problem["message"].startswith(told)
        server.signal(signal.SIGHUP)
        await server.says("reload refused: .*; the gateway keeps its current configuration", times=2)
        assert await names(server, port) == {"first"}
        # It is not the one that a worker starts with, either.
        os.kill(server.workers()[0], signal.SIGKILL)
        await server.says(r"worker \d+ is ready", times=2)
        assert await names(server, port) == {"first"}
        write(file, "second")
        assert (await ask(server))["ok"]
        assert await names(server, port) == {"second"}


async def test_a_watched_file_that_is_emptied_and_filled_again(file: Path) -> None:
    async with running_file(file, watch=True) as server:
        port = await server.complete(2)
        file.write_text("")
        await server.says("the file is empty")
        assert await names(server, port) == {"first"}
        write(file, "second")
        await server.says("generation 2 is in use")
        assert await names(server, port) == {"second"}


@pytest.mark.parametrize("kind", ["no route", "an empty list"])
async def test_nothing_is_served_where_that_is_meant(kind: str, file: Path) -> None:
    async with running_file(file, REAL) as server:
        await server.complete(2)
        file.write_text(EMPTIED[kind][0])
        assert (await ask(server, allow_empty=True))["routes"] == 0
        # From nothing to nothing is no loss.
        assert (await ask(server))["routes"] == 0
        write(file, "first")
        assert (await ask(server))["routes"] == 1


async def test_what_allows_it_is_true_or_false(file: Path) -> None:
    async with running_file(file) as server:
        await server.complete(2)
        assert "allow_empty" in (await ask(server, allow_empty="yes"))["error"]


async def test_one_worker_that_refuses_is_enough(file: Path) -> None:
    async with running_file(file) as server:
        port = await server.complete(2)
        write(file, "refuse-1")
        answer = await ask(server)
        assert [problem["message"] for problem in answer["problems"]] == ["no good", "is nowhere"]
        await server.says("aborted", times=2)
        assert await names(server, port) == {"first"}
        write(file, "second")
        assert (await ask(server))["generation"] == 3
        assert await names(server, port) == {"second"}


async def test_an_exception_while_preparing_is_a_refusal_in_one_line(file: Path) -> None:
    async with running_file(file) as server:
        port = await server.complete(2)
        write(file, "raise-0")
        assert [problem["message"] for problem in (await ask(server))["problems"]] == ["RuntimeError: out of; luck"]
        assert await names(server, port) == {"first"}


async def test_a_worker_that_dies_while_preparing_ends_the_reload(file: Path) -> None:
    async with running_file(file) as server:
        port = await server.complete(2)
        write(file, "die-1")
        (problem,) = (await ask(server))["problems"]
        assert problem["message"] == "worker 1 killed by SIGKILL while it was preparing the new configuration"
        assert await generations(server) == [1, 1]
        assert await names(server, port) == {"first"}


async def test_a_worker_that_takes_too_long_ends_the_reload(file: Path) -> None:
    async with running_file(file, timeout=0.5) as server:
        port = await server.complete(2)
        before = server.workers()
        write(file, "stuck-0")
        (problem,) = (await ask(server))["problems"]
        assert problem["message"] == "worker 0 did not prepare the new configuration within 0.5 s"
        await server.says("aborted", times=2)
        write(file, "second")
        assert (await ask(server))["ok"]
        assert await names(server, port) == {"second"}
        assert server.workers() == before


async def test_a_worker_that_is_told_to_leave_while_it_prepares_does_not_hold_the_others_up(file: Path) -> None:
    async with running_file(file) as server:
        port = await server.complete(2)
        write(file, "leave-1")
        assert (await ask(server))["workers"] == 1
        assert await generations(server) == [2, 2]
        assert await names(server, port) == {"leave-1"}


@pytest.mark.parametrize("how", ["perish-1", "break-1"])
async def test_after_the_decision_a_worker_that_fails_is_replaced_by_one_with_the_new(file: Path, how: str) -> None:
    async with running_file(file) as server:
        port = await server.complete(2)
        before = set(server.workers().values())
        write(file, how)
        answer = await ask(server)
        assert (answer["ok"], answer["workers"]) == (True, 1)
        await eventually(lambda: len(set(server.workers().values()) - before) == 1)
        assert await generations(server) == [2, 2]
        assert await names(server, port) == {how}


async def test_a_worker_that_becomes_ready_meanwhile_takes_part(file: Path) -> None:
    """One worker prepares for as long as the other one's successor needs to start, with the old configuration."""
    async with running_file(file) as server:
        port = await server.complete(2)
        victim, slot, *_ = (await fetch(port)).split()
        os.kill(int(victim), signal.SIGKILL)
        await server.says("starting a new one")
        write(file, f"hold-{1 - int(slot)}", until=(until := file.with_name("until")))
        asking = asyncio.create_task(ask(server))
        await server.says("preparing", times=2)
        until.touch()
        assert (await asking)["workers"] == 2
        assert await generations(server) == [2, 2]
        assert len(await names(server, port)) == 1


async def test_a_worker_that_starts_while_it_is_decided_is_replaced(tmp_path: Path) -> None:
    """Slot 1 starts for longer than slot 0 prepares."""
    file = tmp_path / "fastgate.json"
    write(file, "first")
    async with running_file(file, "server.failing:StartsSlowlyAgain") as server:
        port = await server.complete(2)
        status = await ask(server, "status")
        os.kill(status["workers"][1]["pid"], signal.SIGKILL)
        await server.says("killed by SIGKILL; starting a new one")
        write(file, "second")
        assert (await ask(server))["workers"] == 1
        await server.says("worker 1 left because it does not have the new configuration; starting a new one")
        assert await generations(server) == [2, 2]
        assert await names(server, port) == {"second"}


async def test_reloads_while_workers_die_leave_all_on_one_configuration(file: Path) -> None:
    async with running_file(file) as server:
        port = await server.complete(2)
        for number in range(8):
            write(file, f"n{number}")
            asking = asyncio.create_task(ask(server))
            await asyncio.sleep(number * 0.002)
            victims = list(server.workers().values())
            os.kill(victim := victims[number % len(victims)], signal.SIGKILL)
            await asking
            while victim in [worker["pid"] for worker in (await ask(server, "status"))["workers"]]:
                await asyncio.sleep(0.01)
            assert len(set(await generations(server))) == 1
        assert (await ask(server))["ok"]
        assert await names(server, port) == {"n7"}
        assert len(set(await generations(server))) == 1


async def test_what_is_asked_for_during_a_reload_becomes_one_more(file: Path) -> None:
    async with running_file(file) as server:
        port = await server.complete(2)
        write(file, "wait")
        first = asyncio.create_task(ask(server))
        await server.says("preparing")
        write(file, "second")
        others = await asyncio.gather(*(ask(server) for _ in range(4)))
        assert (await first)["generation"] == 2
        assert {answer["generation"] for answer in others} == {3}
        assert await names(server, port) == {"second"}


async def test_a_configuration_that_workers_cannot_start_with_is_cured_by_a_reload(tmp_path: Path) -> None:
    """Slot 1 dies at each start as long as the file says so; slot 0 prepares the cure."""
    file = tmp_path / "fastgate.json"
    write(file, "first")
    async with running_file(file, "server.failing:DiesInSlotOneWhenFirst") as server:
        port = await server.port()
        await server.says("exited with code 3", times=3)
        write(file, "cure")
        assert (await ask(server))["ok"]
        assert await generations(server) == [2, 2]
        assert await names(server, port) == {"cure"}


async def test_when_nobody_is_there_to_prepare_the_next_ones_start_with_it(tmp_path: Path) -> None:
    file = tmp_path / "fastgate.json"
    write(file, "first", workers=1)
    async with running_file(file, "server.failing:DiesAgainWhenFirst", timeout=0.5) as server:
        port = await server.port()
        assert await fetch(port, "/die") == ""
        await server.says("exited with code 3", times=2)
        write(file, "cure", workers=1)
        assert (await ask(server))["workers"] == 0
        await server.says("no worker was running to prepare the new configuration")
        assert await names(server, port, 1) == {"cure"}


async def test_a_drain_ends_a_reload_that_is_not_decided(file: Path) -> None:
    async with running_file(file) as server:
        await server.complete(2)
        write(file, "stuck")
        asking = asyncio.create_task(ask(server))
        await server.says("preparing", times=2)
        server.signal(signal.SIGTERM)
        assert [problem["message"] for problem in (await asking)["problems"]] == ["the gateway is stopping"]
        assert await server.left() == 0


async def test_no_request_fails_and_no_connection_is_cut(file: Path) -> None:
    async with running_file(file) as server:
        port = await server.complete(2)
        stop = asyncio.Event()
        answers: list[str] = []

        async def client() -> None:
            while not stop.is_set():
                answers.append(await fetch(port))

        clients = [asyncio.create_task(client()) for _ in range(8)]
        for number in range(5):
            write(file, f"n{number}")
            assert (await ask(server))["ok"]
        stop.set()
        await asyncio.gather(*clients)
        assert all(answers)


async def test_many_routes_arrive_whole(tmp_path: Path) -> None:
    file = tmp_path / "fastgate.json"
    write(file, "first", workers=1)
    async with running_file(file, "server.failing:Counts") as server:
        port = await server.port()
        settings = config(workers=1)
        settings["routes"] = [
            {"name": f"r{n}", "path": f"/{n}", "upstream": f"u{n % 300}", "request_headers": {"set": {"x": "y" * 50}}}
            for n in range(3000)
        ]
        settings["upstreams"] = {f"u{n}": {"targets": [f"127.0.0.1:{n + 1}"]} for n in range(300)}
        file.write_text(json.dumps(settings))
        assert (await ask(server))["routes"] == 3000
        assert (await fetch(port)).split()[-1] == "3000,r2999,300"


async def test_a_change_of_a_watched_file_is_taken_over(file: Path) -> None:
    async with running_file(file, watch=True) as server:
        port = await server.complete(2)
        write(file, "second")
        await server.says("reload requested by a change of")
        await server.says("generation 2 is in use")
        assert await names(server, port) == {"second"}
        file.write_text("{")
        await server.says("reload refused: 1 error; the gateway keeps its current configuration$")
        await server.says("not JSON")
        assert await names(server, port) == {"second"}
        file.unlink()
        write(file, "third")
        await server.says("generation 3 is in use")


async def test_without_a_source_only_certificates_are_read_again() -> None:
    async with running(config()) as server:
        await server.port()
        assert (await ask(server))["generation"] == 0
        await server.says("worker 0: certificates")


async def test_the_real_gateway_takes_routes_over(file: Path) -> None:
    write(file, "first", health_path="/ping")
    async with running_file(file, REAL) as server:
        port = await server.complete(2)
        assert "404" not in await fetch(port, "/ping")
        write(file, "second", health_path="/pong")
        assert (await ask(server))["workers"] == 2
        for _ in range(10):
            assert "404" not in await fetch(port, "/pong")


async def test_workers_learn_what_names_resolve_to_and_still_reload(file: Path) -> None:
    write(file, "first", health_path="/ping")
    settings = json.loads(file.read_text())
    settings["upstreams"]["backend"]["targets"] = ["localhost:1"]
    file.write_text(json.dumps(settings))
    async with running_file(file, REAL) as server:
        await server.complete(2)
        await server.says(r"upstream 'backend': localhost resolves to 127\.0\.0\.1")
        assert (await ask(server))["workers"] == 2


EMBEDDED = """
import sys, threading
from fastgate.config import ConfigError, GatewayConfig
from fastgate.server import GatewayServer
from server.harness import config

def named(name, **gateway):
    settings = config(workers=2, **gateway)
    settings["routes"][0]["name"] = name
    return GatewayConfig.from_dict(settings)

server = GatewayServer(named("first"), factory=sys.argv[1])
try:
    server.reload()
except RuntimeError as error:
    print(error)
ready = threading.Event()
thread = threading.Thread(target=lambda: server.run(ready.set))
thread.start()
assert ready.wait(20)
waiting = [server.reload(named(name)) for name in ("wait", "second", "third")]
done = [each.result(20).generation for each in waiting]
print(done == sorted(done) and done[-1] in (2, 3), server.config.routes[0].name)
empty = GatewayConfig.from_dict({"gateway": config(workers=2)["gateway"]})
for refused in (named("refuse"), named("second", backlog=7), empty):
    try:
        server.reload(refused).result(20)
    except ConfigError as error:
        print(error.problems[0].message)
print(server.config.routes[0].name)
try:
    server.reload(empty, allow_empty=True).result(20)
except ConfigError as error:
    print(error.problems[0].message)
server.stop()
thread.join()
"""


NOTHING_SERVED = (
    "the file has none, but the running configuration has 1 route: every request would get 404. If you want this, use "
    "`fastgate reload --allow-empty`, or allow_empty=True in Python"
)


async def test_from_python_a_reload_is_a_future() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", EMBEDDED, STUB, stdout=asyncio.subprocess.PIPE, env=environment(), cwd=TESTS
    )
    output, _ = await asyncio.wait_for(process.communicate(), 40)
    assert output.decode().splitlines() == [
        "the gateway does not run",
        "True third",
        "no good",
        "cannot change while the gateway runs; restart it to use 7",
        NOTHING_SERVED,
        "third",
        "IndexError: list index out of range",  # of the stub, which looks for a name
    ]
