"""The response cache of a route, compiled into a delivery around each upstream that may answer.

What is stored under one configuration must not be found under another one that asks the upstream something else, or
that makes keys in another way. So each key begins with a digest of all that decides about that, see `namespace`. What
only decides how long an answer is used, or how it is fetched, is not in it: a reload that changes it keeps what is
stored.
"""

import hashlib
from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from fastgate._core.exchange.exchange import Delivery
from fastgate.config import Cache, GatewayConfig, Route
from fastgate.gateway.additions import Additions, RouteContext
from fastgate.gateway.authentication import own_fields

MATCH = ("name", "path", "hosts", "methods", "headers", "query", "priority")
"""Keys of a route that decide which requests it gets: their conditions stand in no key."""

ASKED = ("host_header", "strip_prefix", "add_prefix", "rewrite", "request_headers", "envelope", "trailers")
"""Keys of a route that decide what its upstream gets. An envelope asks for bodies without a coding."""

ASKED_OF_ALL = ("forwarded", "via", "request_id", "field_names", "trusted_proxies")
"""Keys of ``[gateway]`` that decide what all upstreams get."""

KEYED = (
    "methods", "key", "query", "drop", "vary", "vary_except", "targeted", "honor", "private", "shared", "set_cookie",
    "bypass", "tags",
)  # fmt: skip
"""Keys of ``cache`` that decide how a key is made, for which clients an answer is stored, and by which tags it is
removed."""

METHODS: Mapping[str, Collection[str]] = {
    "key": ("header", "query", "hide"),
    "jwt": ("issuer", "jwks", "sources", "claims_to_headers"),
    "basic": ("hide",),
    "certificate": ("subject",),
    "forward": ("url", "request_headers", "response_headers", "identity_header"),
}
"""Keys of ``[auth.NAME]`` that decide whom an identity names, and what of it the upstream gets."""

SAFE = frozenset(("GET", "HEAD", "OPTIONS", "TRACE", "QUERY"))
"""Methods that change nothing (RFC 9110 section 9.2.1)."""

KEY_FIELDS = ("authorization", "api-key")
"""Fields in which an API key is found, beside the one that the configuration names."""


def compile_cache(route: Route, context: RouteContext) -> Additions | None:
    """What stores the answers of the upstreams; None for a route without an upstream.

    A route that does not cache removes what others have stored of an address that its unsafe requests change.
    """
    cache = route.cache
    if not route.upstreams():
        return None
    if cache is None:
        return _compile_invalidation(route, context)
    from fastgate._core.delivery.cache.cached import Cached  # on use: a route without it does not load it

    rules = compile_rules(cache)
    opened = context.cache()
    credentials = credential_fields(route, context.config)
    request_id = context.config.gateway.request_id or None

    def stored(inner: Delivery, upstream: str | None) -> Delivery:
        return Cached(
            inner,
            rules,
            opened,
            namespace=namespace(route, context, upstream or route.upstream),
            route=route.name,
            upstream=upstream,
            request_id=request_id,
            credentials=credentials,
        )

    return Additions(within=[stored])


def _compile_invalidation(route: Route, context: RouteContext) -> Additions | None:
    if SAFE.issuperset(route.methods or ("POST",)) or not any(each.cache is not None for each in context.config.routes):
        return None
    from fastgate._core.delivery.cache.cached import Invalidating  # on use: as above

    return Additions(changes=Invalidating(context.cache()))


def compile_rules(cache: Cache) -> Any:
    """The keys of the table as the core asks them. Raises ValueError with a message that begins with the key."""
    from fastgate._core.delivery.cache.rules import CacheRules  # on use: as above

    given = {name: getattr(cache, name) for name in cache.__struct_fields__}
    query = cache.query
    if query is not None:
        given["query"] = {"sort": query.sort}
        given["query"] |= {} if query.only is None else {"only": query.only}
        given["query"] |= {} if query.excluded is None else {"except": query.excluded}
    try:
        return CacheRules(**given)
    except ValueError as error:
        raise ValueError(f"cache.{error}") from None


def rules_of_queries(config: GatewayConfig) -> list[Any]:
    """The rules of routes that forward another query than clients ask with: a URL names both addresses."""
    caches = [route.cache for route in config.routes if route.cache is not None]
    return [compile_rules(cache) for cache in caches if cache.query is not None]


def namespace(route: Route, context: RouteContext, upstream: str) -> bytes:
    """16 bytes, the same as long as the same decides what this upstream is asked on this route and how keys are made.

    An upstream counts by its name: its targets come and go.
    """
    config = context.config
    plugins = {each.name: [each.use, each.options] for each in config.plugins}
    owned, late = own_fields(route, config, context.auth) or ((), ())
    decisive = {
        "match": _chosen(route, MATCH),
        "upstream": upstream,
        "asked": _chosen(route, ASKED),
        "gateway": _chosen(config.gateway, ASKED_OF_ALL),
        "cache": _chosen(route.cache, KEYED),
        "plugins": [[each.use, plugins.get(each.use)] for each in route.policies],
        "auth": _auth(route, config),
        "owned": [sorted(owned), sorted(late)],
    }
    return hashlib.blake2b(msgspec.json.encode(decisive, order="deterministic"), digest_size=16).digest()


def _chosen(table: Any, names: Collection[str]) -> dict[str, Any]:
    return {name: getattr(table, name) for name in names}


def _auth(route: Route, config: GatewayConfig) -> Any:
    """The methods of the route, with what they say of a client; without secrets, which change for the same clients."""
    if route.auth is None or route.public:
        return None
    made: dict[str, Any] = {}
    for name in route.auth.names():
        made[name] = _chosen(getattr(config.auth, name), METHODS[name])
    if config.auth.jwt is not None and "jwt" in made:
        issuers = config.auth.jwt.issuers.items()
        made["jwt"]["issuers"] = {name: [issuer.issuer, issuer.jwks] for name, issuer in issuers}
    return [route.auth.any, route.auth.all, made]


def credential_fields(route: Route, config: GatewayConfig) -> list[str]:
    """Request fields in which clients of this route send credentials.

    What of them is left when the request goes out the upstream sees.
    """
    if route.auth is None or route.public:
        return []
    fields: set[str] = set()
    auth = config.auth
    for name in route.auth.names():
        if name == "key":
            fields.update((auth.key.header, *KEY_FIELDS))
        elif name == "basic":
            fields.add("authorization")
        elif name == "jwt" and auth.jwt is not None:
            sources = (source.partition(":") for source in auth.jwt.sources)
            fields.update("cookie" if kind == "cookie" else field for kind, _, field in sources if kind != "query")
        elif name == "forward" and auth.forward is not None:
            fields.update(auth.forward.request_headers)
    return sorted(field.lower() for field in fields if field)
