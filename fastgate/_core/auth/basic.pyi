from collections.abc import Awaitable, Callable, Mapping

from fastgate._core.auth.gate import Method, VerifiedCache
from fastgate._core.exchange.identity import Identity

class BasicMethod(Method):
    """Names and passwords (RFC 7617).

    ``users`` are the stored hash and the identity of each name; ``nobody`` is a stored hash that no password has.
    ``await check(password, stored, key)`` says whether it is the password, and is told the key of the credential; it
    may raise a `Refusal`. Who was verified is known for ``ttl`` seconds (0: not at all), by keys that ``secret`` makes.
    """

    def __init__(
        self,
        users: Mapping[bytes, tuple[bytes, Identity]],
        nobody: bytes,
        check: Callable[[bytes, bytes, bytes], Awaitable[bool]],
        *,
        realm: str,
        secret: bytes,
        cache: VerifiedCache,
        ttl: float,
        hide: bool,
    ) -> None: ...
    @property
    def cache(self) -> VerifiedCache: ...
    async def wait(self, password: bytes, stored: bytes, key: bytes, identity: Identity | None) -> Identity | None:
        """What becomes of a credential that is not in the cache."""
