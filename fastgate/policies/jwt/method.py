"""``[auth.jwt]`` as a method that routes ask: the verifier behind the cache of tokens, and waiting for a key."""

import asyncio
from collections.abc import Awaitable
from typing import TypeAlias

from fastgate._core.auth.bearer import TokenMethod
from fastgate._core.auth.gate import VerifiedCache
from fastgate._core.exchange.identity import Identity
from fastgate.config import ConfigError, Problem
from fastgate.config.schema.jwt import JWT
from fastgate.policies.jwt.key_sets import KeySets
from fastgate.policies.jwt.verifier import KeyMissing, TokenRefused, Verifier

Judgement: TypeAlias = tuple[Identity, float] | str | None
"""Who a token stands for and until when, in seconds since the epoch; or why it is refused; or that nobody can say now.
"""


def compile_jwt(settings: JWT, key_sets: KeySets) -> TokenMethod:
    """The method. Raises ConfigError for keys that cannot be used."""
    cache = VerifiedCache(settings.cache_entries)
    try:
        judge = Judge(Verifier(settings, key_sets, cache.clear), key_sets, settings.timeout)
    except ValueError as error:
        raise ConfigError([Problem("auth.jwt", str(error))]) from None
    return TokenMethod(
        "jwt",
        judge,
        cache,
        sources=settings.sources,
        max_size=settings.max_size,
        owned=settings.claims_to_headers.values(),
    )


class Judge:
    """Says who a token stands for, or why nobody. ``patience``: so many seconds a token waits for its key at most."""

    def __init__(self, verifier: Verifier, key_sets: KeySets, patience: float) -> None:
        self._verifier = verifier
        self._key_sets = key_sets
        self._patience = patience

    def __call__(self, token: bytes) -> Judgement | Awaitable[Judgement]:
        """Decides at once, unless a key is missing that may have been published since."""
        found = self._judge(token)
        return self._when_asked(token) if isinstance(found, KeyMissing) else found

    def _judge(self, token: bytes) -> Judgement | KeyMissing:
        """The judgement, or the key that it wants and that can be asked for."""
        try:
            return self._verifier.verify(token)
        except TokenRefused as refused:
            return str(refused)
        except KeyMissing as missing:
            return missing if self._key_sets.may_ask(missing.url) else _without(missing)

    async def _when_asked(self, token: bytes) -> Judgement:
        loop = asyncio.get_running_loop()
        until = loop.time() + self._patience
        while True:
            # At first too: the set may have come since this was put off.
            found = self._judge(token)
            if not isinstance(found, KeyMissing):
                return found
            if not await self._key_sets.ask(found.url, found.kid, until - loop.time()):
                return _without(found)


def _without(missing: KeyMissing) -> Judgement:
    """The key is not known, and cannot be had."""
    if not missing.any_set:
        return None
    return "the key is unknown" if missing.kid else "the signature is wrong"
