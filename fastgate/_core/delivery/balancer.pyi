from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Generic, Literal, TypeVar, final

T = TypeVar("T")

class Balancer(Generic[T]):
    """Chooses among targets. The classes differ in ``choose()``; this base class returns the first in rotation.

    ``weights``: one a target, default 1 each. A weight is a number from 0, which takes a target out of rotation, to
    10**9; anything below 10**-6 counts as that. Others raise ValueError. Consistent hashing: `ring`.
    """

    targets: tuple[T, ...]
    size: int
    def __init__(self, targets: Iterable[T], weights: Iterable[float] | None = None) -> None: ...
    def choose(self, key: object = None) -> T:
        """The target for the next request. Raises LookupError if there is none.

        ``key`` is what hashing kinds choose by: bytes, or anything whose ``str()`` is the same in every process.
        """
    def index(self, hash: int = 0, random: int | None = None, skip: Sequence[int] = ()) -> int:
        """The number of the target for a request as the gateway asks for it, -1 when there is none.

        ``hash`` is a key of 64 bits (0 = none), ``random`` 64 random bits, ``skip`` the numbers of targets that are
        avoided unless all in rotation are.
        """
    def weigh(self, weights: Iterable[float]) -> None:
        """New weights, one a target; 0 takes a target out of rotation. Raises ValueError for an invalid weight."""
    def begin(self, target: T) -> None:
        """Counts one request in flight more with a target. Raises LookupError for an unknown target."""
    def done(self, target: T) -> None:
        """Counts one request in flight less. Raises ValueError if there is none."""
    def in_flight(self, target: T) -> int:
        """The requests in flight with a target."""
    def taken(self, key: object = None) -> AbstractContextManager[T]:
        """``with balancer.taken(key) as target:`` chooses a target and counts the block as a request in flight."""
    def __len__(self) -> int: ...

class RoundRobin(Balancer[T]):
    """Every target in turn, beginning with the one at ``offset`` (taken modulo their number).

    Of weights only 0 matters.
    """

    def __init__(self, targets: Iterable[T], weights: Iterable[float] | None = None, offset: int = 0) -> None: ...

class SmoothWeightedRoundRobin(Balancer[T]):
    """By weight, spread evenly: 5, 1 and 1 give a a b a c a a.

    It begins as if ``offset`` (taken modulo the number of targets) picks had been made.
    """

    def __init__(self, targets: Iterable[T], weights: Iterable[float] | None = None, offset: int = 0) -> None: ...

class LeastConnections(Balancer[T]):
    """The target with the least (requests in flight + 1) / weight; of equals the next in turn after the last pick.

    The first turn begins at ``offset`` (taken modulo the number of targets).
    """

    def __init__(self, targets: Iterable[T], weights: Iterable[float] | None = None, offset: int = 0) -> None: ...

class Random(Balancer[T]):
    """Any target, as often as its weight says."""

class PowerOfTwoChoices(Random[T]):
    """Of two targets drawn by weight the one with less requests in flight / weight."""

class IPHash(Random[T]):
    """The same target for the same key, as long as the targets stay; keys are shared out by weight.

    Without a key it is any target.
    """

@final
class Taken(Generic[T]):
    """A target for the length of a block; see `Balancer.taken`."""

    def __init__(self, balancer: Balancer[T], key: object = None) -> None: ...
    def __enter__(self) -> T: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> Literal[False]: ...
