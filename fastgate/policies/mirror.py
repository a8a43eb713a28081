"""Copies of a route's requests for another upstream, compiled."""

from fastgate._core.exchange.exchange import Delivery
from fastgate.config import Route
from fastgate.gateway.additions import Additions, RouteContext
from fastgate.gateway.delivery import compile_upstreams


def compile_mirror(route: Route, context: RouteContext) -> Additions | None:
    """What sends the copies; None for a route without."""
    mirror = route.mirror
    if mirror is None:
        return None
    from fastgate._core.delivery.mirror import Mirrored  # on use: a route without it does not load it

    copies = compile_upstreams(route, context.pools[mirror.upstream], single=True)

    def mirrored(inner: Delivery, upstream: str | None) -> Delivery:
        return Mirrored(inner, copies, sample=mirror.sample, timeout=mirror.timeout)

    return Additions(within=[mirrored])
