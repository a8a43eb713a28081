"""What counts for a gateway: policies ask a store, and do not know where it keeps its numbers.

A store is asked while a configuration is compiled, and gives objects that are asked for each request
(`fastgate._core.memory.store`, where their contract stands). What is counted belongs to a name: whoever asks for the
same one gets the same count, in every worker that uses the store, and after a reload with other numbers too.
"""

from abc import ABC, abstractmethod
from typing import Literal

from fastgate._core.memory.store import Budget, RateCounter, ShareCounter

Algorithm = Literal["token_bucket", "fixed_window", "sliding_window_log"]


class Store(ABC):
    """Where limits are counted."""

    @abstractmethod
    def rate_limit(
        self,
        name: str,
        algorithm: Algorithm,
        rate: int,
        per: float,
        *,
        burst: int | None = None,
        overdraft: int = 0,
        chosen: bool = False,
    ) -> RateCounter:
        """How much each key may have: ``rate`` in ``per`` seconds, and up to ``burst`` at once.

        ``overdraft`` is how much more a bucket may owe than it holds, for amounts that turn out to be more than was
        taken. ``chosen`` says that clients choose the keys. Raises ValueError for numbers that make no sense.
        """

    @abstractmethod
    def shares(
        self, name: str, most: int, *, queue: int = 0, minimum: int | None = None, chosen: bool = False
    ) -> ShareCounter:
        """How much of each key may be under way at once, and how many more requests may wait.

        With ``minimum`` the limit is adaptive, between that and ``most``. Raises ValueError for numbers that make no
        sense.
        """

    @abstractmethod
    def budget(self, name: str, share: float) -> Budget:
        """The retries that an upstream may get: a share of its first tries."""
