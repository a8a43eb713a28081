"""Which request bodies a route accepts, compiled: their media types, and the JSON Schema that they must be valid by."""

from fastgate._core.exchange.exchange import Gate
from fastgate.config import Route
from fastgate.gateway.additions import Additions, RouteContext

JSON = ("application/json", "application/*+json")
"""What a body that is checked by a schema may be, where the route does not say it."""


def compile_request_body(route: Route, context: RouteContext) -> Additions | None:
    """The gates of a route, the media type before the schema; None where every body is accepted.

    Raises ValueError for a schema that cannot be used.
    """
    gates: list[Gate] = []
    ranges = route.content_types or (JSON if route.body_schema else ())
    if not ranges and route.body_schema is None:
        return None
    # On use: a route without it does not load it.
    from fastgate._core.policies.request_body import BodyCheck, ContentTypes
    from fastgate.policies.request_body.body_schema import body_check, executor

    if ranges:
        gates.append(ContentTypes(ranges, plain=route.body_schema is not None))
    if route.body_schema is not None:
        gates.append(BodyCheck(body_check(route.body_schema), executor()))
    return Additions(gates=gates, buffer_request=route.body_schema is not None)
