from collections.abc import Iterable
from typing import TypeVar, final

from fastgate._core.delivery.balancer import Balancer

T = TypeVar("T")

@final
class ConsistentHash(Balancer[T]):
    """The same target for the same key, as long as it is there: of n equal targets each one that leaves moves 1/n.

    No target gets more than ``bound`` times its share of the requests in flight; 0 = no bound. Without a key it is any
    target. ``names`` tell the targets apart; default: their ``str()``.
    """

    bound: float
    names: tuple[object, ...] | None
    def __init__(
        self,
        targets: Iterable[T],
        weights: Iterable[float] | None = None,
        bound: float = 1.25,
        names: Iterable[object] | None = None,
    ) -> None: ...
