from typing import NamedTuple

from fastgate._core.memory.region import Region

class StateEvent(NamedTuple):
    """One change of the state of a target or an upstream.

    ``time`` is milliseconds of ``Segment.now()``, ``row`` the number of the row of its target. ``kind`` is "health",
    "ejected", "returned", "breaker", "drained", "enabled" or "panic"; ``old`` and ``new`` are the states before and
    after; ``value`` is the number that goes with the kind (ejected: for how many milliseconds).
    """

    sequence: int
    time: int
    kind: str
    row: int
    old: str
    new: str
    value: int

class EventRing:
    """The events of a region, with a cursor of this object's own. ``after`` is the sequence number to begin after.

    Any number of processes may append and read.
    """

    cursor: int
    """The sequence number of the last event that was read or skipped."""
    missed: int
    """How many events it did not get: overwritten before it could, or never finished by a process that died."""
    def __init__(self, region: Region, after: int = 0) -> None: ...
    def append(self, kind: str, row: int, old: str, new: str, value: int = 0, now: int | None = None) -> None:
        """Appends an event. Raises ValueError for a kind or a state that does not exist."""
    def read(self, now: int | None = None) -> list[StateEvent]:
        """The events after the cursor, in order.

        An event that some process has begun and not finished holds up those behind it for at most one second.
        """
    @property
    def last(self) -> int:
        """The sequence number of the newest event, 0 when there was none."""
