from collections.abc import Awaitable, Callable, Iterable
from typing import TypeAlias

from fastgate._core.auth.gate import Method, VerifiedCache
from fastgate._core.exchange.exchange import Exchange
from fastgate._core.exchange.identity import Identity

_Judgement: TypeAlias = tuple[Identity, float] | str | None

class TokenMethod(Method):
    """Bearer tokens (RFC 6750) from ``sources``: "header:NAME", "cookie:NAME", "query:NAME".

    ``judge`` decides about a token that ``cache`` does not know and that has at most ``max_size`` bytes: it says who
    that is and until when (seconds since the epoch), or why it is refused (a sentence in ASCII), or None, that nobody
    can say now. ``owned`` are the names of the fields that its identities send upstream.
    """

    def __init__(
        self,
        name: str,
        judge: Callable[[bytes], _Judgement | Awaitable[_Judgement]],
        cache: VerifiedCache,
        *,
        sources: Iterable[str],
        max_size: int,
        owned: Iterable[str] = (),
        realm: str = "fastgate",
    ) -> None: ...
    @property
    def cache(self) -> VerifiedCache: ...
    async def wait(self, x: Exchange, token: bytes, awaitable: Awaitable[_Judgement]) -> Identity | int | None:
        """The rest of it, when a key had to be fetched first."""
