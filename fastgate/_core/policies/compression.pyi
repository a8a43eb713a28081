from collections.abc import Callable, Iterable

from fastgate._core.exchange.exchange import BodyFilter, BodyRule

def choose_coding(accepted: bytes | None, names: tuple[bytes, ...]) -> int:
    """Index of the coding that a client gets of those in ``names``; -1: the body as it is. -2: that too is refused.

    ``accepted`` is its Accept-Encoding, None where there is none. The highest weight wins, the order of ``names`` among
    equals, and a coding before none, unless the client prefers none in so many words.
    """

class Coding:
    """A content coding: ``whole`` puts a body into it; ``stream`` begins one: what feeds, flushes and ends it.

    ``label`` tells it from the same coding with other settings, whose bodies are other ones; without it, the name does.
    """

    def __init__(
        self,
        name: str,
        *,
        whole: Callable[[bytes], bytes],
        stream: Callable[[], tuple[Callable[[bytes], bytes], Callable[[], bytes], Callable[[], bytes]]],
        label: str = "",
    ) -> None: ...
    @property
    def name(self) -> bytes: ...
    @property
    def label(self) -> bytes: ...

class Compression(BodyRule):
    """Compresses the response bodies of a route. ``types`` may hold one ``*`` each; ``min_size`` is bytes."""

    def __init__(self, codings: Iterable[Coding], *, types: Iterable[str], min_size: int) -> None: ...
    @property
    def codings(self) -> tuple[Coding, ...]:
        """In the server's order."""

class Compressor(BodyFilter):
    """One body on its way into a coding."""

class Made(BodyFilter):
    """A body that was put into a coding before, in the place of the one that comes."""
