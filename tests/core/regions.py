"""The regions of a segment, for tests that use them together."""

from collections.abc import Callable
from typing import Any

from fastgate._core.exchange.worker import Engine
from fastgate._core.limits import concurrency, rate
from fastgate._core.limits.concurrency import Concurrency
from fastgate._core.limits.rate import Limit, SlidingWindowLog
from fastgate._core.memory.events import EventRing
from fastgate._core.memory.region import Region
from fastgate._core.memory.segment import Segment


def room(segment: Segment, kind: type[Limit]) -> Region:
    """Where limits of this kind count."""
    return segment.region("logs" if kind is SlidingWindowLog else "limits")


def prepare(segment: Segment) -> None:
    for name in ("limits", "logs"):
        rate.prepare(segment.region(name))


def prepare_shares(segment: Segment) -> None:
    concurrency.prepare_shares(segment.region("shares"))


def regions_of(counted: Segment | Limit) -> list[Region]:
    return [counted.region] if isinstance(counted, Limit) else [counted.region(name) for name in ("limits", "logs")]


def evictions(counted: Segment | Limit) -> int:
    return sum(map(rate.evictions, regions_of(counted)))


def lifted(counted: Segment | Limit) -> int:
    return sum(map(rate.lifted, regions_of(counted)))


def merged(counted: Segment | Concurrency) -> int:
    return concurrency.merged(counted.region if isinstance(counted, Concurrency) else counted.region("shares"))


def release_slot(segment: Segment, slot: int) -> None:
    concurrency.release_slot(segment.region("shares"), slot)


def ring(segment: Segment, after: int = 0) -> EventRing:
    return EventRing(segment.region("events"), after=after)


def engine(loop: Any, segment: Segment, slot: int, log: Callable[..., object]) -> Engine:
    """The engine of the worker of this slot."""
    workers, counters = segment.region("workers"), segment.region("counters")
    return Engine(loop, slot, log, workers=workers, counters=counters, rows=segment.rows)
