"""Concurrency limits, compiled into what the core asks at a route's door."""

from fastgate._core.exchange.request_key import RequestKey
from fastgate.config import Route
from fastgate.config.schema.request_key import chosen_by_clients, count_name, counts_by_identity
from fastgate.gateway.additions import Additions, RouteContext


def compile_concurrency(route: Route, context: RouteContext) -> Additions | None:
    """The gate of a limit that needs no identity; None for a route without one."""
    return _gate(route, context, late=False)


def compile_concurrency_by_identity(route: Route, context: RouteContext) -> Additions | None:
    """The gate of a limit that counts by who asks, which is known after authentication only; None for none such."""
    return _gate(route, context, late=True)


def _gate(route: Route, context: RouteContext, *, late: bool) -> Additions | None:
    limit = route.concurrency
    if limit is None or counts_by_identity(limit.key) is not late:
        return None
    from fastgate._core.limits.gates import ConcurrencyGate, ConcurrencyLimit  # on use: not every gateway has limits

    shares = context.store.shares(
        count_name(route.name, limit.key, "concurrency"),
        limit.max,
        queue=limit.queue,
        minimum=limit.adaptive.min if limit.adaptive is not None else None,
        chosen=chosen_by_clients(limit.key),
    )
    compiled = ConcurrencyLimit(shares, RequestKey(limit.key), queue_timeout=limit.queue_timeout)
    return Additions(gates=[ConcurrencyGate(compiled)])
