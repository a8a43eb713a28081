"""Duties without a supervisor: in the loop of a gateway that is embedded; and how messages find their way."""

import asyncio
import json
import socket
import subprocess
import sys

import pytest

from fastgate._core.memory.segment import Segment
from fastgate.config import GatewayConfig
from fastgate.gateway import Gateway, duties
from fastgate.gateway.control import LocalControl
from fastgate.gateway.duties.contract import Duty, DutyContext, Send, Subscriber, WorkerLink
from fastgate.gateway.duties.dispatch import Duties, Subscribers
from fastgate.gateway.listeners import Listener
from fastgate.gateway.listening_sockets import ListenError
from fastgate.server.channel import Channel
from fastgate.server.control_messages import Start, Told
from fastgate.server.supervised_control import SupervisedControl
from fastgate.state.memory import make_segment
from fastgate.testing import RawClient, RecordingUpstream, proxy_config


class Noted(Subscriber):
    def __init__(self, ask: Send) -> None:
        super().__init__(ask)
        self.seen: list[bytes] = []

    def told(self, data: bytes) -> None:
        if data == b"bad":
            raise ValueError("bad")
        self.seen.append(data)


class Note(Duty):
    topic = "note"
    subscriber = Noted
    calls: list[str]

    def __init__(self, context: DutyContext) -> None:
        super().__init__(context)
        self.calls = []
        context.start_task(self.work())

    async def work(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.calls.append("cancelled")

    def snapshot(self) -> bytes:
        return b"all"

    def update(self, config: GatewayConfig) -> None:
        self.calls.append(config.routes[0].name)
        self.context.tell(config.routes[0].name.encode())

    def asked(self, worker: WorkerLink, data: bytes) -> None:
        self.calls.append(f"{worker.slot} asks {data.decode()}")
        worker.tell(data[::-1])

    async def stop(self) -> None:
        self.calls.append("stopped")


class Silent(Duty):
    topic = "silent"


def settings(port: int, name: str = "first") -> GatewayConfig:
    return GatewayConfig.from_dict(proxy_config(port, route={"name": name}))


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Note]:
    """Every `Note` that was made; the gateway has it beside its own duties."""
    found: list[Note] = []

    class Found(Note):
        def __init__(self, context: DutyContext) -> None:
            super().__init__(context)
            found.append(self)

    monkeypatch.setattr(duties, "DUTIES", (*duties.DUTIES, Found))
    return found


