"""Uses the store of the response cache as hard as a process can, for tests that kill such processes."""

from array import array

from fastgate._core.memory.cache.cache_store import CacheStore

COUNTS: tuple[str, ...]

def use(
    store: CacheStore,
    counts: memoryview,
    seed: int,
    keys: int,
    rounds: int = 0,
    boards: memoryview | None = None,
) -> None:
    """Uses the store so many times, or without end, and counts what was found: `COUNTS` says in which word what.

    With boards, 8 words a slot that all processes share, it streams too, and reads along what others stream.
    """

def store_together(store: CacheStore, meeting: memoryview, processes: int, keys: int) -> None:
    """Stores under one key after the other, each at the same instant as the other processes that do so."""

def replay(
    store: CacheStore, trace: array[int], sizes: array[int], begin: int = 0, end: int | None = None
) -> tuple[int, int, int]:
    """Asks for one object after the other, and stores those that are not there: (hits, bytes of hits, longest call)."""
