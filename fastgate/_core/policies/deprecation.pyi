"""What the answers of a route say of its end."""

from collections.abc import Iterable

from fastgate._core.exchange.exchange import Stamp

class DeprecationFields(Stamp):
    """Fields of every answer of a route that is to end.

    ``dated`` are names and values; an answer that has such a field keeps its own. ``link``: the value of a Link that is
    added to those that an answer has; empty: none.
    """

    def __init__(self, dated: Iterable[tuple[str, str]], *, link: str = "") -> None: ...
