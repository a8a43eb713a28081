from collections.abc import Iterable, Mapping
from typing import Any

TTL_STATUSES: tuple[int, ...]
"""What a `ttl` that is one duration is for."""

NEVER_STORED: tuple[int, ...]
"""206 and 304 are not whole; of the others RFC 6585 says so."""

DROPPED_BY_DEFAULT: tuple[str, ...]
"""Fields that let a client choose another resource than the one that is in the key."""

class KeyPart:
    """A part of a key or of `bypass`: ``header:NAME``, ``cookie:NAME``, ``param:NAME``, ``claim:NAME``, ``client_ip``,
    ``identity``.
    """

    def __init__(self, text: str) -> None: ...
    @property
    def kind(self) -> int: ...
    @property
    def name(self) -> bytes:
        """Of a header field in lower case; empty where the kind needs none."""

class CacheRules:
    """What a route says of its cache. Durations are given in seconds and kept in milliseconds, sizes are bytes.

    ``key`` and ``bypass`` are parts as `KeyPart` reads them. ``query`` has ``only`` or ``except``, names of parameters
    in which ``*`` stands for anything, and ``sort``. ``drop`` are request fields that the upstream does not get.
    ``vary`` adds to what an answer's Vary names, ``vary_except`` removes from it. ``targeted`` are fields of RFC 9213,
    the first that is valid counts. ``ttl`` is a lifetime for answers without one: of the statuses in `TTL_STATUSES`, or
    by status (``"404"``, ``"5xx"``). ``heuristic`` is a share of the time since Last-Modified. ``honor``: True,
    ``"response"`` (requests do not count) or False (only `ttl` decides about lifetimes). ``private`` puts the identity
    into the key, ``shared`` lets all that the policies admit see the same. ``set_cookie``: ``"bypass"``, ``"strip"`` or
    ``"store"``.

    Raises ValueError with a message that begins with the name of the argument.
    """

    def __init__(
        self,
        *,
        methods: Iterable[str] = ("GET", "HEAD"),
        max_key_body: int = 65536,
        key: Iterable[str] = (),
        query: Mapping[str, Any] | None = None,
        drop: Iterable[str] = ...,
        vary: Iterable[str] = (),
        vary_except: Iterable[str] = (),
        targeted: Iterable[str] = ("fastgate-cache-control",),
        ttl: float | Mapping[str, float] | None = None,
        heuristic: float = 0,
        honor: bool | str = True,
        private: bool = False,
        shared: bool = False,
        set_cookie: str = "bypass",
        bypass: Iterable[str] = (),
        max_object: int = 1048576,
        stale_while_revalidate: float = 0,
        stale_if_error: float = 0,
        retry_stale: float = 1,
        collapse: bool = True,
        hit_for_miss: float = 10,
        collapse_timeout: float = 5,
        tags: Iterable[str] = (),
        cache_status: bool = True,
        etag: bool = False,
    ) -> None: ...
    @property
    def methods(self) -> tuple[bytes, ...]: ...
    @property
    def max_key_body(self) -> int: ...
    @property
    def key(self) -> tuple[KeyPart, ...]: ...
    @property
    def bypass(self) -> tuple[KeyPart, ...]: ...
    @property
    def filters_query(self) -> bool: ...
    @property
    def only(self) -> bool:
        """Whether ``patterns`` are those that stay; else those that are removed."""
    @property
    def patterns(self) -> tuple[bytes, ...]: ...
    @property
    def sort(self) -> bool: ...
    @property
    def drop(self) -> tuple[bytes, ...]: ...
    @property
    def vary(self) -> tuple[bytes, ...]: ...
    @property
    def vary_except(self) -> tuple[bytes, ...]: ...
    @property
    def targeted(self) -> tuple[bytes, ...]: ...
    @property
    def heuristic(self) -> float: ...
    @property
    def honor(self) -> bool | str: ...
    @property
    def private(self) -> bool: ...
    @property
    def shared(self) -> bool: ...
    @property
    def set_cookie(self) -> str: ...
    @property
    def max_object(self) -> int: ...
    @property
    def stale_while_revalidate(self) -> int:
        """Milliseconds."""
    @property
    def stale_if_error(self) -> int: ...
    @property
    def retry_stale(self) -> int: ...
    @property
    def hit_for_miss(self) -> int: ...
    @property
    def collapse_timeout(self) -> int: ...
    @property
    def collapse(self) -> bool: ...
    @property
    def tags(self) -> tuple[str, ...]: ...
    @property
    def cache_status(self) -> bool: ...
    @property
    def etag(self) -> bool: ...
