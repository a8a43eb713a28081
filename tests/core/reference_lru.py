"""What an LRUCache is, in plain Python: a dictionary in the order of use."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any


class ReferenceLRU:
    def __init__(
        self,
        max_entries: int | None = None,
        *,
        max_bytes: int | None = None,
        size: Callable[[Any], int] | None = None,
        ttl: float | None = None,
        clock: Callable[[], float],
    ) -> None:
        self.max_entries = max_entries
        self.max_bytes = max_bytes
        self.size = size
        self.ttl = ttl
        self.clock = clock
        self.entries: OrderedDict[Hashable, tuple[Any, int, float]] = OrderedDict()
        self.hits = self.misses = self.evictions = self.expired = self.refused = 0

    @property
    def bytes(self) -> int:
        return sum(size for _, size, _ in self.entries.values())

    def stats(self) -> tuple[int, ...]:
        counts = (self.hits, self.misses, self.evictions, self.expired, self.refused)
        return (len(self.entries), self.bytes, *counts)

    def live(self, key: Hashable) -> bool:
        if key in self.entries and self.entries[key][2] <= self.clock():
            del self.entries[key]
            self.expired += 1
        return key in self.entries

    def get(self, key: Hashable) -> Any:
        if not self.live(key):
            self.misses += 1
            return None
        self.hits += 1
        self.entries.move_to_end(key)
        return self.entries[key][0]

    def put(self, key: Hashable, value: Any, ttl: Any = ...) -> bool:
        lifetime = self.ttl if ttl is ... else ttl
        size = self.size(value) if self.size else 0
        too_large = self.max_bytes is not None and size > self.max_bytes
        self.refused += too_large
        self.entries.pop(key, None)
        if too_large or (lifetime is not None and lifetime <= 0):
            return False
        while self.entries and (
            (self.max_entries is not None and len(self.entries) == self.max_entries)
            or (self.max_bytes is not None and self.bytes + size > self.max_bytes)
        ):
            self.entries.popitem(last=False)
            self.evictions += 1
        self.entries[key] = (value, size, float("inf") if lifetime is None else self.clock() + lifetime)
        return True

    def pop(self, key: Hashable) -> Any:
        if not self.live(key):
            self.misses += 1
            return None
        self.hits += 1
        return self.entries.pop(key)[0]

    def delete(self, key: Hashable) -> bool:
        return self.live(key) and self.entries.pop(key) is not None

    def clear(self) -> None:
        self.entries.clear()
