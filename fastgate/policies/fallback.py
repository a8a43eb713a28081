"""An answer in the place of an upstream that fails, compiled into a delivery around that of the route."""

from fastgate._core.exchange.exchange import Delivery
from fastgate.config import Route
from fastgate.gateway.additions import Additions, RouteContext
from fastgate.gateway.answers import fixed_answer


def compile_fallback(route: Route, context: RouteContext) -> Additions | None:
    """What puts it around the delivery; None for a route without."""
    fallback = route.fallback
    if fallback is None:
        return None
    from fastgate._core.delivery.fallback import Fallback  # on use: a route without it does not load it

    instead = fixed_answer(fallback)

    def replaced(inner: Delivery) -> Delivery:
        return Fallback(inner, instead, on=fallback.on)

    return Additions(around=[replaced])
