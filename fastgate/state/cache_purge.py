"""What is purged from the response cache: one request, checked, and written where all workers of the host see it.

A purge is a number in shared memory, not a search: it is in effect in all workers when the call returns. What was being
fetched when it came is used for those who asked before, and not stored.

Texts that stored answers are purged by, which `_core/delivery/cache` writes in the same form:

    uri      scheme://host[:port]path[?query]
    route    the name of the route
    host     host[:port], as in the address
    tag      as it stands in Cache-Tag or Surrogate-Key
    group    origin, a space, and a member of Cache-Groups
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct

from fastgate.config.errors import quote
from fastgate.config.suggest import did_you_mean

if TYPE_CHECKING:
    from fastgate._core.delivery.cache.rules import CacheRules
    from fastgate._core.memory.cache.purges import Purges
    from fastgate.config.schema.root import Root

_PORTLESS = "https://host/path"
_SELECTORS = ("url", "prefix", "route", "tag", "everything")


class PurgeError(ValueError):
    """What was asked for cannot be purged; the message is one line."""


class PurgeRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to purge: exactly one of these. ``soft``: it is stale from now on, instead of gone.

    ``url`` is one address in all variants; ``prefix`` all addresses that begin with it, or all paths where it begins
    with a slash; ``tag`` what an answer's Cache-Tag or Surrogate-Key named, or a member of its Cache-Groups behind its
    origin: ``https://host group``.
    """

    url: str | None = None
    prefix: str | None = None
    route: str | None = None
    tag: str | None = None
    everything: bool = False
    soft: bool = False


class Address(NamedTuple):
    """The parts of an address in the form by which answers are stored; ``query`` None: it has no "?"."""

    scheme: bytes
    origin: bytes  # scheme://host[:port]
    path: bytes
    query: bytes | None

    @property
    def host(self) -> bytes:
        """The host, with its port unless it is the scheme's own."""
        return self.origin.partition(b"://")[2]

    @property
    def text(self) -> bytes:
        """The whole address."""
        return self.with_query(self.query)

    def with_query(self, query: bytes | None) -> bytes:
        """The same address with another query, or with none."""
        return self.origin + self.path + (b"" if query is None else b"?" + query)


def parse_url(url: str, *, merge_slashes: bool = True, what: str = "url") -> Address:
    """The parts of a URL as the gateway reads it. Raises PurgeError, whose message begins with ``what``."""
    from fastgate._core.delivery.cache.uri import origin_of

    scheme, mark, rest = url.partition("://")
    scheme = scheme.lower()
    if not mark or scheme not in ("http", "https"):
        hint = f'"{_PORTLESS}"'
        if url.startswith("/"):
            raise PurgeError(f"{what}: {quote(url)} has no scheme and no host: use a whole URL such as {hint}")
        raise PurgeError(f"{what}: {quote(url)} is not a valid URL: use http or https, such as {hint}")
    end = min((place for place in map(rest.find, "/?#") if place >= 0), default=len(rest))
    host, target = rest[:end], rest[end:].partition("#")[0]
    if "@" in host:
        raise PurgeError(f"{what}: {quote(url)} has a user name: remove all before the host")
    origin = origin_of(scheme.encode(), host.encode()) if host.isascii() else None
    if origin is None:
        hint = "" if host.isascii() else '; write its ASCII form, "xn--…"'
        raise PurgeError(f"{what}: {quote(host)} is not a valid host{hint}")
    path, mark, query = target.partition("?")
    return Address(
        scheme.encode(), origin, _path(path or "/", merge_slashes, what), _query(query, what) if mark else None
    )


def _path(path: str, merge_slashes: bool, what: str) -> bytes:
    """A path in the normal form; the rest of ASCII and all else is percent-encoded."""
    from fastgate._core.routing.router import normalized

    try:
        return normalized(path, merge_slashes=merge_slashes, encoded_backslash=True).encode()
    except ValueError:
        raise PurgeError(f"{what}: {quote(path)} is not a valid path: the gateway refuses such requests") from None


