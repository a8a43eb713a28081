"""Gates that look at the body of a request."""

from collections.abc import Callable, Iterable
from concurrent.futures import Executor

from fastgate._core.exchange.exchange import Exchange, Gate

class ContentTypes(Gate):
    """Which media types the body of a request may have; ``*`` may stand once in each, for any text.

    ``plain``: and no content coding.
    """

    def __init__(self, ranges: Iterable[str], *, plain: bool = False) -> None: ...

def measure(text: bytes, max_depth: int, max_values: int) -> tuple[int, int]:
    """How deep a JSON text is nested and how many values and names it has; as far as both are within their bounds."""

class BodyCheck(Gate):
    """A look at the whole body of a request: ``check`` raises a `Refusal` of what is not accepted.

    Bodies of more than 16 KB are looked at in ``executor``; None is that of the loop.
    """

    def __init__(self, check: Callable[[bytes], None], executor: Executor | None = None) -> None: ...
    async def wait(self, x: Exchange) -> None:
        """The rest of the gate, when the body is not there yet, or takes long."""
