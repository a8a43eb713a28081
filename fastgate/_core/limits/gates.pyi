"""Limits at a route's door, as gates of its chain."""

from collections.abc import Iterable

from fastgate._core.exchange.exchange import Debt, Facts, Gate, Stamp
from fastgate._core.exchange.request_key import RequestKey
from fastgate._core.exchange.worker import Part
from fastgate._core.memory.store import Asker, RateCounter, ShareCounter

class RateLimit:
    """A rate limit of one route.

    ``name``, ``quota``, ``window`` (whole seconds) and ``burst`` are what the fields of answers say of it.
    """

    def __init__(
        self,
        counter: RateCounter,
        key: RequestKey,
        *,
        name: str,
        quota: int,
        window: int,
        burst: int = 0,
        dry_run: bool = False,
        legacy_headers: bool = False,
    ) -> None: ...
    @property
    def counter(self) -> RateCounter: ...
    @property
    def key(self) -> RequestKey: ...

class ConcurrencyLimit:
    """How many requests of a route may be under way at once. ``queue_timeout`` is seconds."""

    def __init__(self, shares: ShareCounter, key: RequestKey, *, queue_timeout: float = 1.0) -> None: ...
    @property
    def shares(self) -> ShareCounter: ...
    @property
    def key(self) -> RequestKey: ...

class Quotas(Facts):
    """What the rate limits of a route have said of one exchange."""

class RateLimitGate(Gate):
    """One rate limit of a route: that of this number among ``limits``, which are all of the route."""

    def __init__(self, limits: Iterable[RateLimit], number: int) -> None: ...

class Question(Asker):
    """A gate's question that its store has not answered."""

    def expire(self) -> None:
        """The store has not answered in time."""

class RateQuestion(Question):
    """Whether a rate limit admits a request."""

class ShareQuestion(Question):
    """Whether a concurrency limit has room for a request."""

class Promotion(Question):
    """Whether it has room by now for the first that waits."""

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
