"""Limits at a route's door, as gates of its chain."""

from fastgate._core.exchange.exchange import Gate

class RateLimits(Gate):
    """The rate limits of a route from ``first`` to before ``end``: those that are asked at one place of the chain."""

    def __init__(self, first: int, end: int) -> None: ...

class ConcurrencyGate(Gate):
    """The concurrency limit of a route."""
