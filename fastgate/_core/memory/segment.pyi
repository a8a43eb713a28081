from typing import Any

from fastgate._core.memory.region import Region
from fastgate._core.memory.region import SegmentError as SegmentError
from fastgate._core.memory.targets import TargetRows

class Segment:
    """Shared memory of one gateway, made by create() or attach(). Unmapped, its descriptor closed, with the last that
    uses it.
    """

    slots: int
    rows: TargetRows
    @property
    def size(self) -> int:
        """Bytes of the file."""
    @property
    def fd(self) -> int:
        """Its descriptor; -1: none."""
    @property
    def targets(self) -> int:
        """How many rows of targets there are."""
    def region(self, name: str) -> Region:
        """The region of this name. Raises SegmentError when there is none."""
    @staticmethod
    def create(
        *, slots: int = 1, targets: int = 16384, limits: int = 0, logs: int = 0, shares: int = 0, plugins: int = 0
    ) -> Segment:
        """A new segment for ``slots`` workers and up to ``targets`` targets, all zeros.

        ``limits``, ``logs``, ``shares`` and ``plugins`` are the sizes of these regions in bytes. Raises ValueError when
        there are not 1 to 4096 slots and 1 to 1048576 targets, OSError when memory is refused.
        """
    @staticmethod
    def attach(fd: int) -> Segment:
        """The segment behind an inherited descriptor, which from now on belongs to the object.

        Raises SegmentError when it is not a segment, a region of it has another layout than this program knows, or it
        is not sealed; the descriptor is left alone.
        """
    def occupy(self, slot: int) -> None:
        """Makes the calling process the worker of this slot: its process id, one start more, a first heartbeat."""
    def release(self, slot: int) -> None:
        """Undoes what a dead worker left in its slot: in-flight words, open connections, heartbeat. Its counters stay.

        To be called when the process is gone: it writes words that otherwise only the worker writes.
        """
    def heartbeat(self, slot: int) -> int:
        """When the worker of this slot last proved to be alive, in milliseconds of ``Segment.now()``; 0 = no worker."""
    def stamp(self, slot: int) -> None:
        """What the timer wheel of the core does on every turn: the heartbeat of this slot is now."""
    def pid(self, slot: int) -> int:
        """The process id of the worker of this slot; 0 = no worker."""
    def starts(self, slot: int) -> int:
        """How many workers have occupied this slot so far."""
    @staticmethod
    def now() -> int:
        """The clock of heartbeats: CLOCK_MONOTONIC in milliseconds, the same in every process."""
    def metrics(self, slot: int | None = None) -> dict[str, Any]:
        """The counters of one slot, or of all slots together.

        Keys are the counters' names; ``latency`` and ``upstream_latency`` are Histogram objects in microseconds.
        """
    def count(self, slot: int, name: str, amount: int = 1) -> None:
        """Adds to a counter of a slot; only its worker may. Raises KeyError for a name that metrics() does not have."""
