from fastgate._core.delivery.retry import RetryRule
from fastgate._core.delivery.tries import Changes, Upstream, Upstreams
from fastgate._core.exchange.exchange import Exchange, NoClient

class HedgeClient(NoClient):
    """Tells the original that its hedge has ended."""

class Hedged(Upstreams):
    """Upstreams of which a second target is asked when the first has not answered after a while: `hedge_delay`."""

    def __init__(
        self, upstream: Upstream, rule: RetryRule, *, connect_timeout: float = 2.0, changes: Changes | None = None
    ) -> None: ...
    def hedge_now(self, x: Exchange, generation: int) -> None:
        """No answer yet: a second target is asked too."""

class SecondTry(Upstreams):
    """What the copy does that asks the second target."""
