"""What is allowed and suspicious about keys of clients, and about the other ways to find out who asks."""

import ipaddress
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from fastgate.config.auth import METHODS
from fastgate.config.basic import read_users
from fastgate.config.checks import edited_values
from fastgate.config.errors import PathKeys, quote
from fastgate.config.routes import Route
from fastgate.config.schema import GatewayConfig
from fastgate.config.templates import Variable, parse_template
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


def auth_warnings(config: GatewayConfig, data: Mapping[str, Any]) -> Iterator[Finding]:
    """Everything about who may use a route by who asks."""
    yield from key_warnings(config, time.time())
    yield from _method_warnings(config, data)
    yield from _claim_warnings(config)


def _method_warnings(config: GatewayConfig, data: Mapping[str, Any]) -> Iterator[Finding]:
    """What was set up and is never asked for, and what others could find out or replace."""
    rules = [route.auth for route in config.routes if route.auth is not None and not route.public]
    named = {name for rule in rules for name in rule.names()}
    written = data.get("auth")
    tables: list[PathKeys] = [("auth", name) for name in METHODS if isinstance(written, Mapping) and name in written]
    if config.gateway.keys and ("auth", "key") not in tables:
        tables.append(("gateway", "keys"))
    for keys in tables:
        name = "key" if keys == ("gateway", "keys") else keys[-1]
        if name not in named:
            yield keys, f'no route asks for it: nobody is kept out before a route has auth = {{ any = ["{name}"] }}'
    if config.auth.basic is not None:
        users, _ = read_users(config.auth.basic)
        if len({stored[4:6] for stored in users.values()}) > 1:
            yield ("auth", "basic"), "hashes have different costs: by the time of an answer names can be found out"
    jwt = config.auth.jwt
    if jwt is not None:
        sets = [(("jwks",), jwt.jwks), *((("issuers", name, "jwks"), each.jwks) for name, each in jwt.issuers.items())]
        for where, url in sets:
            if url.startswith("http://") and not _is_local(urlsplit(url).hostname or ""):
                yield ("auth", "jwt", *where), "whoever is on the way can put in keys of their own: use https"
    yield from _clear_secrets(("auth", "jwt"), written.get("jwt") if isinstance(written, Mapping) else None)


def _clear_secrets(keys: PathKeys, table: object) -> Iterator[Finding]:
    if not isinstance(table, Mapping):
        return
    secret = table.get("secret")
    if isinstance(secret, str) and "${" not in secret:
        yield (*keys, "secret"), 'a secret in clear: use { env = "NAME" } or { file = "path" }'
    issuers = table.get("issuers")
    for name, each in issuers.items() if isinstance(issuers, Mapping) else ():
        yield from _clear_secrets((*keys, "issuers", name), each)


def _claim_warnings(config: GatewayConfig) -> Iterator[Finding]:
    """Claims in limits and fields of a route, none of whose ways to authenticate has them."""
    for number, route in enumerate(config.routes):
        if route.auth is None or route.public or route.policies:  # a plugin may say who asks
            continue
        known = _claims(config, route.auth.names())
        if known is None:
            continue
        for place, claim in _named_claims(route, config.defaults):
            if claim not in known and claim.partition(".")[0] not in known:
                ways = " or ".join(quote(name) for name in route.auth.names())
                yield ("routes", number, *place), f"no claim {quote(claim)} comes with {ways}"


def _claims(config: GatewayConfig, names: Iterable[str]) -> set[str] | None:
    """Those that some of the ways can tell; None where that is up to somebody else."""
    if "jwt" in names:
        return None
    forward = config.auth.forward
    told = {
        "key": ("tags",),
        "certificate": ("cn", "subject", "issuer", "serial", "not_after", "fingerprint_sha256", "san"),
        "forward": [name.lower() for name in forward.response_headers] if forward else (),
    }
    return {claim for name in names for claim in told.get(name, ())}


def _named_claims(route: Route, defaults: Any) -> Iterator[tuple[PathKeys, str]]:
    """Claims that a route itself names, each with its place; those of ``[defaults]`` are for other routes too."""
    for name in ("rate_limit", "concurrency"):
        value = getattr(route, name)
        if value is None or value is getattr(defaults, name):
            continue
        for limit in value if isinstance(value, list) else [value]:
            yield from (((name,), key.removeprefix("claim:")) for key in limit.key if key.startswith("claim:"))
    for name in ("request_headers", "response_headers"):
        edits = getattr(route, name)
        if edits is None or edits is getattr(defaults, name):
            continue
        for where, text in edited_values(edits):
            for part in parse_template(text):
                if isinstance(part, Variable) and part.name == "claim":
                    yield (name, *where), part.argument


def _is_local(host: str) -> bool:
    """Whether a host is this machine, as far as its name tells."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def asks_for_key(route: Route) -> bool:
    """Whether a key is one of the ways into a route."""
    return route.auth is not None and not route.public and "key" in route.auth.names()
