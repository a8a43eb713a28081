from collections.abc import Iterable
from typing import Generic, TypeVar

T = TypeVar("T")

class Balancer(Generic[T]):
    """Chooses among targets. The kinds differ in ``choose()``; this base class always answers with the first target."""

    targets: tuple[T, ...]
    def __init__(self, targets: Iterable[T]) -> None: ...
    def choose(self) -> T:
        """The target for the next request. Raises LookupError when there is none."""
    def __len__(self) -> int: ...

class RoundRobin(Balancer[T]):
    """Every target in turn, beginning with the one at ``offset`` (taken modulo their number)."""

    def __init__(self, targets: Iterable[T], offset: int = 0) -> None: ...
