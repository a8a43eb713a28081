"""What operators can do, as functions: typed results, and the errors that the control socket and others translate."""

import asyncio
import json
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from msgspec import json as msgspec_json
from server.harness import STUB, config, fetch

from fastgate.config import ConfigError, GatewayConfig, Problem
from fastgate.server import GatewayServer
from fastgate.server.control_socket import ControlSocket
from fastgate.server.operations import OperationError, Operations
from fastgate.server.results import MaintenanceState, Reloaded, Status


def settings(name: str = "first") -> GatewayConfig:
    found = config(workers=2)
    found["routes"][0]["name"] = name
    return GatewayConfig.from_dict(found)


class Running:
    """A gateway in a thread of this process, and a way into its loop."""

    def __init__(self) -> None:
        self.sources = [settings("second")]
        self.server = GatewayServer(settings(), source=lambda _: self.sources[0], file="a.toml", factory=STUB)
        self.operations = Operations(self.server)
        self.codes: list[int] = []
        ready = threading.Event()
        self.thread = threading.Thread(target=lambda: self.codes.append(self.server.run(ready.set)))
        self.thread.start()
        assert ready.wait(20)

    def do(self, operation: Callable[[], Awaitable[Any]]) -> Any:
        async def call() -> Any:
            return await operation()

        assert self.server._loop is not None
        return asyncio.run_coroutine_threadsafe(call(), self.server._loop).result(20)

    def status(self) -> Status:
        async def call() -> Status:
            return self.operations.status()

        found: Status = self.do(call)
        return found


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.setattr(sys, "path", [*sys.path, os.path.dirname(os.path.dirname(__file__))])
    found = Running()
    yield found
    if found.thread.is_alive():
        found.server.stop()
        found.thread.join(20)
    assert found.codes == [0]


async def test_status_says_what_runs(running: Running) -> None:
    status = running.status()
    assert (status.pid, status.state, status.file, status.generation, status.routes) == (
        os.getpid(), "running", "a.toml", 1, 1,
    )  # fmt: skip
    assert status.addresses == running.server.addresses
    assert [worker.slot for worker in status.workers] == [0, 1]
    assert status.maintenance == MaintenanceState(closed=[], every=False, switched={})
    assert running.server.status()["addresses"] == status.addresses
    assert await fetch(int(status.addresses[0].rpartition(":")[2]))


async def test_a_reload_says_what_it_has_done_or_why_not(running: Running) -> None:
    done = running.do(lambda: running.operations.reload(by="a test"))
    assert isinstance(done, Reloaded)
    assert (done.generation, done.routes) == (2, 1)
    running.sources[0] = settings("refuse")
    with pytest.raises(ConfigError, match="no good"):
        running.do(lambda: running.operations.reload(by="a test"))
    empty = GatewayConfig.from_dict({"gateway": config(workers=2)["gateway"]})
    running.sources[0] = empty
    with pytest.raises(ConfigError, match="the file has none"):
        running.do(lambda: running.operations.reload(by="a test"))
    assert running.status().generation == 2


async def test_maintenance_is_switched_by_route_or_for_all(running: Running) -> None:
    switch = running.operations.switch_maintenance
    done = running.do(lambda: switch("on", ["first"], None, by="a test"))
    assert done.maintenance == MaintenanceState(closed=["first"], every=False, switched={"first": "on"})
    assert (done.generation, done.routes) == (2, 1)
    done = running.do(lambda: switch("off", [], None, by="a test"))
    assert done.maintenance.closed == []
    done = running.do(lambda: switch("on", [], 60.0, by="a test"))
    assert (done.maintenance.closed, done.maintenance.every) == (["first"], True)
    assert running.server.config.routes[0].maintenance is not None
    assert running.server.config.routes[0].maintenance.retry_after == 60.0
    assert running.status().maintenance == done.maintenance
    with pytest.raises(OperationError, match='unknown route "fist", did you mean "first"'):
        running.do(lambda: switch("on", ["fist"], None, by="a test"))


async def test_draining_twice_is_draining_once(running: Running) -> None:
    async def drain() -> None:
        running.operations.drain(by="a test")
        await asyncio.sleep(0)
        assert running.server.state == "draining"
        running.operations.drain(by="a test")

    running.do(drain)
    running.thread.join(20)
    assert running.codes == [0]


def test_a_gateway_that_does_not_run_says_so() -> None:
    server = GatewayServer(settings())
    assert server.status()["state"] == "starting"
    with pytest.raises(RuntimeError, match="does not run"):
        server.reload()


async def test_the_control_socket_translates_results_and_errors() -> None:
    async def result(_: dict[str, Any], by: str) -> Reloaded:
        return Reloaded(2, 1, 3, 0.5)

    async def error(_: dict[str, Any], by: str) -> Reloaded:
        raise OperationError("not now")

    async def refused(_: dict[str, Any], by: str) -> Reloaded:
        raise ConfigError([Problem("routes", "no good")])

    control = ControlSocket({"result": result, "error": error, "refused": refused})
    await control.open()
    try:
        assert await ask(control, "result") == {"ok": True, "generation": 2, "workers": 1, "routes": 3, "seconds": 0.5}
        assert await ask(control, "error") == {"ok": False, "error": "not now"}
        answer = await ask(control, "refused")
        assert not answer["ok"]
        assert (answer["problems"][0]["path"], answer["problems"][0]["message"]) == ("routes", "no good")
    finally:
        control.close()


async def ask(control: ControlSocket, command: str) -> dict[str, Any]:
    assert control._path is not None
    reader, writer = await asyncio.open_unix_connection(str(control._path))
    try:
        writer.write(json.dumps({"command": command}).encode() + b"\n")
        found: dict[str, Any] = json.loads(await reader.readline())
        return found
    finally:
        writer.close()


def test_results_survive_the_way_over_the_socket() -> None:
    status = Status(1, "running", ["http://h"], "", 1, 2, MaintenanceState(["a"], True, {"a": "on"}), 0.5, [])
    assert msgspec_json.decode(msgspec_json.encode(status), type=Status) == status
