"""Observers and shapes of errors for tests. The gateway never loads it."""

from collections.abc import Iterable

from fastgate._core.exchange.exchange import Observer, Problems

class Notes(Observer):
    """Writes down what it is told: name, reason of the cause, whether the exchange is over and owes nothing, how many
    fields its head has, its route. One whose name begins with "!" raises then.
    """

    def __init__(self, diary: list[tuple[str, str, bool, bool, int, str | None]], name: str) -> None: ...

class Shape(Problems):
    """Answers with a line of text that begins with its name. One whose name begins with "!" raises; one that declines
    has no answer.
    """

    def __init__(self, name: str, fields: Iterable[tuple[str, str]] = (), declines: bool = False) -> None: ...
