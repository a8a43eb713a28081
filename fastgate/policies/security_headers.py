"""Security headers: fields that tell browsers to be careful, compiled into the lines that are sent."""

from typing import TYPE_CHECKING

from fastgate.config import Route
from fastgate.gateway.additions import Additions, RouteContext

if TYPE_CHECKING:
    from fastgate._core.policies.security_headers import SecurityFields


def compile_security_headers(route: Route, context: RouteContext) -> Additions | None:
    """The fields of every answer; None for a route that has none."""
    fields = security_fields(route)
    return Additions(stamps=[fields]) if fields is not None else None


def security_fields(route: Route) -> "SecurityFields | None":
    """The fields of a route; None where it has none."""
    headers = route.security_headers
    if headers is None or not headers.fields():
        return None
    from fastgate._core.policies.security_headers import SecurityFields  # on use: a route without it does not load it

    return SecurityFields(headers.fields(), override=headers.override)
