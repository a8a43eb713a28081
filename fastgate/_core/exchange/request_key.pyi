"""Keys of requests: what limits count by, and balancers and splits choose by."""

from collections.abc import Iterable

class RequestKey:
    """What tells requests apart: "client_ip", "route", "global", "header:NAME", "cookie:NAME", "param:NAME",
    "key" (who was authenticated), "claim:NAME", or several of them together.
    """

    def __init__(self, words: str | Iterable[str]) -> None: ...
    @property
    def parts(self) -> tuple[tuple[int, str | bytes], ...]: ...
