from collections.abc import Callable, Coroutine, Generator, Iterable
from typing import Any

from fastgate._core.exchange.exchange import Answer, Debt, Exchange, Gate
from fastgate._core.exchange.identity import Identity
from fastgate._core.exchange.refusal import Refusal

class Inquiry(Debt):
    """How far the authentication of one exchange has come."""

class Later:
    """An awaitable of what an asynchronous function gives, which is called when it is awaited."""

    def __init__(self, function: Callable[..., Coroutine[Any, Any, object]], *arguments: object) -> None: ...
    def __await__(self) -> Generator[Any, Any, object]: ...

class Method:
    """One way to find out who asks. Only compiled subclasses can be asked."""

    @property
    def name(self) -> str: ...
    @property
    def challenge(self) -> bytes | None:
        """Of WWW-Authenticate."""
    @property
    def invalid(self) -> bytes | None:
        """The same for credentials that are not valid; None: ``challenge``."""
    @property
    def owned(self) -> tuple[bytes, ...] | None: ...
    @property
    def replaced(self) -> tuple[bytes, ...] | None: ...
    def close(self) -> None:
        """The gateway stops: what the method keeps open is closed."""

class Authentication(Gate):
    """The methods of a route: any of them is enough, or (``all``) each is needed.

    ``owned`` are names of further fields that only the gateway may send upstream; ``late`` the same of those that a
    method may have to read first. Without methods it lets everybody pass, and takes these fields away.
    """

    def __init__(
        self, methods: Iterable[Method], *, all: bool = False, owned: Iterable[str] = (), late: Iterable[str] = ()
    ) -> None: ...
    @property
    def methods(self) -> tuple[Method, ...]: ...
    @property
    def all(self) -> bool: ...
    def refusal(self, x: Exchange, verdict: int, answer: Answer | None) -> Refusal:
        """What the client is told; ``answer`` is what a method would have it told."""
    def challenges(self, x: Exchange) -> list[tuple[str, str]]:
        """WWW-Authenticate, once for each method that has one."""
    async def wait(self, x: Exchange) -> None:
        """The rest of it, when a method was not done at once."""

class VerifiedCache:
    """Identities by credential, at most ``capacity``, each until a time on the clock of its user."""

    def __init__(self, capacity: int) -> None: ...
    @property
    def capacity(self) -> int: ...
    def __len__(self) -> int: ...
    def get(self, key: bytes, now: float) -> Identity | None: ...
    def put(self, key: bytes, identity: Identity, until: float) -> None: ...
    def clear(self) -> None:
        """Forgets all: keys have changed."""
