"""A route that is closed for a while, compiled."""

import json
import math

from fastgate.config import Maintenance, Route
from fastgate.gateway.additions import Additions, RouteContext


def compile_maintenance(route: Route, context: RouteContext) -> Additions | None:
    """The gate of a route that is closed; None where it is open."""
    closed = route.maintenance
    if closed is None or not closed.enabled:
        return None
    # On use: a route without it does not load it.
    from fastgate._core.policies.maintenance import Maintenance as MaintenanceGate

    gate = MaintenanceGate(
        status=closed.status,
        retry_after=math.ceil(closed.retry_after),
        allow=closed.allow,
        content_type=_type_of(closed),
        content=closed.body.encode(),
    )
    return Additions(gates=[gate])


def _type_of(closed: Maintenance) -> str:
    text = closed.body.lstrip()
    if closed.content_type:
        return closed.content_type
    if text.startswith("<"):
        return "text/html; charset=utf-8"
    if text.startswith(("{", "[")):
        try:
            json.loads(text)
        except (ValueError, RecursionError):
            pass
        else:
            return "application/json"
    return "text/plain; charset=utf-8"
