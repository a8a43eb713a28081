"""Rate limits, compiled into what the core asks at a route's door."""

import math

from fastgate._core.exchange.request_key import RequestKey
from fastgate._core.limits.gates import QuotaStamp, RateLimit, RateLimits
from fastgate._core.limits.rate import FixedWindow, Limit, SlidingWindowLog, TokenBucket
from fastgate._core.memory.segment import Segment
from fastgate.config import RateLimit as RateLimitConfig
from fastgate.config import Route
from fastgate.config.schema.rate_limit import limit_names
from fastgate.config.schema.request_key import chosen_by_clients, count_name, counts_by_identity
from fastgate.gateway.additions import Additions, RouteContext


def compile_rate_limit(route: Route, context: RouteContext) -> Additions | None:
    """The gate of the limits that need no identity; None for a route without such."""
    return _gate(route, context, late=False)


def compile_rate_limit_by_identity(route: Route, context: RouteContext) -> Additions | None:
    """The gate of the limits that count by who asks, which is known after authentication only; None for none such."""
    return _gate(route, context, late=True)


def compile_rate_limit_fields(route: Route, context: RouteContext) -> Additions | None:
    """What tells clients of the limits in every answer; None for a route without limits."""
    return Additions(stamps=[QuotaStamp()]) if route.rate_limit else None


def _gate(route: Route, context: RouteContext, *, late: bool) -> Additions | None:
    places = [counts_by_identity(limit.key) for limit in route.rate_limit]
    if late not in places:
        return None
    limits = compiled_limits(route, context.engine.segment)
    early = places.count(False)
    return Additions(gates=[RateLimits(limits, early, len(limits)) if late else RateLimits(limits, 0, early)])


def compiled_limits(route: Route, segment: Segment) -> list[RateLimit]:
    """The rate limits of a route in the order in which they are asked: those that need no identity first."""
    names = limit_names(route.rate_limit)
    made = [
        (counts_by_identity(each.key), _limit(each, route.name, position, names[position], segment))
        for position, each in enumerate(route.rate_limit)
    ]
    return [limit for late in (False, True) for each, limit in made if each == late]


def _limit(limit: RateLimitConfig, route: str, position: int, name: str, segment: Segment) -> RateLimit:
    identity = count_name(route, limit.key, position)
    whole, per = limit.whole()
    apart = chosen_by_clients(limit.key)
    counter: Limit
    match limit.algorithm:
        case "fixed_window":
            counter = FixedWindow(whole, per, segment=segment, name=identity, chosen=apart)
        case "sliding_window_log":
            counter = SlidingWindowLog(whole, per, segment=segment, name=identity, chosen=apart)
        case _:
            counter = TokenBucket(whole, per, limit.at_once, segment=segment, name=identity, chosen=apart)
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
