"""Caches for any program: those that the gateway uses itself.

They are loaded alone, without the gateway::

    from fastgate.cache import LRUCache

    users = LRUCache(10_000, ttl=60)
    users.put(42, "Ada")
    users.get(42)  # "Ada", for a minute

`LRUCache` keeps Python objects in one process.
"""

from fastgate._core.memory.cache.lru import LRUCache, LRUStats

__all__ = ["LRUCache", "LRUStats"]
