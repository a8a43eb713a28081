"""Who may use a route by the address of the client, compiled."""

from fastgate.config import Route
from fastgate.gateway.additions import Additions, RouteContext


def compile_ip(route: Route, context: RouteContext) -> Additions | None:
    """The gate that knows which addresses may come in; None where all may."""
    if route.ip is None:
        return None
    from fastgate._core.policies.ip import IpRules  # on use: a route without it does not load it

    return Additions(gates=[IpRules(allow=route.ip.allow, deny=route.ip.deny)])
