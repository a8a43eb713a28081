"""What a policy raises to end an exchange. By itself, because modules need it that import each other."""

from collections.abc import Iterable
from typing import Any

from fastgate._core.exchange.causes import cause_of


class Refusal(Exception):
    """Ends an exchange with a cause from the table, by its word in the access log.

    ``fields`` are added to the problem that is answered; ``detail`` stands in the place of the cause's own sentence;
    ``retry_after`` (seconds) in that of its own, for causes that have one. ``answer`` stands in the place of it all.
    """

    def __init__(
        self,
        cause: str,
        detail: str = "",
        *,
        fields: Iterable[tuple[str, str]] = (),
        retry_after: int = 0,
        answer: Any = None,
    ) -> None:
        super().__init__(cause)
        self.cause = cause_of(cause)
        self.detail = detail
        self.fields = [(name.encode("ascii"), value.encode("latin-1")) for name, value in fields]
        self.retry_after = retry_after
        self.answer = answer
