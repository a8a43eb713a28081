"""Answers from the store of the response cache, in the place of those of an upstream."""

from collections.abc import Iterable

from fastgate._core.delivery.cache.rules import CacheRules
from fastgate._core.delivery.cache.worker_cache import WorkerCache
from fastgate._core.delivery.tries import Changes
from fastgate._core.exchange.exchange import Delivery

class Cached(Delivery):
    """The store, around the delivery that asks an upstream.

    ``namespace`` are 16 bytes, a digest of all in the configuration that decides what the upstream is asked or how keys
    are made: answers are found under the same namespace only. ``route`` is the name of the route, ``upstream`` that of
    the upstream that a split has chosen, None without a split. ``request_id`` is the field of the request id, None:
    none. ``credentials`` are request fields in which clients of this route send credentials, beside Authorization.
    """

    rules: CacheRules
    cache: WorkerCache
    namespace: bytes
    route: bytes
    upstream: bytes | None
    request_id: bytes | None
    credentials: tuple[bytes, ...]

    def __init__(
        self,
        inner: Delivery,
        rules: CacheRules,
        cache: WorkerCache,
        *,
        namespace: bytes,
        route: str,
        upstream: str | None = None,
        request_id: str | None = None,
        credentials: Iterable[str] = (),
    ) -> None: ...

class Invalidating(Changes):
    """Of the upstreams of a route that does not cache, where others do: unsafe requests change what they store."""

    def __init__(self, cache: WorkerCache) -> None: ...

class Visit:
    """A request that came to the cache."""

class Follower:
    """A request that waits for the fetch of another one."""

class Fetch:
    """What is asked of who is within, for the store: in an exchange without a client."""

class PatronReader:
    """What the patron of a fetch reads: its own worker fills it, and tells it directly."""
