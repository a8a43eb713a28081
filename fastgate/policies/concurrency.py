"""Concurrency limits, compiled into what the core asks at a route's door."""

from fastgate._core.exchange.request_key import RequestKey
from fastgate._core.limits.concurrency import Concurrency
from fastgate._core.limits.gates import ConcurrencyGate, ConcurrencyLimit
from fastgate._core.memory.segment import Segment
from fastgate.config import Concurrency as ConcurrencyConfig
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
    identity = count_name(route.name, limit.key, "concurrency")
    compiled = ConcurrencyLimit(
        _shares(limit, identity, context.engine.segment, context.engine.slot),
        RequestKey(limit.key),
        identity=identity,
        queue_timeout=limit.queue_timeout,
    )
    return Additions(gates=[ConcurrencyGate(compiled)])


def _shares(limit: ConcurrencyConfig, identity: str, segment: Segment, slot: int) -> Concurrency:
    minimum = limit.adaptive.min if limit.adaptive is not None else None
    return Concurrency(
        limit.max, queue=limit.queue, minimum=minimum, segment=segment, slot=slot, name=identity,
        chosen=chosen_by_clients(limit.key),
    )
