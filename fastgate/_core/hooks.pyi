from collections.abc import Awaitable, Iterable

from fastgate._core.exchange import Answer, Exchange
from fastgate._core.messages import Response

class Refusal(Exception):
    """Ends an exchange with a cause from the table, by its word in the access log.

    ``fields`` are added to the problem that is answered; ``detail`` stands in the place of the cause's own sentence;
    ``retry_after`` (seconds) in that of its own, for causes that have one. ``answer`` stands in the place of it all.
    """

    cause: int
    detail: str
    fields: list[tuple[bytes, bytes]]
    retry_after: int
    answer: Answer | None
    def __init__(
        self,
        cause: str,
        detail: str = "",
        *,
        fields: Iterable[tuple[str, str]] = (),
        retry_after: int = 0,
        answer: Answer | None = None,
    ) -> None: ...

async def wait_for(x: Exchange, awaitable: Awaitable[Response | None]) -> None:
    """The rest of the policies, after one that was not done at once."""
