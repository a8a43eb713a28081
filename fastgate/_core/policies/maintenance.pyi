"""The gate of a route that is closed for a while, but for some addresses."""

from collections.abc import Iterable

from fastgate._core.exchange.exchange import Gate

class Maintenance(Gate):
    """A route that is closed for a while, but for some addresses. ``retry_after`` is seconds.

    Without ``content`` a problem is answered.
    """

    def __init__(
        self,
        *,
        status: int = 503,
        retry_after: int = 300,
        allow: Iterable[str] = (),
        content_type: str = "",
        content: bytes = b"",
    ) -> None: ...
