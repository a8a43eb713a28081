"""One file a lane. Each has ``TITLE`` and ``run(options)``, which returns the lane's part of the JSON result."""

from __future__ import annotations

import importlib
from types import ModuleType

NAMES = (
    "plain",
    "connect",
    "bodies",
    "idle",
    "start",
    "callgrind",
    "router",
    "limiter",
    "traffic",
    "policies",
    "reload",
    "many",
    "log",
    "chain",
    "cost",
    "cache",
    "cache_crowd",
    "cache_slow",
)


def load_lane(name: str) -> ModuleType:
    """The module of a lane, imported on use: a lane may need what another machine lacks."""
    return importlib.import_module(f"benchmarks.lanes.{name}")
