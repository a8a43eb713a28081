"""What operators are told: the typed results of `fastgate.server.operations`, which the control socket turns into JSON.

Nothing of the gateway is imported here, so that whoever reads results can do so without it.
"""

from msgspec import Struct


class MaintenanceState(Struct, frozen=True):
    """Which routes of the configuration in use are closed, and what of that was switched by hand."""

    closed: list[str]
    every: bool  # whether all routes were switched on at once
    switched: dict[str, str]  # "on" or "off" by route


class WorkerStatus(Struct, frozen=True):
    """One slot and the worker in it; while it is being replaced there is neither process id nor generation."""

    slot: int
    pid: int | None
    ready: bool
    generation: int | None


class Status(Struct, frozen=True):
    """What runs."""

    pid: int  # of the supervisor
    state: str  # "starting", "running" or "draining"
    addresses: list[str]  # URLs
    file: str  # of the configuration; empty when there is none
    generation: int
    routes: int
    maintenance: MaintenanceState
    uptime: float  # seconds
    workers: list[WorkerStatus]


class Maintained(Struct, frozen=True):
    """The state of maintenance, of a configuration with so many routes."""

    generation: int
    routes: int
    maintenance: MaintenanceState


class Reloaded(Struct, frozen=True):
    """What a reload has done. ``generation`` 0: there was no configuration to read again, only certificates."""

    generation: int
    workers: int
    routes: int
    seconds: float
