"""Limits at a route's door, as gates of its chain."""

from collections.abc import Iterable

from fastgate._core.exchange.exchange import Debt, Gate, Stamp
from fastgate._core.exchange.request_key import RequestKey
from fastgate._core.exchange.worker import Part
from fastgate._core.limits.concurrency import Concurrency
from fastgate._core.limits.rate import Limit

class RateLimit:
    """A rate limit of one route. ``identity`` names the count, so that it stays the same when the numbers change.

    ``name``, ``quota``, ``window`` (whole seconds) and ``burst`` are what the fields of answers say of it.
    """

    def __init__(
        self,
        limit: Limit,
        key: RequestKey,
        *,
        identity: str,
        name: str,
        quota: int,
        window: int,
        burst: int = 0,
        dry_run: bool = False,
        legacy_headers: bool = False,
    ) -> None: ...
    @property
    def limit(self) -> Limit: ...
    @property
    def key(self) -> RequestKey: ...

class ConcurrencyLimit:
    """How many requests of a route may be under way at once. ``queue_timeout`` is seconds."""

    def __init__(
        self, shares: Concurrency, key: RequestKey, *, identity: str, queue_timeout: float = 1.0
    ) -> None: ...
    @property
    def shares(self) -> Concurrency: ...
    @property
    def key(self) -> RequestKey: ...

class Quotas(Debt):
    """What the rate limits of a route have said of one exchange."""

class RateLimits(Gate):
    """The rate limits of a route from ``first`` to before ``end``: those that are asked at one place of the chain."""

    def __init__(self, limits: Iterable[RateLimit], first: int, end: int) -> None: ...

class QuotaStamp(Stamp):
    """RateLimit-Policy and RateLimit, and the older fields where they are asked for."""

class Queues(Part):
    """Those of one worker that wait under concurrency limits."""

    def serve(self, key: int) -> int:
        """Lets in who has waited longest for this key, as many as there is room for."""

class ConcurrencyGate(Gate):
    """The concurrency limit of a route."""

    def __init__(self, limit: ConcurrencyLimit) -> None: ...

class Admission(Debt):
    """The place of one exchange under a concurrency limit, or in its queue."""
