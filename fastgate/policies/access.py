"""What closes a route to some requests, compiled: addresses, maintenance, media types."""

import json
import math

from fastgate._core.exchange.exchange import Gate
from fastgate._core.policies.ip import IpRules
from fastgate._core.policies.maintenance import Maintenance as MaintenanceGate
from fastgate._core.policies.request_body import ContentTypes
from fastgate.config import Maintenance, Route

JSON = ("application/json", "application/*+json")
"""What a body that is checked by a schema may be, where the route does not say it."""


def compile_maintenance(route: Route) -> list[Gate]:
    """The gate of a route that is closed; none where it is not."""
    closed = route.maintenance
    if closed is None or not closed.enabled:
        return []
    return [
        MaintenanceGate(
            status=closed.status,
            retry_after=math.ceil(closed.retry_after),
            allow=closed.allow,
            content_type=_type_of(closed),
            content=closed.body.encode(),
        )
    ]


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


def compile_ip(route: Route) -> list[Gate]:
    """The gate that knows who may come in; none where everybody may."""
    return [IpRules(allow=route.ip.allow, deny=route.ip.deny)] if route.ip is not None else []


def compile_content_types(route: Route) -> list[Gate]:
    """The gate that knows which bodies are accepted; none where all are."""
    ranges = route.content_types or (JSON if route.body_schema else ())
    return [ContentTypes(ranges, plain=route.body_schema is not None)] if ranges else []
