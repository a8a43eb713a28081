from collections.abc import Iterable
from typing import Any

from fastgate._core.memory.region import Region

def plugins_size(slots: int) -> int:
    """Bytes of the region, most of which are never touched."""

def plugin_times(region: Region, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """What the plugins of these names took in all workers: ``running``, ``waiting`` (Histogram), ``over_budget``."""

class PluginTimes:
    """Of one plugin in one worker. ``budget`` in seconds; 0 = none."""

    plugin: str
    budget: int
    again: int
    def __init__(self, region: Region, slot: int, plugin: str, budget: float = 0.0) -> None: ...
