"""Caches for any program.

`SharedCache` is memory for bytes that several processes of a host share: it is what the gateway keeps responses in, and
loading it loads nothing else of the gateway::

    from fastgate.cache import SharedCache

    cache = SharedCache.create(256 << 20, slots=4)  # for four processes that store; this one has slot 0
    cache.put(b"key", b"value", ttl=60)
    cache.get(b"key")  # b"value", or None

    with cache.pin(b"key") as value:  # not copied, and it stays as it is
        connection.sendall(value)

Other processes get its descriptor, by inheritance or over a Unix socket, and a slot each::

    cache = SharedCache.attach(fd, slot=2)

A process may be killed at any moment: what it had is given back by ``recover(slot)``, which any process may call once
it is gone.
"""

from fastgate._core.memory.cache.shared_cache import PinnedValue, SharedCache

__all__ = [
    "PinnedValue",
    "SharedCache",
]
