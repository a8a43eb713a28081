from collections.abc import Iterable

from fastgate._core.exchange.exchange import Around, Delivery

class Fallback(Around):
    """A delivery, and another that answers ``instead`` when the first fails in one of the ways of ``on``.

    ``on`` has the words of a `Judgement`; "connect" is also that no target may be asked.
    """

    def __init__(self, inner: Delivery, instead: Delivery, *, on: Iterable[str]) -> None: ...
    @property
    def instead(self) -> Delivery: ...
