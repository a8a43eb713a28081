"""Faults for tests of clients, compiled into a step of the route."""

from fastgate.config import Route
from fastgate.gateway.additions import Additions, RouteContext


def compile_fault_injection(route: Route, context: RouteContext) -> Additions | None:
    """The step that injects them; None for a route without."""
    fault = route.fault_injection
    if fault is None:
        return None
    from fastgate._core.policies.fault_injection import FaultInjection  # on use: a route without it does not load it

    return Additions(gates=[FaultInjection(delay=fault.delay, abort=fault.abort or 0, share=fault.percent / 100)])
