import asyncio
from typing import Protocol

from fastgate._core.exchange.worker import Engine

class Arrival(Protocol):
    """A connection that has not shown yet what it wants."""

    def abort(self) -> None:
        """Ends it now, for the sake of others."""

class Places:
    """Counts connections before more is known of them than that they are there."""

    def __init__(self, engine: Engine) -> None: ...
    def arrived(self, connection: Arrival) -> bool:
        """Counts a connection whose first bytes are awaited; False: it has to be closed now. `left` must follow."""
    def handed_on(self, connection: Arrival, protocol: asyncio.Protocol) -> None:
        """``protocol`` is the next of a connection that had arrived: its time began when that was accepted."""
    def left(self, connection: Arrival) -> None:
        """A connection that had arrived is closed, or counted as another from now on."""