async def test_an_embedded_gateway_runs_them_in_its_own_loop(made: list[Note]) -> None:
    async with RecordingUpstream() as upstream:
        async with Gateway(settings(upstream.port)) as gateway:
            (duty,) = made
            assert gateway._subscribers is not None
            noted = gateway._subscribers.of(Noted)
            assert noted.seen == [b"first"]
            noted.ask(b"abc")
            assert noted.seen == [b"first", b"cba"]
            await gateway.reload(settings(upstream.port, "second"))
            assert noted.seen == [b"first", b"cba", b"second"]
            async with RawClient(gateway.port) as client:
                assert (await client.request(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")).status == 200
            await asyncio.sleep(0)
        noted.ask(b"too late")
        assert duty.calls == ["first", "0 asks abc", "second", "stopped", "cancelled"]
        assert len(noted.seen) == 3


async def test_a_gateway_that_cannot_start_has_not_begun_them(made: list[Note]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        config = GatewayConfig.from_dict(proxy_config(1, gateway={"port": taken.getsockname()[1]}))
        with pytest.raises(ListenError):
            await Gateway(config).start()
    assert made == []


async def test_a_gateway_that_fails_after_they_began_stops_them(
    made: list[Note], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        await asyncio.sleep(0)
        raise ListenError("broken")

    monkeypatch.setattr(Listener, "start", fail)
    with pytest.raises(ListenError, match="broken"):
        await Gateway(settings(1)).start()
    (duty,) = made
    assert duty.calls == ["first", "stopped", "cancelled"]


@pytest.fixture
def segment() -> Segment:
    return make_segment(settings(1), 1)


async def test_snapshots_are_of_those_that_have_one(segment: Segment) -> None:
    running = Duties([Note, Silent], segment, lambda topic, data: None)
    assert running.snapshots() == {"note": b"all"}
    await running.stop()
    assert running.snapshots() == {}


async def test_a_question_that_no_duty_answers_is_logged(segment: Segment, caplog: pytest.LogCaptureFixture) -> None:
    running = Duties([Silent], segment, lambda topic, data: None)
    told: list[tuple[str, bytes]] = []
    running.asked(3, lambda topic, data: told.append((topic, data)), "silent", b"?")
    assert "duty 'silent': the answer to worker 3 failed" in caplog.text
    assert "duty 'silent' does not answer questions" in caplog.text
    caplog.clear()
    for _ in range(2):
        running.asked(3, lambda topic, data: told.append((topic, data)), "else", b"?")
    assert [record.getMessage() for record in caplog.records] == [
        "ignoring questions of workers about the unknown topic 'else'"
    ]
    await running.stop()
    running.asked(3, lambda topic, data: told.append((topic, data)), "silent", b"?")
    assert len(caplog.records) == 1
    assert told == []


async def test_a_task_that_raises_is_logged_with_the_topic(segment: Segment, caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Duty):
        topic = "failing"

        def update(self, config: GatewayConfig) -> None:
            self.context.start_task(self.work())

        async def work(self) -> None:
            raise RuntimeError("of no use")

    running = Duties([Failing], segment, lambda topic, data: None)
    running.update(settings(1))
    for _ in range(3):
        await asyncio.sleep(0)
    assert "duty 'failing': a task failed" in caplog.text
    assert "of no use" in caplog.text
    await running.stop()


async def test_one_bad_message_does_not_end_a_subscription(caplog: pytest.LogCaptureFixture) -> None:
    subscribers = Subscribers([Note, Silent], lambda topic, data: None)
    for data in (b"one", b"bad", b"two"):
        subscribers.told("note", data)
    assert subscribers.of(Noted).seen == [b"one", b"two"]
    assert "duty 'note': the subscriber of this worker failed" in caplog.text
    with pytest.raises(KeyError):
        subscribers.of(type("Other", (Subscriber,), {}))


def test_no_two_duties_have_the_same_topic() -> None:
    topics = [each.topic for each in duties.DUTIES]
    assert len(set(topics)) == len(topics)


async def test_a_worker_keeps_what_it_is_told_before_somebody_subscribes(segment: Segment) -> None:
    ours, theirs = map(Channel, socket.socketpair())
    start = Start(0, 1, b"", [], [], None, "", snapshots={"note": b"snapshot"})
    control = SupervisedControl(theirs, start, [segment.fd, -1], [])
    try:
        control.told(Told("note", b"one"))
        control.told(Told("note", b"two"))
        subscribers = Subscribers([Note], control.ask)
        control.subscribe(subscribers)
        assert subscribers.of(Noted).seen == [b"snapshot", b"one", b"two"]
        control.told(Told("note", b"three"))
        assert subscribers.of(Noted).seen[3:] == [b"three"]
        await control.end()
        control.told(Told("note", b"four"))
        assert len(subscribers.of(Noted).seen) == 4
    finally:
        ours.close()
        theirs.close()


async def test_a_worker_without_subscribers_keeps_nothing_once_it_is_ready(segment: Segment) -> None:
    ours, theirs = map(Channel, socket.socketpair())
    control = SupervisedControl(theirs, Start(0, 1, b"", [], [], None, ""), [segment.fd, -1], [])
    try:
        control.told(Told("note", b"one"))
        control.ready()
        control.told(Told("note", b"two"))
        subscribers = Subscribers([Note], control.ask)
        control.subscribe(subscribers)
        assert subscribers.of(Noted).seen == []
    finally:
        ours.close()
        theirs.close()


async def test_a_gateway_may_be_given_other_duties(made: list[Note]) -> None:
    config = settings(1)
    async with Gateway(config, control=LocalControl(config, duties=[Silent])):
        assert made == []


WORKER = """
import json, sys
import fastgate.gateway.gateway, fastgate.server.worker
print(json.dumps(sorted(sys.modules)))
"""


def test_a_worker_loads_no_supervisors_half() -> None:
    run = subprocess.run([sys.executable, "-c", WORKER], capture_output=True, text=True, check=True)
    loaded = set(json.loads(run.stdout))
    assert "fastgate.gateway.duties.jwt" in loaded
    heavy = {"upstreams.control", "upstreams.dns", "policies.jwt.fetching", "state.watch"}
    assert loaded.isdisjoint(f"fastgate.{name}" for name in heavy)
