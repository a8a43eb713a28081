from collections.abc import Iterable
from typing import TypedDict

from fastgate._core.histogram import Histogram
from fastgate._core.shm import Segment

class PluginTimes(TypedDict):
    """What the hooks of a plugin took, in microseconds, and how often they kept the event loop over their budget."""

    running: Histogram
    waiting: Histogram
    over_budget: int

def plugins_size(slots: int) -> int:
    """Bytes of the region, most of which are never touched."""

def plugin_times(segment: Segment, names: Iterable[str]) -> dict[str, PluginTimes]:
    """What the plugins of these names took in all workers: ``running``, ``waiting`` (Histogram), ``over_budget``."""

class Meter:
    """Of one plugin in one worker. ``budget`` in seconds; 0 = none."""

    plugin: str
    budget: int
    again: int
    def __init__(self, segment: Segment, slot: int, plugin: str, budget: float = 0.0) -> None: ...
