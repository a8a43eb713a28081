"""Rate limits, compiled into what the core asks at a route's door."""

import math
from typing import TYPE_CHECKING

from fastgate._core.exchange.request_key import RequestKey
from fastgate.config import RateLimit as RateLimitConfig
from fastgate.config import Route
from fastgate.config.schema.rate_limit import limit_names
from fastgate.config.schema.request_key import chosen_by_clients, count_name, counts_by_identity
from fastgate.gateway.additions import Additions, RouteContext
from fastgate.state.store import Store

if TYPE_CHECKING:
    from fastgate._core.limits.gates import RateLimit


def compile_rate_limit(route: Route, context: RouteContext) -> Additions | None:
    """A gate for each limit that needs no identity; None for a route without such."""
    return _gate(route, context, late=False)


def compile_rate_limit_by_identity(route: Route, context: RouteContext) -> Additions | None:
    """A gate for each limit that counts by who asks, which is known after authentication only; None for none such."""
    return _gate(route, context, late=True)


def compile_rate_limit_fields(route: Route, context: RouteContext) -> Additions | None:
    """What tells clients of the limits in every answer; None for a route without limits."""
    if not route.rate_limit:
        return None
    from fastgate._core.limits.gates import QuotaStamp  # on use: not every gateway has limits

    return Additions(stamps=[QuotaStamp()])


def _gate(route: Route, context: RouteContext, *, late: bool) -> Additions | None:
    places = [counts_by_identity(limit.key) for limit in route.rate_limit]
    if late not in places:
        return None
    from fastgate._core.limits.gates import RateLimitGate

    limits = compiled_limits(route, context.store)
    early = places.count(False)
    numbers = range(early, len(limits)) if late else range(early)
    return Additions(gates=[RateLimitGate(limits, number) for number in numbers])


def compiled_limits(route: Route, store: Store) -> "list[RateLimit]":
    """The rate limits of a route in the order in which they are asked: those that need no identity first."""
    names = limit_names(route.rate_limit)
    made = [
        (counts_by_identity(each.key), _limit(each, route.name, position, names[position], store))
        for position, each in enumerate(route.rate_limit)
    ]
    return [limit for late in (False, True) for each, limit in made if each == late]


def _limit(limit: RateLimitConfig, route: str, position: int, name: str, store: Store) -> "RateLimit":
    from fastgate._core.limits.gates import RateLimit

    whole, per = limit.whole()
    counter = store.rate_limit(
        count_name(route, limit.key, position),
        limit.algorithm,
        whole,
        per,
        burst=limit.at_once,
        chosen=chosen_by_clients(limit.key),
    )
    window = max(1, math.ceil(per))
    return RateLimit(
        counter,
        RequestKey(limit.key),
        name=name,
        quota=max(1, math.floor(whole * window / per)),
        window=window,
        burst=limit.at_once if limit.algorithm == "token_bucket" and limit.at_once != whole else 0,
        dry_run=limit.dry_run,
        legacy_headers=limit.legacy_headers,
    )
