"""Copies of a route's requests for another upstream, compiled."""

from fastgate._core.delivery.copies import Mirror
from fastgate.config import Route
from fastgate.gateway.additions import Additions, RouteContext


def compile_mirror(route: Route, context: RouteContext) -> Additions | None:
    """Where the copies go; None for a route without."""
    mirror = route.mirror
    if mirror is None:
        return None
    return Additions(mirror=Mirror(context.pools[mirror.upstream], sample=mirror.sample, timeout=mirror.timeout))
