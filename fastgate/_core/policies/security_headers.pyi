"""Security headers of a route."""

from collections.abc import Iterable

from fastgate._core.exchange.exchange import Stamp

class SecurityFields(Stamp):
    """The security headers of one route.

    ``override``: they replace those that an answer has; without it those stay.
    """

    def __init__(self, fields: Iterable[tuple[str, str]], *, override: bool = False) -> None: ...
