"""Who may use a route, by who asks: ``auth`` and ``public``, compiled."""

from fastgate.config import Route
from fastgate.gateway.additions import Additions, RouteContext
from fastgate.gateway.authentication import authentication


def compile_auth(route: Route, context: RouteContext) -> Additions | None:
    """The gate that finds out who asks; None for a route that lets everybody pass with every field."""
    gate = authentication(route, context.config, context.auth)
    return Additions(gates=[gate]) if gate is not None else None
