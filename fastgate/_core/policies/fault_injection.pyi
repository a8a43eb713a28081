"""Faults for tests of clients: a share of the requests of a route waits, or is answered with an error, or both."""

from fastgate._core.exchange.exchange import Debt, Gate

class Pause(Debt):
    """What is owed for a request that was made to wait."""

    def go_on(self) -> None:
        """It has waited long enough."""

class FaultInjection(Gate):
    """Makes a ``share`` of the requests, 0 to 1, wait ``delay`` seconds, then answers them with the status ``abort``.

    0 is no delay, and no error: the request goes on.
    """

    def __init__(self, *, delay: float = 0.0, abort: int = 0, share: float = 1.0) -> None: ...
