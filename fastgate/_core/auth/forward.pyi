from collections.abc import Awaitable, Callable, Iterable, Sequence

from fastgate._core.auth.gate import Method, VerifiedCache
from fastgate._core.exchange.exchange import Answer
from fastgate._core.exchange.identity import Identity

class ForwardMethod(Method):
    """A service that is asked with a GET of ``target`` from ``authority``.

    ``await ask(key, head)`` gives who it is, or the answer that says why not, or raises a `Refusal`; ``key`` is that of
    the decision in ``cache``, None where it cannot be kept. ``send`` are the client's fields that the service gets,
    ``by`` the parts of a request by which decisions are kept: ``("header", "authorization")``, ``("path", "")``.
    ``owned`` are fields of the upstream's request that only the service sets; ``replaced`` those that it sets in the
    place of the client's, once it grants. ``end()`` closes what is kept open for asking.
    """

    def __init__(
        self,
        ask: Callable[[bytes | None, bytes], Awaitable[Identity | Answer]],
        end: Callable[[], None],
        *,
        target: str,
        authority: str,
        send: Iterable[str],
        by: Sequence[tuple[str, str]],
        cache: VerifiedCache,
        owned: Iterable[str],
        replaced: Iterable[str],
    ) -> None: ...
    @property
    def cache(self) -> VerifiedCache: ...
