"""The life of plugins in the workers of a real gateway: start, crash, reload, drain, and starts that fail."""

import asyncio
import json
import os
import re
import signal
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from policies.plugins import Diary
from server.harness import REAL, eventually, fetch, running, running_file

from fastgate import Gateway, GatewayConfig
from fastgate.gateway import plugins as module
from fastgate.gateway.plugins import PluginError
from fastgate.testing import Answer, RawClient, RecordingUpstream, compose_request, proxy_config, respond, wait_for


def settings(file: Path, port: int, *entries: dict[str, Any], **gateway: Any) -> dict[str, Any]:
    used = [{"use": entry["name"]} for entry in entries]
    made = proxy_config(port, gateway={"workers": 1, **gateway}, route={"policies": used})
    made["plugins"] = [
        {"name": e["name"], "use": "policies.plugins:Diary", "options": {"file": str(file), **e}} for e in entries
    ]
    return made


def diary(file: Path) -> dict[int, list[str]]:
    """What each process wrote, in the order of their first words."""
    written: dict[int, list[str]] = defaultdict(list)
    for line in file.read_text().splitlines():
        pid, word = line.split(" ")
        written[int(pid)].append(word)
    return written


STARTED = ["a.init", "b.init", "a.on_startup", "b.on_startup"]
SERVED = ["a.on_request", "b.on_request", "b.on_response", "a.on_response"]
STOPPED = ["b.on_shutdown", "a.on_shutdown"]


async def test_a_worker_that_crashes_is_followed_by_one_with_objects_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "diary"
    async with RecordingUpstream() as upstream:
        config = settings(file, upstream.port, {"name": "a"}, {"name": "b"})
        async with running(config, REAL) as server:
            port = await server.complete(1)
            assert await fetch(port) == "ok"
            (first,) = diary(file)
            os.kill(first, signal.SIGKILL)
            await server.says("is ready")
            assert await fetch(port) == "ok"
            server.signal(signal.SIGTERM)
            assert await server.left() == 0
    written = diary(file)
    assert next(iter(written)) == first
    assert [*written.values()] == [STARTED + SERVED, STARTED + SERVED + STOPPED]


async def test_plugins_stop_after_the_last_request_of_a_worker_that_drains(tmp_path: Path) -> None:
    file = tmp_path / "diary"
    go = asyncio.Event()
    async with RecordingUpstream() as upstream:
        upstream.script(Answer(wait_for(go), respond(b"late")))
        async with running(settings(file, upstream.port, {"name": "a"}, {"name": "b"}), REAL) as server:
            async with RawClient(await server.complete(1)) as client:
                await client.send(compose_request("GET"))
                await upstream.request()
                server.signal(signal.SIGTERM)
                await server.says("SIGTERM: draining")
                await asyncio.sleep(0.1)  # nothing happens, which nobody reports
                ((_, written),) = diary(file).items()
                assert written == [*STARTED, "a.on_request", "b.on_request"]
                go.set()
                assert (await client.response()).body == b"late"
            assert await server.left() == 0
    ((_, written),) = diary(file).items()
    assert written == STARTED + SERVED + STOPPED


async def test_a_reload_in_every_worker(tmp_path: Path) -> None:
    """An unchanged entry keeps its object, the successor of a changed one starts first; what is refused is undone."""
    file, source = tmp_path / "diary", tmp_path / "gateway.json"
    async with RecordingUpstream() as upstream:

        def config(*entries: dict[str, Any]) -> str:
            return json.dumps(settings(file, upstream.port, *entries, workers=2))

        source.write_text(config({"name": "a"}, {"name": "b"}))
        async with running_file(source, REAL) as server:
            await server.complete(2)
            assert sorted(map(len, diary(file).values())) == [4, 4]
            source.write_text(config({"name": "a"}, {"name": "b", "start": 0.01}))
            server.signal(signal.SIGHUP)
            await eventually(lambda: sum("b.on_shutdown" in written for written in diary(file).values()) == 2)
            changed = {"name": "b", "start": 0.01}
            source.write_text(config({"name": "a"}, changed, {"name": "c"}, {"name": "d", "fail": True}))
            server.signal(signal.SIGHUP)
            await server.says("plugin d: on_startup raised ConnectionError: no database")
            server.signal(signal.SIGTERM)
            assert await server.left() == 0
    refused = ["c.init", "d.init", "c.on_startup", "d.on_startup", "c.on_shutdown"]
    middles = []
    for written in diary(file).values():
        assert written[:7] == [*STARTED, "b.init", "b.on_startup", "b.on_shutdown"]
        assert written[-2:] == STOPPED
        middles.append(written[7:-2])
    assert refused in middles
    # A worker that has not come as far when another one refuses goes no further; whatever it has started it stops. What
    # is interrupted while it starts has not started.
    assert all(middle in (refused, [], refused[:2], refused[:3], [*refused[:3], refused[4]]) for middle in middles)


async def test_a_start_that_fails_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "diary"
    config = settings(file, 1, {"name": "a"}, {"name": "b", "fail": True}, {"name": "c"})
    async with running(config, REAL) as server:
        assert await server.left() != 0
        (said,) = filter(None, server.log)
        assert re.fullmatch(
            r"fastgate: plugin b: on_startup raised ConnectionError: no database \(plugins\.py:\d+\)", said
        )
    for written in diary(file).values():
        assert written == ["a.init", "b.init", "c.init", "a.on_startup", "b.on_startup", "a.on_shutdown"]


async def test_a_start_that_takes_long_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "SLOW_START", 0.01)
    config = settings(tmp_path / "diary", 1, {"name": "a"}, {"name": "b", "start": 0.05})
    async with Gateway(GatewayConfig.from_dict(config)):
        pass
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert told == ["plugin b: on_startup has not returned after 0.01 s; the worker serves nothing until it returns"]


@pytest.mark.parametrize("hook", ["on_startup", "on_shutdown"])
async def test_a_plugin_cannot_end_the_process(
    hook: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def leave(*_: Any) -> None:
        raise SystemExit(3)

    monkeypatch.setattr(Diary, hook, leave)
    gateway = Gateway(GatewayConfig.from_dict(settings(tmp_path / "diary", 1, {"name": "a"})))
    if hook == "on_startup":
        with pytest.raises(PluginError, match="plugin a: on_startup raised SystemExit: 3"):
            await gateway.start()
    else:
        async with gateway:
            pass
        assert [record.levelname for record in caplog.records] == ["ERROR"]


async def test_start_and_shutdown_may_be_plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "diary"
    for hook in ("on_startup", "on_shutdown"):
        monkeypatch.setattr(Diary, hook, lambda self, gateway, hook=hook: self.write(hook))
    async with Gateway(GatewayConfig.from_dict(settings(file, 1, {"name": "a"}))):
        pass
    assert [*diary(file).values()] == [["a.init", "a.on_startup", "a.on_shutdown"]]
