from collections.abc import Iterable

from fastgate._core.auth.gate import Method
from fastgate._core.exchange.identity import Identity

class KeyEntry:
    """Whose key it is, where it is good for (``routes``: names, None = everywhere), and until when.

    ``expires`` is seconds since 1970; None = never. The attribute is milliseconds.
    """

    def __init__(
        self,
        identity: Identity,
        *,
        routes: Iterable[str] | None = None,
        expires: float | None = None,
        disabled: bool = False,
    ) -> None: ...
    @property
    def identity(self) -> Identity: ...
    @property
    def routes(self) -> frozenset[str] | None: ...
    @property
    def expires(self) -> int: ...
    @property
    def disabled(self) -> bool: ...

class KeyTable:
    """Keys by the SHA-256 of their secrets: ``KeyTable([(digest, entry), …])``. It never changes."""

    def __init__(self, keys: Iterable[tuple[bytes, KeyEntry]] = ()) -> None: ...
    def __len__(self) -> int: ...
    def get(self, digest: bytes) -> KeyEntry | None:
        """The entry of a digest; None where there is none."""

class KeyMethod(Method):
    """Keys of a table. ``header`` and ``query`` say where clients put them; ``query=""`` is not looked at."""

    def __init__(self, table: KeyTable, *, header: str = "x-api-key", query: str = "", hide: bool = True) -> None: ...
    @property
    def table(self) -> KeyTable: ...
    @property
    def header(self) -> bytes: ...
    @property
    def parameter(self) -> bytes | None: ...
    @property
    def hide(self) -> bool: ...
