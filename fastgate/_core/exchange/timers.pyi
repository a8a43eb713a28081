from collections.abc import Callable

TICK_MS: int
"""Milliseconds between two turns of the wheel."""

class Timed:
    """Something with one deadline. What passing it means is said by the compiled subclasses."""

class Wheel:
    """The deadlines of one worker. `turn` is called by the loop about every `TICK_MS` milliseconds.

    ``failed(error)`` is told what an entry raised; the others go on.
    """

    def __init__(self, failed: Callable[[BaseException], object]) -> None: ...
    @property
    def now(self) -> int:
        """CLOCK_MONOTONIC in milliseconds, as of the last turn."""
    def turn(self) -> int:
        """Fires what is due, in no particular order within a tick. Returns 0."""

def milliseconds(seconds: float) -> int:
    """Whole milliseconds; anything above zero is at least one."""
