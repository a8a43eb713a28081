"""What is allowed and suspicious about keys of clients."""

from collections.abc import Iterator

from fastgate.config.errors import quote
from fastgate.config.routes import Route
from fastgate.config.schema import GatewayConfig
from fastgate.config.traffic_warnings import Finding
from fastgate.config.units import format_instant, parse_instant


def key_warnings(config: GatewayConfig, now: float) -> Iterator[Finding]:
    """Every warning about keys and the routes that ask for them; ``now`` is seconds since 1970."""
    keys = config.gateway.keys
    asking = {route.name: (number, route) for number, route in enumerate(config.routes) if asks_for_key(route)}
    if config.auth.key.query:
        yield ("auth", "key", "query"), "URLs are kept in histories and in the logs of others, and keys with them"
    for name, key in keys.items():
        place = ("gateway", "keys", name)
        if key.expires and parse_instant(key.expires) <= now:
            yield (*place, "expires"), f"the key has expired on {format_instant(parse_instant(key.expires))}"
        if key.previous is not None and parse_instant(key.previous.expires) <= now:
            yield (*place, "previous"), "is over: it can be taken out"
        for number, where in enumerate(key.routes):
            if where not in asking:
                yield (*place, "routes", number), f"the route {quote(where)} does not ask for keys"
    open_to_all = any(not key.routes and not key.disabled for key in keys.values())
    for name, (number, route) in asking.items():
        good = open_to_all or any(name in key.routes and not key.disabled for key in keys.values())
        if not good and (route.auth is not None and (route.auth.all or route.auth.any == ["key"])):
            why = "no key is good for it" if keys else "there is no [gateway.keys]: `fastgate keys new` makes a key"
            yield ("routes", number, "auth"), f"nobody is let in: {why}"


def asks_for_key(route: Route) -> bool:
    """Whether a key is one of the ways into a route."""
    return route.auth is not None and not route.public and "key" in route.auth.names()
