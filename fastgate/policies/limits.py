"""Rate and concurrency limits, compiled into what the core asks at a route's door."""

import math

from fastgate._core.exchange.request_key import RequestKey
from fastgate._core.limits.concurrency import Concurrency
from fastgate._core.limits.gates import ConcurrencyLimit, RateLimit
from fastgate._core.limits.rate import FixedWindow, Limit, SlidingWindowLog, TokenBucket
from fastgate._core.memory.segment import Segment
from fastgate.config import Concurrency as ConcurrencyConfig
from fastgate.config import RateLimit as RateLimitConfig
from fastgate.config import Route
from fastgate.config.limits import limit_names
from fastgate.config.words import chosen_by_clients, names_identity


def compile_limits(route: Route, segment: Segment) -> list[RateLimit]:
    """The rate limits of a route in the order in which they are asked: those that need no identity first."""
    names = limit_names(route.rate_limit)
    made = [
        (by_identity(each.key), _limit(each, _whose(route, each.key, position), names[position], segment))
        for position, each in enumerate(route.rate_limit)
    ]
    return [limit for late in (False, True) for each, limit in made if each == late]


def by_identity(key: list[str]) -> bool:
    """Whether a limit can only be asked once it is known who asks."""
    return any(names_identity(word) for word in key)


def compile_concurrency(route: Route, segment: Segment, slot: int) -> ConcurrencyLimit | None:
    """The concurrency limit of a route; None where it has none."""
    limit = route.concurrency
    if limit is None:
        return None
    identity = _whose(route, limit.key, "concurrency")
    return ConcurrencyLimit(
        _shares(limit, identity, segment, slot),
        RequestKey(limit.key),
        identity=identity,
        queue_timeout=limit.queue_timeout,
    )


def _whose(route: Route, key: list[str], position: int | str) -> str:
    """What a count belongs to beside its key: a limit of the route; for a global one all that stand at its position."""
    return f"{position}" if "global" in key else f"{route.name}\0{position}"


def _limit(limit: RateLimitConfig, identity: str, name: str, segment: Segment) -> RateLimit:
    whole, per = limit.whole()
    chosen = _chosen(limit.key)
    counter: Limit
    match limit.algorithm:
        case "fixed_window":
            counter = FixedWindow(whole, per, segment=segment, name=identity, chosen=chosen)
        case "sliding_window_log":
            counter = SlidingWindowLog(whole, per, segment=segment, name=identity, chosen=chosen)
        case _:
            counter = TokenBucket(whole, per, limit.at_once, segment=segment, name=identity, chosen=chosen)
    window = max(1, math.ceil(per))
    return RateLimit(
        counter,
        RequestKey(limit.key),
        identity=identity,
        name=name,
        quota=max(1, math.floor(whole * window / per)),
        window=window,
        burst=limit.at_once if limit.algorithm == "token_bucket" and limit.at_once != whole else 0,
        dry_run=limit.dry_run,
        legacy_headers=limit.legacy_headers,
    )


def _shares(limit: ConcurrencyConfig, identity: str, segment: Segment, slot: int) -> Concurrency:
    minimum = limit.adaptive.min if limit.adaptive is not None else None
    return Concurrency(
        limit.max, queue=limit.queue, minimum=minimum, segment=segment, slot=slot, name=identity,
        chosen=_chosen(limit.key),
    )


def _chosen(key: list[str]) -> bool:
    """Whether clients can invent as many keys as they like: these have room apart."""
    return any(chosen_by_clients(word) for word in key)
