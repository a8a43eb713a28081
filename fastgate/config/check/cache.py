"""What is said of stored answers: who gets them, what a key needs of its route, what makes them of no use."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from fastgate.config.check.findings import Finding, is_list, items, policy_tables
from fastgate.config.check.header_edits import edited_values
from fastgate.config.check.routes import parameter_faults
from fastgate.config.errors import PathKeys, quote
from fastgate.config.schema.cache import Cache
from fastgate.config.schema.root import Root
from fastgate.config.schema.routes import Route
from fastgate.config.syntax.patterns import path_parameters
from fastgate.config.syntax.templates import Variable, parse_template
from fastgate.config.syntax.units import format_size

STORE = 256 * 1024 * 1024
"""Bytes of the store, where nothing is said of it."""

LARGE = 16
"""A body that takes more than this part of the store is large."""

CLAIM = "claim:"


class Sent(NamedTuple):
    """What an upstream gets of a client: as which field, which part of a key has it, and what it is called."""

    field: str
    part: str
    words: str


def cache_faults(route: Any, keys: PathKeys, defaults: Any, data: Mapping[str, Any]) -> Iterator[Finding]:
    """What ``cache`` needs of its route. That of `[defaults]` is for other routes too: only its parameters count."""
    cache = route.cache
    if not isinstance(cache, Cache):
        return
    inherited = cache is defaults.cache
    table = ("defaults", "cache") if inherited else (*keys, "cache")
    if isinstance(route.path, str):
        known = path_parameters(route.path)
        for number, part in enumerate(items(cache.key)):
            if isinstance(part, str) and part.startswith("param:"):
                place = _part_of_key(table, number, data)
                yield from parameter_faults(quote(part), part[len("param:") :], known, route, place, inherited)
    if inherited:
        return
    if route.respond or route.redirect:
        yield table, "stores answers of an upstream, but this route has no upstream: remove it"
        return
    if not route.policies and (route.auth is None or route.public is True):
        for where, message in cache.needs_identity():
            yield _part_of_key(table, where[1], data) if where[0] == "key" else (*table, *where), message
    yield from _method_faults(route, cache, table)


def _part_of_key(table: PathKeys, number: Any, data: Mapping[str, Any]) -> PathKeys:
    return (*table, "key", number) if is_list(data, (*table, "key")) else (*table, "key")


def _method_faults(route: Any, cache: Cache, table: PathKeys) -> Iterator[Finding]:
    matched = route.methods if isinstance(route.methods, list) else []
    for number, method in enumerate(cache.methods):
        if method in ("POST", "QUERY") and matched and method not in matched:
            yield (
                (*table, "methods", number),
                f"{method} is not in the methods of the route, so this key has no effect on it: add it there too",
            )


def cache_warnings(config: Root, data: Mapping[str, Any]) -> Iterator[Finding]:
    """Everything about stored answers that is allowed and suspicious, each with its number."""
    for keys, table, raw in policy_tables(config, data):
        if "cache" in raw and table.cache is not None:
            yield from _table_warnings(table.cache, (*keys, "cache"), config)
    for number, route in enumerate(config.routes):
        if route.cache is not None and route.upstreams():
            keys = ("routes", number, "cache")
            yield from _leaks(route, route.cache, keys, config)
            yield from _ttl_warnings(route, route.cache, keys)
            if not route.content_types and route.body_schema is None:
                for method in route.cache.methods:
                    if method in ("POST", "QUERY"):
                        message = (
                            f"answers to {method} are stored by the bodies of the requests, but this route accepts "
                            "bodies of any type; add content_types or body_schema [FG113]"
                        )
                        yield (*keys, "methods"), message


def _table_warnings(cache: Cache, keys: PathKeys, config: Root) -> Iterator[Finding]:
    store = getattr(getattr(config, "cache", None), "max_bytes", STORE)
    if cache.max_object > store // LARGE:
        message = (
            f"is more than a sixteenth of the store, which has {format_size(store)}: one such answer replaces many "
            "small ones; set a smaller max_object, or a larger max_bytes in [cache] [FG114]"
        )
        yield (*keys, "max_object"), message
    if cache.honor is False:
        without = " Without ttl nothing is stored." if cache.ttl is None else ""
        message = (
            "ignores the lifetimes and the no-cache of the upstream, so clients get answers that it calls outdated; "
            f'use true or "response" unless the upstream sends wrong values.{without} [FG115]'
        )
        yield (*keys, "honor"), message


def _ttl_warnings(route: Route, cache: Cache, keys: PathKeys) -> Iterator[Finding]:
    if cache.ttl is None or route.auth is None or route.public or cache.by_identity():
        return
    if cache.shared:
        message = (
            "all authenticated clients get answers that say nothing about who may see them; let the upstream send "
            "Cache-Control for what is for all, or use private instead of shared"
        )
    else:
        message = (
            "does not apply to answers for authenticated clients unless they say public; set private to store them for "
            "each client, or shared if all clients may see them"
        )
    yield (*keys, "ttl"), f"{message} [FG112]"


def _leaks(route: Route, cache: Cache, keys: PathKeys, config: Root) -> Iterator[Finding]:
    """What the upstream gets of a client, and the key does not have."""
    told: set[str] = set()
    for each in _sent(route, config):
        if _in_key(each, cache) or each.field.lower() in told:
            continue
        told.add(each.field.lower())
        if cache.shared:
            message = (
                f"gives one answer to all clients, but the upstream gets {each.words} in {each.field}: what it answers "
                f'to one client would reach all others; add "{each.part}" to key, or do not send {each.field} [FG111]'
            )
            yield (*keys, "shared"), message
        else:
            message = (
                f"lacks {each.words}, which the upstream gets in {each.field}: a client could get an answer for "
                f'another one; add "{each.part}", or do not send {each.field} [FG110]'
            )
            yield (*keys, "key"), message


def _in_key(sent: Sent, cache: Cache) -> bool:
    field = sent.field.lower()
    known = {sent.part, f"header:{field}"} & {*cache.key}
    return bool(known) or field in cache.vary or (sent.part != "client_ip" and cache.by_identity())


def _sent(route: Route, config: Root) -> Iterator[Sent]:
    """Fields about the client that this route adds.

    X-Forwarded-For, which every upstream gets, is not among them: answers that depend on it are rare, and a warning for
    every route would hide the others.
    """
    if route.auth is not None and not route.public:
        names = route.auth.names()
        if "jwt" in names and config.auth.jwt is not None:
            for claim, field in config.auth.jwt.claims_to_headers.items():
                yield Sent(field, CLAIM + claim, f"the claim {quote(claim)}")
        if "forward" in names and config.auth.forward is not None:
            for field in config.auth.forward.response_headers:
                yield Sent(field, CLAIM + field, "what the authentication service says of the client")
    if route.request_headers is None:
        return
    for where, text in edited_values(route.request_headers):
        for part in parse_template(text):
            if isinstance(part, Variable):
                found = _variable(part)
                if found is not None:
                    yield Sent(str(where[1]), *found)


def _variable(variable: Variable) -> tuple[str, str] | None:
    """The part of a key that has what a variable stands for, and its words; None: it is not about the client."""
    match variable.name:
        case "client_ip":
            return "client_ip", "the address of the client"
        case "key":
            return "identity", "the identity of the client"
        case "claim":
            return CLAIM + variable.argument, f"the claim {quote(variable.argument)}"
    return None
