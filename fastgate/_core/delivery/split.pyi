"""Splits of a route among upstreams."""

from collections.abc import Iterable, Sequence

from fastgate._core.exchange.exchange import Upstream
from fastgate._core.exchange.request_key import RequestKey

class Split:
    """Several upstreams that share a route's requests by weight; with ``sticky`` a key always gets the same one."""

    def __init__(
        self, upstreams: Iterable[Upstream], weights: Sequence[float], sticky: RequestKey | None = None
    ) -> None: ...
    @property
    def upstreams(self) -> tuple[Upstream, ...]: ...
    @property
    def bounds(self) -> tuple[float, ...]: ...
    @property
    def sticky(self) -> RequestKey | None: ...
