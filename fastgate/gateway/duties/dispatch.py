"""Runs duties, and takes messages to them and to their subscribers. It knows topics and bytes, and no duty by name."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

from fastgate._core.memory.segment import Segment
from fastgate.config import GatewayConfig
from fastgate.gateway.duties.contract import Duty, DutyContext, Send, Subscriber, WorkerLink, log_failure

_log = logging.getLogger("fastgate.duties")

SendTopic = Callable[[str, bytes], None]
"""Takes a message to the other side: its topic and its bytes."""

Kind = TypeVar("Kind", bound=Subscriber)


class Duties:
    """All duties of a host, in the running event loop. ``tell`` reaches every worker. No method raises."""

    def __init__(self, kinds: Iterable[type[Duty]], segment: Segment, tell: SendTopic) -> None:
        self._duties: dict[str, Duty] = {}
        self._contexts: list[DutyContext] = []
        self._unknown = _UnknownTopics("ignoring questions of workers about the unknown topic %r")
        self._stopped = False
        for kind in kinds:
            context = DutyContext(kind.topic, segment, partial(tell, kind.topic))
            self._contexts.append(context)
            try:
                self._duties[kind.topic] = kind(context)
            except Exception:
                log_failure(kind.topic, "the start")
                self._unknown.expect(kind.topic)

    def snapshots(self) -> dict[str, bytes]:
        """What a worker that starts now is given, by topic."""
        found = {}
        for topic, duty in self._duties.items():
            try:
                data = duty.snapshot()
            except Exception:
                log_failure(topic, "the snapshot")
            else:
                if data:
                    found[topic] = data
        return found

    def update(self, config: GatewayConfig) -> None:
        """Has every duty use this configuration."""
        for topic, duty in self._duties.items():
            try:
                duty.update(config)
            except Exception:
                log_failure(topic, "the update")

    def asked(self, slot: int, tell: SendTopic, topic: str, data: bytes) -> None:
        """The worker of that slot, which ``tell`` reaches alone, asks the duty with that topic."""
        if self._stopped:
            return
        duty = self._duties.get(topic)
        if duty is None:
            self._unknown.log(topic)
            return
        try:
            duty.asked(WorkerLink(slot, partial(tell, topic)), data)
        except Exception:
            log_failure(topic, f"the answer to worker {slot}")

    async def stop(self) -> None:
        """Stops every duty; returns when all have ended."""
        self._stopped = True
        duties, self._duties = self._duties, {}
        await asyncio.gather(*map(_stop, duties.values()))
        await asyncio.gather(*(context.stop_tasks() for context in self._contexts))


class Subscribers:
    """The subscribers of one worker, one for each duty that has one. ``ask`` reaches the duties."""

    def __init__(self, kinds: Iterable[type[Duty]], ask: SendTopic) -> None:
        self._unknown = _UnknownTopics("ignoring messages about the unknown topic %r")
        self._by_topic: dict[str, Subscriber] = {}
        for kind in kinds:
            if kind.subscriber is not None:
                send: Send = partial(ask, kind.topic)
                self._by_topic[kind.topic] = kind.subscriber(send)

    def of(self, kind: type[Kind]) -> Kind:
        """The subscriber of that class. KeyError when no duty has it."""
        for subscriber in self._by_topic.values():
            if isinstance(subscriber, kind):
                return subscriber
        raise KeyError(kind)

    def told(self, topic: str, data: bytes) -> None:
        """A message, or the snapshot, of the duty with that topic. Raises nothing."""
        subscriber = self._by_topic.get(topic)
        if subscriber is None:
            self._unknown.log(topic)
            return
        try:
            subscriber.told(data)
        except Exception:
            log_failure(topic, "the subscriber of this worker")


async def _stop(duty: Duty) -> None:
    try:
        await duty.stop()
    except Exception:
        log_failure(duty.topic, "the stop")


class _UnknownTopics:
    """Logs each unknown topic once: a worker of another version may send one with every request."""

    def __init__(self, message: str) -> None:
        self._message = message
        self._logged: set[str] = set()

    def expect(self, topic: str) -> None:
        """What is wrong with this topic is logged already."""
        self._logged.add(topic)

    def log(self, topic: str) -> None:
        if topic not in self._logged:
            self._logged.add(topic)
            _log.warning(self._message, topic)
