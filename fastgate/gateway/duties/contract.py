"""The contract of a duty: work that is done once for a host and that all of its workers use.

A duty has two halves. The `Duty` runs in the supervisor, or in the gateway's own loop where there is no supervisor. The
`Subscriber` runs in each worker. They talk by topic, in messages that only they can read: bytes for all others.

* `Duty.snapshot` is what a worker needs to begin with. It travels with the first message to a worker that starts, and
  its subscriber is told of it before the configuration is compiled, so before the worker's first request.
* `DutyContext.tell` reaches the subscriber of every worker, after the snapshot and in the order in which it was called.
* ``Subscriber.ask`` reaches `Duty.asked`, which may answer that worker alone with `WorkerLink.tell`.

All of it happens in the event loop, and none of it may block. What a duty or a subscriber raises is logged with the
topic; the gateway and the other duties go on.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar, NamedTuple

from fastgate._core.memory.segment import Segment
from fastgate.config import GatewayConfig

_log = logging.getLogger("fastgate.duties")

Send = Callable[[bytes], None]
"""Takes one message of a topic to the other side. Never waits; a side that is gone is ignored."""


class WorkerLink(NamedTuple):
    """The worker that asks. ``tell`` sends to its subscriber alone, and does nothing once the worker is gone."""

    slot: int
    tell: Send


class DutyContext:
    """What a duty is given.

    Attributes:
        topic: The topic of the duty.
        segment: The shared memory of the host.
        tell: Sends a message to the subscriber of every worker.
    """

    def __init__(self, topic: str, segment: Segment, tell: Send) -> None:
        self.topic = topic
        self.segment = segment
        self.tell = tell
        self._tasks: set[asyncio.Task[None]] = set()

    def start_task(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs work beside requests until it ends or the duty is stopped. What it raises is logged."""
        task = asyncio.get_running_loop().create_task(self._run(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:
            log_failure(self.topic, "a task")

    async def stop_tasks(self) -> None:
        """Cancels what `start_task` has started, and waits for its end."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Subscriber:
    """A duty's half in each worker. It is made before the configuration is compiled, and never raises when made."""

    def __init__(self, ask: Send) -> None:
        """``ask`` sends a message to `Duty.asked`."""
        self.ask = ask

    def told(self, data: bytes) -> None:
        """The snapshot, or a message that the duty has told. A snapshot is a message like any other."""
        raise NotImplementedError


class Duty:
    """A duty's half in the supervisor: made when the event loop runs, then `update`, until `stop`.

    Attributes:
        topic: Names the duty in messages and in the log. No two duties have the same.
        subscriber: The half in the worker; None when workers are told nothing.
    """

    topic: ClassVar[str]
    subscriber: ClassVar[type[Subscriber] | None] = None

    def __init__(self, context: DutyContext) -> None:
        self.context = context

    def snapshot(self) -> bytes:
        """All that a worker has to know to begin with, as one message; empty: nothing."""
        return b""

    def update(self, config: GatewayConfig) -> None:
        """Uses this configuration from now on: the first one, or another one after a reload. What stays goes on."""

    def asked(self, worker: WorkerLink, data: bytes) -> None:
        """Does what the subscriber of a worker asks for."""
        raise NotImplementedError(f"duty {self.topic!r} does not answer questions")

    async def stop(self) -> None:
        """Ends everything but the tasks of the context, which end right after."""


def log_failure(topic: str, where: str) -> None:
    """Logs the exception that is being handled. ``where``: the part of the duty that raised it."""
    _log.exception("duty %r: %s failed; the gateway continues", topic, where)
