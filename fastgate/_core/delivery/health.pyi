from collections.abc import Iterable, Sequence
from typing import NamedTuple

from fastgate._core.memory.events import EventRing
from fastgate._core.memory.targets import TargetRows

NEVER: int

class TargetStatus(NamedTuple):
    """What is known of a target. Times are milliseconds of ``Segment.now()``; 0 = never.

    ``state`` is "drained", "down", "ejected", "up" or "unknown", the first of these that holds; ``since`` when it
    began. ``until`` is when the last ejection ends or ended, ``up_since`` when the target last came back. ``times`` is
    how often it was ejected of late, ``ejections`` how often in all. ``failures`` are those in a row at this moment.
    ``breaker`` is the state of its own breaker.
    """

    state: str
    since: int
    until: int
    up_since: int
    times: int
    ejections: int
    failures: int
    breaker: str

class UpstreamHealth:
    """The health of the targets of one upstream, which all processes share that have the rows. Times are seconds.

    A target is ejected after ``failures`` failures in a row within ``window`` (0 = never), for ``eject`` the first
    time, twice as long the second time and so on up to ``max_eject``; for each ``eject`` that passes after a return
    one time is forgotten. At most the share ``max_ejected`` of the targets is ejected at once, rounded down.

    ``backups`` names the targets that are used only when no other one can be. What comes back gets its weight slowly
    over ``slow_start``. When of the targets that are no backups less than the share ``panic_threshold`` is healthy,
    those that are ejected are used too, and when the probe says that all of them are down, all (0 = never); with
    ``panic_over_probes`` all are used in both cases.

    Raises ValueError when a backup is no target, SegmentError when the table of targets is full.
    """

    name: str
    targets: tuple[str, ...]
    row: int
    size: int
    next_change: int
    """When the passing of time alone next changes a weight, as of the last ``weights()``; NEVER if it will not."""
    def __init__(
        self,
        memory: TargetRows,
        name: str,
        targets: Iterable[str],
        *,
        events: EventRing | None = None,
        backups: Iterable[str] = (),
        failures: int = 0,
        window: float = 10.0,
        eject: float = 30.0,
        max_eject: float = 300.0,
        max_ejected: float = 0.5,
        slow_start: float = 0.0,
        panic_threshold: float = 0.5,
        panic_over_probes: bool = False,
    ) -> None: ...
    def target(self, index: int) -> TargetHealth:
        """The target at this position. Raises IndexError when there is none."""
    def is_changed(self, now: int | None = None) -> bool:
        """Whether ``weights()`` may answer something else than it last did."""
    def weights(self, base: Sequence[float] | None = None, now: int | None = None) -> list[float]:
        """The weight of each target at this moment: its ``base`` (1.0), reduced, or 0.0 when it is not to be used.

        Raises ValueError when ``base`` has another length than ``targets``.
        """
    def sweep(self, now: int | None = None) -> None:
        """What time brings about: targets return, panic begins or ends. To be called ten times a second."""
    def retry_after(self, now: int | None = None) -> float:
        """In how many seconds the passing of time alone may bring a target back; 0.0 when that is not known."""
    @property
    def generation(self) -> int:
        """Moves on with every change of what targets are used."""
    @property
    def panic(self) -> bool:
        """Whether so few targets are healthy that all are used."""

class TargetHealth:
    """One target of an upstream; made by ``UpstreamHealth.target()``."""

    upstream: UpstreamHealth
    name: str
    row: int
    def set_probe(self, up: bool | None, now: int | None = None) -> None:
        """What the active probe found; None = it is not probed any more. For the control plane alone.

        This method, drain() and enable() raise TimeoutError when a stopped process holds the lock of the upstream.
        """
    def drain(self, now: int | None = None) -> None:
        """No more new requests for this target. For the control plane alone."""
    def enable(self, now: int | None = None) -> None:
        """Takes back ``drain()``. For the control plane alone."""
    def record(self, ok: bool, now: int | None = None) -> None:
        """The outcome of a try."""
    def status(self, now: int | None = None) -> TargetStatus:
        """What is known of the target."""
