from fastgate._core.delivery.retry import RetryRule
from fastgate._core.exchange.exchange import Delivery, Exchange, Facts

class Upstream:
    """Where requests go: targets and the connections to them."""

    @property
    def name(self) -> str: ...

class Try(Facts):
    """What an exchange knows of the try that is under way, and of those before it."""

    def go_on(self, x: Exchange, generation: int) -> None:
        """The pause between two tries is over, or the time has come for a hedge."""

class Changes:
    """What an answer to another request than GET changes elsewhere, before its client has it."""

class Upstreams(Delivery):
    """The targets of an upstream answer, each asked as a `RetryRule` says. ``connect_timeout`` is seconds; 0 = none."""

    def __init__(
        self,
        upstream: Upstream,
        rule: RetryRule | None = None,
        *,
        connect_timeout: float = 2.0,
        single: bool = False,
        changes: Changes | None = None,
    ) -> None:
        """``single``: one try only, whatever the rule says of more. ``changes`` hears of the answers that are given."""
    @property
    def upstream(self) -> Upstream: ...
    @property
    def rule(self) -> RetryRule | None: ...
    @property
    def changes(self) -> Changes | None: ...
    @property
    def connect_timeout(self) -> int:
        """Milliseconds."""
