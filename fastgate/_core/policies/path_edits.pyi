from collections.abc import Callable

from fastgate._core.exchange.exchange import Gate

class PathEdit(Gate):
    """The step that makes the path to forward of the normalised one. None from ``rewrite`` refuses the request."""

    def __init__(self, rewrite: Callable[[bytes], bytes | None]) -> None: ...
