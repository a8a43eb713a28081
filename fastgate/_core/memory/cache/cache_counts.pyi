"""What the response cache did for each route, counted by the workers of a host and kept when they are gone."""

from collections.abc import Sequence

from fastgate._core.memory.region import Region

OTHER: str

def counts_size(store: int, slots: int) -> int:
    """Bytes of the region for a store of so many bytes: rows for 16 to 1,024 routes, about a 128th of it."""

class RouteCounts:
    """Where the process of a slot counts. IndexError: no such slot."""

    region: Region
    slot: int

    def __init__(self, region: Region, slot: int) -> None: ...
    def add(self, route: str, word: str, amount: int = 1) -> None:
        """Counts from Python what the core counts by itself. KeyError: there is no such word."""

def route_counts(region: Region, hindrances: Sequence[str] = ()) -> dict[str, dict[str, int]]:
    """What all slots have counted for each route: the words that are not 0, by their names.

    What was not stored is counted by what hindered, a number from 0 to 15: ``not_stored_0`` and so on; ``hindrances``
    has better names for the first of them, which follow ``not_stored_``.
    """
