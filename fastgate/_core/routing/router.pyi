from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias, final

Fields: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]]

@final
class Entry:
    """A route as it was added."""

    @property
    def value(self) -> Any: ...
    @property
    def name(self) -> str | None: ...
    @property
    def params(self) -> tuple[str, ...]:
        """Names of the parameters, in the order of the path."""
    @property
    def path(self) -> str: ...
    @property
    def methods(self) -> tuple[str, ...] | None:
        """As given; None accepts all. HEAD, which follows GET, is not added."""
    @property
    def hosts(self) -> tuple[str, ...] | None:
        """In lower case; None accepts any."""
    @property
    def headers(self) -> dict[str, str]: ...
    @property
    def query(self) -> dict[str, str]: ...
    @property
    def priority(self) -> int: ...

@final
class Match:
    """The route that matches a request. Parameters are decoded when they are first read."""

    @property
    def value(self) -> Any:
        """The value from ``Router.add``."""
    @property
    def params(self) -> dict[str, str]:
        """The parameters of the path by name, percent-decoded; the same dict each time."""
    @property
    def name(self) -> str | None: ...
    @property
    def route(self) -> Entry: ...

@final
class Router:
    """Maps method, host, path, header fields and query of a request to the most specific route.

    The order of candidates: priority, then host (exact, longer wildcard, any), then the path segment by segment from
    the left (literal, ``{parameter}``, ``{rest*}`` and ``/*``; regular expressions last), then methods given, more
    header conditions, more query conditions, and the order of addition. The router skips a candidate whose host, method
    or condition does not match. ``merge_slashes``: whether ``//`` in the path of a request is one slash.
    """

    def __init__(self, *, merge_slashes: bool = True) -> None: ...
    @property
    def merge_slashes(self) -> bool: ...
    def __len__(self) -> int: ...
    def routes(self) -> list[Entry]:
        """The routes in the order in which they were added."""
    def add(
        self,
        path: str,
        value: Any,
        *,
        methods: Iterable[str] | None = None,
        hosts: Iterable[str] | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        priority: int = 0,
        name: str | None = None,
    ) -> None:
        """Adds a route that answers ``value``.

        ``path`` is ``/exact``, ``/users/{id}`` (one non-empty segment), ``/files/{path*}`` (the rest, may be empty),
        ``/api/*`` (a prefix on a segment border, ``/api`` too) or ``~regex`` (of the whole path; its named groups are
        parameters). ``methods``: default all; GET implies HEAD. ``hosts``: names or ``*.suffix``. ``headers`` and
        ``query``: name → a value, ``*`` (present) or ``~regex`` (of the whole value); all must hold. Regular
        expressions are those of RE2, matched in time linear in the text. If an argument is malformed, raises ValueError
        and changes nothing. Raises RuntimeError in the middle of a search of the same thread (in a signal's
        handler).
        """
    def match(
        self,
        method: str,
        path: str,
        *,
        host: str | None = None,
        headers: Fields | None = None,
        query: str | Fields | None = None,
    ) -> Match | None:
        """The most specific route for a request, or None.

        ``path`` is percent-encoded as on the wire, without query; it is brought to its normal form first, and one that
        must be refused (see ``normalized``) matches nothing. Characters outside visible ASCII stand for their
        percent-encoded UTF-8. ``headers`` is a mapping or pairs, ``query`` a mapping, pairs or text without ``?``.
        """
    def allowed(
        self,
        path: str,
        *,
        host: str | None = None,
        headers: Fields | None = None,
        query: str | Fields | None = None,
    ) -> set[str]:
        """The methods with which ``match`` would find a route, for ``Allow`` (RFC 9110 §10.2.1); empty: none.

        A route without ``methods`` allows GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS.
        """

def normalized(path: str, *, merge_slashes: bool = True, encoded_backslash: bool = False) -> str:
    """The normal form of a percent-encoded path as ``Router`` matches it (RFC 3986 §6.2.2).

    Raises ValueError if the path must be refused: it leads above the root, has a broken escape, ``%00``, a backslash
    in either spelling, ``?``, ``#`` or a segment that another program could read as a dot segment.
    """
