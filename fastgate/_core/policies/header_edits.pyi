from collections.abc import Iterable

from fastgate._core.exchange.exchange import AnswerEdits, Gate
from fastgate._core.exchange.field_values import Template

class Edits:
    """What is done to the fields of a head: ``removed`` names go, ``added`` pairs are appended, in this order."""

    def __init__(
        self,
        *,
        removed: Iterable[str] = (),
        added: Iterable[tuple[str, bytes | Template]] = (),
        request_id: str = "",
    ) -> None:
        """``request_id`` is the name of the field that the gateway has for the id; ``""``: it has none."""
    @property
    def removed(self) -> tuple[bytes, ...]:
        """In lower case."""
    @property
    def added(self) -> tuple[tuple[bytes, bytes | Template], ...]: ...

class RequestEdits(Gate):
    """The step that edits the head of a request."""

    def __init__(self, edits: Edits) -> None: ...
    @property
    def edits(self) -> Edits: ...

class ResponseEdits(AnswerEdits):
    """What a route does to the heads of answers."""

    def __init__(self, edits: Edits) -> None: ...
    @property
    def edits(self) -> Edits: ...
