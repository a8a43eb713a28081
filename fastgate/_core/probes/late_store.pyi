import asyncio
from collections import deque

from fastgate._core.memory.store import RateCounter, ShareCounter

class Line:
    """The way to a store: ``delay`` seconds long. Answers are ``error`` while it is set, and none while ``silent``.
    Nothing arrives while it is ``held``.
    """

    delay: float
    error: BaseException | None
    silent: bool
    held: bool
    under_way: deque[Message]
    def __init__(self, loop: asyncio.AbstractEventLoop, delay: float = 0.01) -> None: ...
    def arrived(self) -> None:
        """The first that was sent is there."""
    def let_go(self) -> None:
        """What was held arrives."""

class Message:
    """What is on its way."""

class RateMessage(Message):
    """For a rate limit."""

class ShareMessage(Message):
    """For a limit of concurrency."""

class LateRateCounter(RateCounter):
    """A rate limit of another store, at the end of a line."""

    def __init__(self, home: RateCounter, line: Line) -> None: ...

class LateShareCounter(ShareCounter):
    """A limit of concurrency of another store, at the end of a line."""

    def __init__(self, home: ShareCounter, line: Line) -> None: ...
