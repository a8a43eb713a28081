from fastgate._core.memory.store import Budget
from fastgate._core.memory.targets import TargetRows

class RetryBudget(Budget):
    """How many retries an upstream may get from all workers together: a share ``budget`` of its first tries.

    It starts with 3, a first try adds ``budget``, a retry takes 1, and it holds what the first tries of 10 seconds
    add, never less than 3. ``now`` is milliseconds of ``Segment.now()``.
    """

    name: str
    row: int
    def __init__(self, memory: TargetRows, upstream: str, budget: float = 0.2, *, now: int | None = None) -> None: ...
    def take(self, now: int, amount: int = 1) -> bool:
        """Takes so many retries, if they are there."""
    def give_back(self, now: int, amount: int = 1) -> None:
        """So many retries were not made. It never holds more than it may."""
    def settle(self, now: int) -> None:
        """Books the first tries so far. For the control plane, once a second; without it the books are less exact."""
    @property
    def first_tries(self) -> int:
        """The first tries of all workers so far, modulo 2**34."""
    @property
    def tokens(self) -> float:
        """The retries that may be taken, as of the last ``take()`` or ``settle()``."""
