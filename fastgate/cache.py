"""Caches for any program: those that the gateway uses itself. Loading them loads nothing else of the gateway.

`SharedCache` keeps bytes, for all processes of a host::

    from fastgate.cache import LRUCache, SharedCache

    cache = SharedCache.create(256 << 20, slots=4)  # for four processes that store; this one has slot 0
    cache.put(b"key", b"value", ttl=60)
    cache.get(b"key")  # b"value", or None

    with cache.pin(b"key") as value:  # not copied, and it stays as it is
        connection.sendall(value)

A value may have tags, by which it is purged in all processes, whatever its key is::

    since = cache.moment()  # before the value is made
    cache.put(b"page", render(user), tags=["user 7"], since=since)
    cache.purge("user 7")  # found no more; nor is a page that began to be made before

Other processes get its descriptor, by inheritance or over a Unix socket, and a slot each::

    cache = SharedCache.attach(fd, slot=2)

A process may be killed at any moment: what it had is given back by ``recover(slot)``, which any process may call once
it is gone.

`LRUCache` keeps Python objects, in one process::

    users = LRUCache(10_000, ttl=60)
    users.put(42, "Ada")
    users.get(42)  # "Ada", for a minute
"""

from fastgate._core.memory.cache.lru import LRUCache, LRUStats
from fastgate._core.memory.cache.shared_cache import PinnedValue, SharedCache

__all__ = ["LRUCache", "LRUStats", "PinnedValue", "SharedCache"]
