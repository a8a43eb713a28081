"""Who answers the requests of a route: its upstream, several that share them, or the route itself; compiled."""

from collections.abc import Callable, Iterable, Mapping

from fastgate._core.delivery.pool import Pool
from fastgate._core.delivery.retry import RetryRule
from fastgate._core.delivery.tries import Changes, Upstreams
from fastgate._core.exchange.exchange import Delivery
from fastgate._core.exchange.request_key import RequestKey
from fastgate.config import Retry, Route


def compile_delivery(
    route: Route,
    pools: Mapping[str, Pool],
    around: Iterable[Callable[[Delivery], Delivery]] = (),
    within: Iterable[Callable[[Delivery, str | None], Delivery]] = (),
    changes: Changes | None = None,
) -> Delivery:
    """For a route with an upstream. What policies put ``around`` it stands in the order in which a request meets it.

    So does what they put ``within`` it, around each upstream that may be chosen. ``changes`` as of `Upstreams`.
    """
    innermost_first = [*within][::-1]

    def way(upstream: str, chosen: str | None) -> Delivery:
        made: Delivery = compile_upstreams(route, pools[upstream], changes=changes)
        for enclose in innermost_first:
            made = enclose(made, chosen)
        return made

    delivery: Delivery
    if route.split:
        from fastgate._core.delivery.split import Split  # on use: a route without it does not load it

        sticky = route.sticky()
        delivery = Split(
            [way(each.upstream, each.upstream) for each in route.split],
            [each.weight for each in route.split],
            RequestKey(sticky) if sticky else None,
        )
    else:
        delivery = way(route.upstream, None)
    for enclose in reversed([*around]):
        delivery = enclose(delivery)
    return delivery


def compile_upstreams(
    route: Route, pool: Pool, *, single: bool = False, changes: Changes | None = None
) -> Upstreams:
    """The targets of a pool, asked as the route says; ``single``: once."""
    rule = compile_retry(route.retry)
    if rule is not None and route.retry.hedge is not None and not single:
        from fastgate._core.delivery.hedge import Hedged  # on use: as above

        return Hedged(pool, rule, connect_timeout=route.timeouts.connect, changes=changes)
    return Upstreams(pool, rule, connect_timeout=route.timeouts.connect, single=single, changes=changes)


def compile_retry(retry: Retry) -> RetryRule | None:
    """When a request is tried again; None for one try without a deadline of its own."""
    if retry.attempts == 1 and retry.hedge is None and not retry.per_try_timeout:
        return None
    return RetryRule(
        attempts=retry.attempts,
        on=retry.on,
        backoff=retry.backoff,
        max_backoff=retry.max_backoff,
        jitter=retry.jitter == "full",
        budget=retry.budget,
        try_timeout=retry.per_try_timeout,
        non_idempotent=retry.non_idempotent,
        hedge_delay=retry.hedge.delay if retry.hedge is not None else 0.0,
    )
