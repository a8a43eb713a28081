"""Header transforms: ``request_headers`` and ``response_headers``, compiled into edits that the core applies.

Other policies may edit fields too: what a route does with a field is compiled when all of them have said what they add.
"""

from fastgate._core.exchange.field_values import Template
from fastgate._core.policies.header_edits import Edits
from fastgate.config import HeaderEdits, Route
from fastgate.gateway.additions import Additions, RouteContext
from fastgate.gateway.templates import compile_value


def compile_header_edits(route: Route, context: RouteContext) -> Additions | None:
    """The edits of both directions; None for a route that has none."""
    if route.request_headers is None and route.response_headers is None:
        return None
    return Additions(request_headers=route.request_headers, response_headers=route.response_headers)


def edits_of(edits: HeaderEdits | None, request_id: str = "") -> Edits | None:
    """None for no edits at all. ``set`` replaces, ``remove`` takes away, ``add`` appends; in this order.

    ``request_id`` is the name of the field in which the gateway sends the id itself.
    """
    if edits is None or not (edits.set or edits.add or edits.remove):
        return None
    added: list[tuple[str, bytes | Template]] = [(name, compile_value(value)) for name, value in edits.set.items()]
    for name, values in edits.add.items():
        added.extend((name, compile_value(value)) for value in ([values] if isinstance(values, str) else values))
    return Edits(removed=[*edits.set, *edits.remove], added=added, request_id=request_id)
