from fastgate._core.exchange.exchange import BodyFilter, BodyRule, Hook

class HookFilter(BodyFilter):
    """Calls a hook of a plugin for each piece of a body."""

    def __init__(self, hook: Hook, *, of_request: bool) -> None: ...

class HookRule(BodyRule):
    """Puts a hook of a plugin on every response body of a route."""

    def __init__(self, hook: Hook) -> None: ...
