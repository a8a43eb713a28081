"""Moves memory that processes share as the core does. The gateway never loads it."""

from fastgate._core.delivery.budget import RetryBudget
from fastgate._core.delivery.health import UpstreamHealth
from fastgate._core.memory.events import EventRing
from fastgate._core.memory.region import Region
from fastgate._core.memory.targets import TargetRows

def add_in_flight(rows: TargetRows, row: int, slot: int, amount: int) -> None:
    """Adds to the requests that the worker of this slot has with a target. IndexError: no such slot or row."""

def add_first_tries(budget: RetryBudget, slot: int, count: int = 1) -> None:
    """Counts first tries of the worker of this slot. IndexError: there is no such slot."""

def count_first_tries(rows: TargetRows, upstream: str, slot: int, count: int) -> None:
    """The same of an upstream that has no budget yet."""

def hold_lock(upstream: UpstreamHealth) -> None:
    """Takes the lock of an upstream's state and keeps it."""

def begin_event(ring: EventRing) -> None:
    """Takes the number of an event that never comes."""

def region_in(fd: int, name: str, version: int, size: int, slots: int, offset: int = 0) -> Region:
    """A region in a memory file; -1: in memory without one. Its secret is always the same."""
