from collections.abc import Callable, Iterable
from typing import Any

from fastgate._core.exchange.exchange import Around, BodyFilter, BodyRule, Delivery, Exchange, Facts, Source

class Known(Facts):
    """What a delivery of this module knows of an exchange."""

class Stream(Source):
    """Pieces from an iterator, as fast as they are taken."""

    def go_on(self) -> None:
        """The next piece."""

class Streams(Delivery):
    """Answers with a head, given as its bytes, and the pieces of an iterable that ``make`` gives."""

    def __init__(self, head: bytes, make: Callable[[], Iterable[bytes]]) -> None: ...
    @property
    def made(self) -> int:
        """Pieces so far, the end among them."""

class Lying(Source):
    """A body in memory that is gone when it is let go."""

class Lies(Delivery):
    """Answers with a head, given as its bytes, and a body that lies in memory."""

    def __init__(self, head: bytes, body: bytes) -> None: ...
    @property
    def begun(self) -> int:
        """How many answers."""
    @property
    def let_go(self) -> int:
        """Of how many the memory has been given back."""

class Delayed(Around):
    """Waits so many seconds before it lets ``inner`` begin."""

    def __init__(self, inner: Delivery, seconds: float) -> None: ...
    @property
    def diary(self) -> list[str]: ...
    def go_on(self, x: Exchange, generation: int) -> None:
        """The time is over."""

class Keeps(Around):
    """Keeps the first answer and gives it to every request after it."""

    def __init__(self, inner: Delivery) -> None: ...
    @property
    def replayed(self) -> int:
        """How often it was given again."""

class Spool:
    """The body of one answer, which one exchange writes and another reads."""

class Reading(Source):
    """The reader's side of a `Spool`."""

class Spools(Around):
    """Lets the try go on without a client that lags behind, which gets what the try has brought."""

    def __init__(self, inner: Delivery) -> None: ...
    @property
    def detached(self) -> int: ...
    @property
    def finished(self) -> int:
        """How many of these have come to their end."""

class Detaches(Around):
    """Answers 202 after so many seconds, 0: at once, and lets ``inner`` go on without the client."""

    def __init__(self, inner: Delivery, after: float = 0) -> None: ...
    def answer(self, x: Exchange, generation: int) -> None:
        """The time is over."""

class Plan(Delivery):
    """Deliveries, each with its path, its fields and its body; the next is asked when one fails or answers 5xx."""

    def __init__(self, parts: Iterable[tuple[Delivery, bytes, Iterable[tuple[bytes, bytes]], bytes]]) -> None: ...

class Watched(Around):
    """Writes down what it hears; ``raises``: "begin"."""

    def __init__(self, inner: Delivery, diary: list[Any], *, raises: str = "") -> None: ...
    @property
    def diary(self) -> list[Any]: ...

class WatchedFilter(BodyFilter):
    """What `WatchedRule` opens."""

class WatchedRule(BodyRule):
    """Opens a filter that writes down when it is closed, and raises then where it is told to."""

    def __init__(self, diary: list[Any], *, raises: bool = False) -> None: ...
    @property
    def diary(self) -> list[Any]: ...
