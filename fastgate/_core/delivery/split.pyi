"""Splits of a route among deliveries."""

from collections.abc import Iterable, Sequence

from fastgate._core.exchange.exchange import Delivery, Facts
from fastgate._core.exchange.request_key import RequestKey

class Split(Delivery):
    """Several deliveries that share a route's requests by weight; with ``sticky`` a key always gets the same one."""

    def __init__(
        self, ways: Iterable[Delivery], weights: Sequence[float], sticky: RequestKey | None = None
    ) -> None: ...
    @property
    def ways(self) -> tuple[Delivery, ...]: ...
    @property
    def bounds(self) -> tuple[float, ...]: ...
    @property
    def sticky(self) -> RequestKey | None: ...

class Choice(Facts):
    """The way that a split has chosen."""
