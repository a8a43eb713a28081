"""The response cache as plugins see it: what they can purge, and what it holds."""

from collections.abc import Callable

from fastgate.config import GatewayConfig
from fastgate.state.cache_memory import CacheMemory, CacheStats
from fastgate.state.cache_purge import PurgeRequest, purge_for


class GatewayCache:
    """The response cache of the host, from any of its workers.

    A purge is in effect in all workers when the method returns, in a time that does not depend on what is stored. With
    ``soft`` what is purged is stale from then on: it is validated before it is used, and still good when the upstream
    fails. Each method raises ValueError for what cannot be purged.
    """

    def __init__(self, memory: Callable[[], CacheMemory], config: Callable[[], GatewayConfig]) -> None:
        self._memory = memory
        self._config = config

    def purge_url(self, url: str, *, soft: bool = False) -> None:
        """Purges what is stored for a URL with scheme and host, in all variants and whichever route stored it."""
        self._purge(PurgeRequest(url=url, soft=soft))

    def purge_prefix(self, prefix: str, *, soft: bool = False) -> None:
        """Purges all addresses that begin so (``https://host/path``), or all paths of any host (``/path``)."""
        self._purge(PurgeRequest(prefix=prefix, soft=soft))

    def purge_route(self, route: str, *, soft: bool = False) -> None:
        """Purges what the route of this name has stored."""
        self._purge(PurgeRequest(route=route, soft=soft))

    def purge_tag(self, tag: str, *, soft: bool = False) -> None:
        """Purges answers whose Cache-Tag or Surrogate-Key named this tag. ``https://host group``: of Cache-Groups."""
        self._purge(PurgeRequest(tag=tag, soft=soft))

    def purge_everything(self, *, soft: bool = False) -> None:
        """Purges all that is stored."""
        self._purge(PurgeRequest(everything=True, soft=soft))

    def stats(self) -> CacheStats:
        """What is stored, and what was counted in all workers."""
        return self._memory().stats()

    def _purge(self, request: PurgeRequest) -> None:
        purge_for(self._config(), self._memory().purges, request)
