"""The envelope around JSON answers, compiled."""

from fastgate.config import HeaderEdits, Route
from fastgate.gateway.additions import Additions, RouteContext

PLAIN = HeaderEdits(set={"accept-encoding": "identity"})
"""Bodies in no coding are what alone can be wrapped."""


def compile_envelope(route: Route, context: RouteContext) -> Additions | None:
    """What is put around the bodies of a route, whose upstream is asked for plain ones; None for a route without."""
    envelope = route.envelope
    if envelope is None:
        return None
    from fastgate._core.policies.envelope import Envelope  # on use: a route without it does not load it

    rule = Envelope(data=envelope.data, meta=envelope.meta, max_size=envelope.max_size)
    return Additions(response_filters=[rule], request_headers=PLAIN)
