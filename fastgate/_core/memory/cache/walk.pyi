"""Goes through all that is stored, once and in slices: for who wants to know what is there, not for requests."""

from collections.abc import Iterable
from typing import NamedTuple

from fastgate._core.memory.cache.cache_store import CacheStore
from fastgate._core.memory.cache.purges import Purges

class StoredRecord(NamedTuple):
    """A copy of what is stored under a key; times are CLOCK_BOOTTIME in milliseconds.

    ``body`` is the size of the body, ``size`` that of all of it; ``purge`` the number of purges when it was asked for.
    ``uses`` counts since it was stored or moved; 3 stands for all that is more.
    """

    key: bytes
    head: bytes
    body: int
    size: int
    words: tuple[int, ...]
    flags: int
    purge: int
    dies: int
    uses: int

class Walk:
    """One walk over a store, to records whose key has ``part`` in it."""

    def __init__(self, store: CacheStore, part: bytes) -> None: ...
    def step(self) -> list[StoredRecord] | None:
        """What one slice has found; None: it was the last one before."""

def purged(purges: Purges, number: int, tags: Iterable[int], address: bytes, path: int) -> int:
    """Whether an object with this number and these tags was purged: 0 = not, 1 = it is stale, 2 = it is not used.

    ``address`` is where it came from; its path begins at ``path``. Of more than 80 tags the first count.
    """
