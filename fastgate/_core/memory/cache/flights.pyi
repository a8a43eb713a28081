from collections.abc import Sequence
from typing import NamedTuple

from fastgate._core.memory.region import Region

class FlightStats(NamedTuple):
    """How requests met flights, in all workers since the start.

    ``led`` asked the upstream for all, ``followed`` another one; ``alone`` asked without a flight, because waiting for
    that key has shown to be of no use, ``full`` because there was no row. ``taken_over`` led what another one had given
    up. ``told`` counts news that a follower got, ``woken`` eventfds that were written.
    """

    led: int
    followed: int
    alone: int
    full: int
    taken_over: int
    told: int
    woken: int

def flights_size(slots: int) -> int:
    """Bytes of the region for so many worker slots."""

class Waiter:
    """Waits for news of a flight; what it is told is up to a class that derives from it."""

class Flights:
    """The flights of a region, as the worker of one slot sees them; slot -1: a process that serves nobody.

    ``wakers`` are the eventfds of all slots, non-blocking; they have to stay open. Raises IndexError for a slot that
    there is not, ValueError when the number of eventfds is not that of the slots.
    """

    region: Region
    slot: int
    def __init__(self, region: Region, slot: int, wakers: Sequence[int]) -> None: ...
    def woken(self) -> None:
        """Tells waiters what the eventfd of this slot was written for. Raises what one of them raised, after all."""
    def sweep(self) -> None:
        """Looks at every flight that somebody in this process waits for, in case."""
    def release(self, slot: int) -> None:
        """Ends the flights that a dead worker has led, and wakes everybody. Twice does no harm.

        To be called when the process is gone: it changes rows that otherwise only the worker changes. Raises IndexError
        for a slot that there is not.
        """
    def stats(self) -> FlightStats:
        """How requests met flights, in all workers since the start."""
