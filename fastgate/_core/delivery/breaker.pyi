from fastgate._core.memory.events import EventRing
from fastgate._core.memory.targets import TargetRows

class Breaker:
    """The breaker of an upstream, or of one of its targets, which all processes share that have the rows.

    It opens after ``failures`` failures in a row, or when of at least ``min_requests`` outcomes within ``window`` the
    share ``ratio`` was bad; 0 switches either rule off. After ``open`` seconds it is half-open: ``half_open`` requests
    at a time may try, and as many successes close it, over ``recovery`` seconds in which the share of requests that is
    admitted grows from none to all. One failure of them opens it again. Times are seconds at making, milliseconds of
    ``Segment.now()`` afterwards.
    """

    name: str
    row: int
    def __init__(
        self,
        memory: TargetRows,
        upstream: str,
        target: str | None = None,
        *,
        events: EventRing | None = None,
        failures: int = 5,
        ratio: float = 0.5,
        min_requests: int = 20,
        window: float = 10.0,
        open: float = 30.0,
        half_open: int = 1,
        recovery: float = 0.0,
    ) -> None: ...
    def admit(self, now: int, random: int) -> int:
        """Whether a request may go: 0 = no. ``random`` is 64 random bits. The answer is to be kept for ``record()``."""
    def record(self, admitted: int, ok: bool, now: int) -> None:
        """The outcome of a request that was admitted, with what ``admit()`` said. Once for each request."""
    def cancel(self, admitted: int) -> None:
        """An admitted request ended without an outcome: its client left. Instead of ``record()``."""
    def settle(self, now: int) -> None:
        """What time brings about: open to half-open, recovering to closed. To be called ten times a second."""
    def retry_after_ms(self, now: int) -> int:
        """When to ask again, after ``admit()`` refused; 0 when it would not refuse."""
    @property
    def state(self) -> str:
        """ "closed", "open", "half-open" or "recovering"."""
    @property
    def openings(self) -> int:
        """How often it has opened so far."""
