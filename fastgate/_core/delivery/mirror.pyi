from fastgate._core.delivery.tries import Upstreams
from fastgate._core.exchange.exchange import Around, Debt, Delivery

class Mirrored(Around):
    """A delivery, and an upstream that gets a copy of its requests, or of a ``sample`` of them, a share from 0 to 1.

    ``timeout``: how many seconds a copy may take.
    """

    def __init__(
        self, inner: Delivery, copies: Upstreams, *, sample: float = 1.0, timeout: float = 60.0
    ) -> None: ...
    @property
    def copies(self) -> Upstreams: ...
    @property
    def sample(self) -> float: ...

class Fed(Debt):
    """A copy that gets the body as it comes."""
