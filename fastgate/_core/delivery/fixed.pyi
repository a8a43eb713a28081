from collections.abc import Iterable

from fastgate._core.exchange.exchange import Delivery
from fastgate._core.exchange.field_values import Template

class Fixed(Delivery):
    """The same answer to every request. Field values may be templates.

    ``keeps_query``: the first field is Location and gets the query of the request, unless it has one.
    """

    def __init__(
        self,
        *,
        status: int = 200,
        fields: Iterable[tuple[str, bytes | Template]] = (),
        content: bytes = b"",
        keeps_query: bool = False,
    ) -> None: ...
    @property
    def status(self) -> int: ...
    @property
    def fields(self) -> tuple[tuple[bytes, bytes | Template], ...]: ...
    @property
    def content(self) -> bytes: ...
