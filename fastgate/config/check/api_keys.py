"""What is said of keys of clients and of the routes that ask for them."""

from collections.abc import Iterator, Mapping
from typing import Any

from fastgate.config.check.findings import Finding, items, named
from fastgate.config.errors import quote
from fastgate.config.schema.root import Root
from fastgate.config.schema.routes import Route
from fastgate.config.suggest import did_you_mean
from fastgate.config.syntax.units import format_instant, parse_instant


def key_warnings(config: Root, now: float) -> Iterator[Finding]:
    """Every warning about keys and the routes that ask for them; ``now`` is seconds since 1970."""
    keys = config.gateway.keys
    asking = {route.name: (number, route) for number, route in enumerate(config.routes) if asks_for_key(route)}
    if config.auth.key.query:
        yield ("auth", "key", "query"), "histories and the logs of other systems keep URLs, and the keys in them"
    for name, key in keys.items():
        place = ("gateway", "keys", name)
        if key.expires and parse_instant(key.expires) <= now:
            yield (*place, "expires"), f"the key expired on {format_instant(parse_instant(key.expires))}"
        if key.previous is not None and parse_instant(key.previous.expires) <= now:
            yield (*place, "previous"), "has expired: remove it"
        for number, where in enumerate(key.routes):
            if where not in asking:
                yield (*place, "routes", number), f"route {quote(where)} does not accept keys"
    open_to_all = any(not key.routes and not key.disabled for key in keys.values())
    for name, (number, route) in asking.items():
        good = open_to_all or any(name in key.routes and not key.disabled for key in keys.values())
        if not good and (route.auth is not None and (route.auth.all or route.auth.any == ["key"])):
            why = "no valid key can use it" if keys else "there is no [gateway.keys]; `fastgate keys new` creates a key"
            yield ("routes", number, "auth"), f"refuses every request: {why}"


def asks_for_key(route: Route) -> bool:
    """Whether a key is one of the ways into a route."""
    return route.auth is not None and not route.public and "key" in route.auth.names()


def key_faults(config: Any, data: Mapping[str, Any]) -> Iterator[Finding]:
    """No two keys have one secret, and the routes that they name are there."""
    keys = config.gateway.keys
    routes = {route.name for route in items(config.routes) if isinstance(route.name, str)}
    routes.update(named(data.get("routes")))
    owners: dict[str, str] = {}
    for name, key in keys.items() if isinstance(keys, dict) else ():
        place = ("gateway", "keys", name)
        for where, hashed in (("hash",), key.hash), (("previous", "hash"), key.previous and key.previous.hash):
            if not isinstance(hashed, str):
                continue
            if hashed in owners:
                whose = "this key" if owners[hashed] == name else f"key {quote(owners[hashed])}"
                yield (*place, *where), f"duplicates the hash of {whose}; every key needs its own secret"
            owners.setdefault(hashed, name)
        for number, route in enumerate(items(key.routes)):
            if isinstance(route, str) and route not in routes:
                hint = did_you_mean(route, routes)
                yield (*place, "routes", number), f"unknown route {quote(route)}{hint}"
