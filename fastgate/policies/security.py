"""Security headers: fields that tell browsers to be careful, compiled into the lines that are sent."""

from fastgate._core.policies.security_headers import SecurityFields
from fastgate.config import Route


def compile_security(route: Route) -> SecurityFields | None:
    """The fields of a route; None where it has none."""
    headers = route.security_headers
    if headers is None or not headers.fields():
        return None
    return SecurityFields(headers.fields(), override=headers.override)
