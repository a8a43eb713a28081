from collections.abc import Callable, Hashable
from typing import Any, Generic, NamedTuple, TypeVar, overload

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
D = TypeVar("D")

class LRUStats(NamedTuple):
    """What an LRUCache holds, and what has happened to it since it was made.

    ``entries`` may have expired and not be removed yet. ``bytes`` is the sum of what the size function returned.
    ``evictions`` counts entries that left because others needed their place, ``expired`` those that were found too old,
    ``refused`` values that were larger than ``max_bytes``.
    """

    entries: int
    bytes: int
    hits: int
    misses: int
    evictions: int
    expired: int
    refused: int

class LRUCache(Generic[K, V]):
    """At most ``max_entries`` objects, or objects of ``max_bytes`` together; the least recently used one leaves first.

    ``size`` is a function that returns the bytes of a value, and has to be given with ``max_bytes``. ``ttl`` is how
    many seconds a value is good for (None: for ever), on a clock that also counts while the machine sleeps; ``clock``
    is another clock, a function that returns seconds. Keys are hashable, values are any objects::

        pages = LRUCache(max_bytes=64 << 20, size=len, ttl=60)
        pages.put("/", b"<html>")
        pages.get("/")                          # b"<html>"; None after a minute

    Every method takes constant time, but for clear(). Threads may use one cache together, and so may the functions that
    it calls: size functions, clocks, and what keys and values do when they are compared and when they are deleted.

    Raises ValueError when neither bound is given or one of the numbers is not positive.
    """

    def __init__(
        self,
        max_entries: int | None = None,
        *,
        max_bytes: int | None = None,
        size: Callable[[V], int] | None = None,
        ttl: float | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None: ...
    @overload
    def get(self, key: K) -> V | None:
        """The value of a key, which is then the most recently used; ``default`` if there is none or it has expired.

        Raises TypeError for a key that is not hashable, as the other methods do.
        """
    @overload
    def get(self, key: K, default: D) -> V | D: ...
    def put(self, key: K, value: V, *, ttl: float | None = ...) -> bool:
        """Stores a value in place of the one that the key had, for ``ttl`` seconds; by default that of the cache.

        False: the value is larger than ``max_bytes``, or its ``ttl`` is not more than 0; it is not stored, and the key
        has no value any more. Raises ValueError when the size function returns a negative number.
        """
    @overload
    def pop(self, key: K) -> V | None:
        """Removes a key: its value, or ``default`` if there is none or it has expired. Counts as get() does."""
    @overload
    def pop(self, key: K, default: D) -> V | D: ...
    def delete(self, key: K) -> bool:
        """Removes a key; False if it had no value or an expired one. Counts neither as a hit nor as a miss."""
    def clear(self) -> None:
        """Removes everything; the counts of stats() stay."""
    def stats(self) -> LRUStats:
        """What it holds, and what has happened since it was made."""
    def __len__(self) -> int: ...
    def __contains__(self, key: Any) -> bool: ...
