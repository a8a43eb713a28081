from collections.abc import Callable

from fastgate._core.exchange import BodyFilter, BodyRule
from fastgate._core.messages import Request, Response

class Chain:
    """The filters of one response body. Made by the exchange only."""

    def go_on(self) -> None:
        """The next slice of a large piece."""

class HookFilter(BodyFilter):
    """Calls a hook of a plugin for each piece of a body."""

    def __init__(
        self,
        hook: Callable[[Request, bytes, bool], bytes | None] | Callable[[Request, Response, bytes, bool], bytes | None],
        *,
        of_request: bool,
    ) -> None: ...

class HookRule(BodyRule):
    """Puts a hook of a plugin on every response body of a route."""

    def __init__(self, hook: Callable[[Request, Response, bytes, bool], bytes | None]) -> None: ...
