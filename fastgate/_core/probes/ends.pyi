"""A shape of errors for tests. The gateway never loads it."""

from collections.abc import Iterable

from fastgate._core.exchange.exchange import Problems

class Shape(Problems):
    """Answers with a line of text that begins with its name. One whose name begins with "!" raises; one that declines
    has no answer.
    """

    def __init__(self, name: str, fields: Iterable[tuple[str, str]] = (), declines: bool = False) -> None: ...