def _query(query: str, what: str) -> bytes:
    if not query.isascii() or not query.isprintable() or " " in query:
        raise PurgeError(f"{what}: the query {quote(query)} must be percent-encoded")
    return query.encode()


def addresses_of(url: str, rules: "Iterable[CacheRules]", *, merge_slashes: bool = True) -> list[bytes]:
    """The addresses under which answers for a URL may be stored: as clients name it, and as each route forwards it."""
    from fastgate._core.delivery.cache.uri import query_of

    address = parse_url(url, merge_slashes=merge_slashes)
    found = {address.text: None}
    if address.query is not None:
        for each in rules:
            found[address.with_query(query_of(each, address.query))] = None
    return list(found)


def purge(
    purges: "Purges",
    request: PurgeRequest,
    *,
    routes: Sequence[str],
    rules: "Iterable[CacheRules]" = (),
    merge_slashes: bool = True,
) -> None:
    """Purges, in all workers, before it returns.

    ``routes`` are the names of all routes, ``rules`` what those say of their cache that have one. Raises PurgeError.
    """
    given = [name for name in _SELECTORS if getattr(request, name) not in (None, False)]
    if len(given) != 1:
        said = f"{' and '.join(given)} are given" if given else "nothing is given"
        raise PurgeError(f"{said}: choose exactly one of {', '.join(_SELECTORS[:-1])} and {_SELECTORS[-1]}")
    soft = request.soft
    if request.url is not None:
        for address in addresses_of(request.url, rules, merge_slashes=merge_slashes):
            purges.purge_tag(purges.tag("uri", address), soft=soft)
    elif request.prefix is not None:
        prefix, is_path = _prefix(request.prefix, merge_slashes)
        purges.purge_prefix(prefix, path=is_path, soft=soft)
    elif request.route is not None:
        if request.route not in routes:
            raise PurgeError(f"unknown route {quote(request.route)}{did_you_mean(request.route, routes)}")
        purges.purge_tag(purges.tag("route", request.route.encode()), soft=soft)
    elif request.tag is not None:
        for kind, text in _tags(request.tag):
            purges.purge_tag(purges.tag(kind, text), soft=soft)
    else:
        purges.purge_everything(soft=soft)


def _prefix(prefix: str, merge_slashes: bool) -> tuple[bytes, bool]:
    """The beginning of addresses, or of their paths."""
    if not prefix.startswith("/"):
        if "://" not in prefix:
            hint = f'use "{_PORTLESS}" for one host, or "/path" for all hosts'
            raise PurgeError(f"prefix: {quote(prefix)} is not a valid prefix: {hint}")
        address = parse_url(prefix, merge_slashes=merge_slashes, what="prefix")
        return address.text, False
    path, mark, query = prefix.partition("?")
    return _path(path, merge_slashes, "prefix") + (b"?" + _query(query, "prefix") if mark else b""), True


def _tags(tag: str) -> list[tuple[str, bytes]]:
    """The kinds of tags that the text may be, and how each is written."""
    if not tag or tag != tag.strip():
        raise PurgeError(f"tag: {quote(tag)} is not a valid tag: it is empty, or has white space around it")
    found = [("tag", tag.encode())]
    origin, mark, group = tag.partition(" ")
    if mark and group and "://" in origin:
        found.append(("group", parse_url(origin, what="tag").origin + b" " + group.encode()))
    return found


def purge_for(
    config: "Root", purges: "Purges", request: PurgeRequest, rules: "Iterable[CacheRules]" = ()
) -> None:
    """Purges for a gateway with this configuration. Raises PurgeError."""
    routes = [route.name for route in config.routes]
    purge(purges, request, routes=routes, rules=rules, merge_slashes=config.gateway.merge_slashes)
