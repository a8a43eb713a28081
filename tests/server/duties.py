"""Duties for tests, and a policy by which a test sees what workers were told, and has them ask."""

import asyncio
import json
import logging
import os
from pathlib import Path
from typing import Any

from fastgate import Gateway, GatewayConfig, Policy, Request, Response
from fastgate.gateway import duties
from fastgate.gateway.control import ControlPlane
from fastgate.gateway.duties.contract import Duty, DutyContext, Send, Subscriber, WorkerLink

_log = logging.getLogger("fastgate.tests")

SEEN: list[str] = []
"""What the subscriber of `TicksDuty` was told in this process."""
CONTROL: list[ControlPlane] = []


class Ticks(Subscriber):
    def __init__(self, ask: Send) -> None:
        super().__init__(ask)
        SEEN.clear()

    def told(self, data: bytes) -> None:
        SEEN.append(data.decode())


class TicksDuty(Duty):
    """Counts what it is asked, and tells everybody."""

    topic = "ticks"
    subscriber = Ticks

    def __init__(self, context: DutyContext) -> None:
        super().__init__(context)
        self.count = 0
        self.route = ""

    def snapshot(self) -> bytes:
        return f"snapshot {self.count} {self.route}".encode()

    def update(self, config: GatewayConfig) -> None:
        self.route = config.routes[0].name
        self.context.tell(f"update {self.route}".encode())

    def asked(self, worker: WorkerLink, data: bytes) -> None:
        self.count += 1
        self.context.tell(f"tick {self.count}".encode())
        worker.tell(f"answer to {worker.slot}: {data.decode()}".encode())

    async def stop(self) -> None:
        _log.info("ticks: stopped after %d", self.count)


class Raising(Subscriber):
    def told(self, data: bytes) -> None:
        raise RuntimeError("the subscriber of broken")


class BrokenDuty(Duty):
    """Raises wherever it can, once it is made."""

    topic = "broken"
    subscriber = Raising

    def __init__(self, context: DutyContext) -> None:
        super().__init__(context)
        context.start_task(self.work())

    async def work(self) -> None:
        raise RuntimeError("work of broken")

    def snapshot(self) -> bytes:
        raise RuntimeError("snapshot of broken")

    def update(self, config: GatewayConfig) -> None:
        self.context.tell(b"anything")
        raise RuntimeError("update of broken")

    def asked(self, worker: WorkerLink, data: bytes) -> None:
        raise RuntimeError("question to broken")

    async def stop(self) -> None:
        raise RuntimeError("stop of broken")


class UnmadeDuty(Duty):
    """Cannot even be made."""

    topic = "unmade"
    subscriber = Subscriber

    def __init__(self, context: DutyContext) -> None:
        raise RuntimeError("making of unmade")


class NewerDuty(Duty):
    """Of a supervisor that is newer than its workers."""

    topic = "newer"

    def update(self, config: GatewayConfig) -> None:
        for _ in range(2):
            self.context.tell(b"of no use")


def install(*more: type[Duty]) -> None:
    """The duties of this process from now on."""
    duties.DUTIES = (*duties.DUTIES, BrokenDuty, UnmadeDuty, TicksDuty, *more)


def gateway(config: GatewayConfig, *, control: ControlPlane) -> Gateway:
    """What a worker runs."""
    install()
    CONTROL.append(control)
    return Gateway(config, control=control)


class Look(Policy):
    """Answers with what was told until it started and until now. A path that names a topic asks its duty first."""

    async def on_startup(self, gateway: Any) -> None:
        self.at_startup = SEEN.copy()
        while self.options and Path(self.options["hold"]).exists():
            await asyncio.sleep(0.01)

    def on_request(self, request: Request) -> Response:
        topic = request.path.removeprefix("/")
        if topic:
            CONTROL[0].ask(topic, b"hello")
        return Response(200, body=json.dumps({"pid": os.getpid(), "at_startup": self.at_startup, "seen": SEEN}))
