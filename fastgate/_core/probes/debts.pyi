"""Debts, stamps and steps for tests. The gateway never loads it."""

from fastgate._core.exchange.exchange import Debt, Gate, Stamp

class Owed(Debt):
    """Writes down that it is settled: name, reason of the cause, whether the exchange is over, fields of its head."""

class Owes(Gate):
    """Owes a debt for each name; one whose name begins with "!" raises when it is settled.

    ``twice`` plants a fault: each debt settles the one before it as well.
    """

    def __init__(self, diary: list[tuple[str, str, bool, int]], *names: str, twice: bool = False) -> None: ...

class Marks(Stamp):
    """Puts one field on every answer."""

    def __init__(self, name: str, value: str) -> None: ...

class Waits(Gate):
    """Waits without a task; ``limit`` is milliseconds."""

    def __init__(self, diary: list[str], limit: int) -> None: ...
    def go_on(self) -> None:
        """The wait is over."""
