"""What is said of the ways to find out who asks, and of what needs to know it."""

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fastgate.config.check.api_keys import key_warnings
from fastgate.config.check.basic import basic_warnings
from fastgate.config.check.findings import Finding, items
from fastgate.config.check.header_edits import edited_values
from fastgate.config.check.jwt import jwt_warnings
from fastgate.config.check.upstreams import key_pair_faults
from fastgate.config.errors import PathKeys, quote
from fastgate.config.schema.auth import METHODS, AuthRule
from fastgate.config.schema.header_edits import HeaderEdits
from fastgate.config.schema.root import Root
from fastgate.config.schema.routes import Route
from fastgate.config.syntax.request_key import names_identity
from fastgate.config.syntax.templates import Variable, parse_template


def auth_warnings(config: Root, data: Mapping[str, Any]) -> Iterator[Finding]:
    """Everything about who may use a route by who asks."""
    yield from key_warnings(config, time.time())
    yield from _method_warnings(config, data)
    yield from _claim_warnings(config)


def _method_warnings(config: Root, data: Mapping[str, Any]) -> Iterator[Finding]:
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
            yield (
                keys,
                f'no route uses this method, so it protects nothing; add `auth = {{ any = ["{name}"] }}` to a route',
            )
    yield from basic_warnings(config)
    yield from jwt_warnings(config, data)


def _claim_warnings(config: Root) -> Iterator[Finding]:
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
                yield ("routes", number, *place), f"unknown claim {quote(claim)}: not provided by {ways}"


def _claims(config: Root, names: Iterable[str]) -> set[str] | None:
    """Those that some of the ways can tell; None where that is up to somebody else."""
    if "jwt" in names:
        return None
    forward = config.auth.forward
    provided = {
        "key": ("tags",),
        "certificate": ("cn", "subject", "issuer", "serial", "not_after", "fingerprint_sha256", "san"),
        "forward": [name.lower() for name in forward.response_headers] if forward else (),
    }
    return {claim for name in names for claim in provided.get(name, ())}


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


def method_faults(config: Any, data: Mapping[str, Any]) -> Iterator[Finding]:
    """The ways to find out who asks, where they need more than one key says."""
    basic = config.auth.basic
    # A name that could not be read is not among the users, and has been reported.
    if basic and basic.users == {} and basic.file == "" and not data["auth"]["basic"].get("users"):
        yield ("auth", "basic"), "needs users or a file"
    tls = config.gateway.tls
    if config.auth.certificate and (tls is None or getattr(tls, "client_auth", "") == "none"):
        yield (
            ("auth", "certificate"),
            'needs [gateway.tls] with client_auth = "optional" or "required", which verifies certificates',
        )
    forward = config.auth.forward
    if forward and forward.tls:
        yield from key_pair_faults(forward.tls, ("auth", "forward", "tls"))


def auth_faults(table: Any, keys: PathKeys, config: Any) -> Iterator[Finding]:
    """The ways to authenticate that a route names must be there; what it took from `[defaults]` is looked at there."""
    rule = table.auth
    if not isinstance(rule, AuthRule) or (keys != ("defaults",) and rule is config.defaults.auth):
        return
    for kind in ("any", "all"):
        for number, name in enumerate(items(getattr(rule, kind))):
            if isinstance(name, str) and getattr(config.auth, name, True) is None:
                yield (*keys, "auth", kind, number), f"there is no [auth.{name}]; add this table"
    if getattr(table, "public", False) is True:
        yield (*keys, "public"), "contradicts auth, which this route also has: remove one of them"


def identity_faults(route: Any, keys: PathKeys, defaults: Any) -> Iterator[Finding]:
    """What counts or writes by who asks needs a route that finds it out."""
    if isinstance(route.auth, AuthRule) and route.public is not True:
        return
    for name in ("rate_limit", "concurrency"):
        value = getattr(route, name)
        if value is getattr(defaults, name):
            continue
        for number, limit in enumerate(items(value) if isinstance(value, list) else [value] if value else []):
            for key in items(limit.key):
                if isinstance(key, str) and names_identity(key):
                    place = (*keys, name, number) if isinstance(value, list) and len(value) > 1 else (*keys, name)
                    yield (*place, "key"), f'"{key}" is unknown here, because the route has no auth'
    if not items(route.policies):
        yield from _identity_faults_in_edits(route, keys, defaults)


def _identity_faults_in_edits(route: Any, keys: PathKeys, defaults: Any) -> Iterator[Finding]:
    """``{key.id}`` and ``{claim.NAME}`` in edits of header fields; what is in `[defaults]` is for routes with auth."""
    for name in ("request_headers", "response_headers"):
        edits = getattr(route, name)
        if not isinstance(edits, HeaderEdits) or edits is getattr(defaults, name):
            continue
        for where, text in edited_values(edits):
            for part in parse_template(text):
                if isinstance(part, Variable) and part.name in ("key", "claim"):
                    written = f"{{{part.name}.{part.argument}}}"
                    message = (
                        f"{written} is unknown here, because the route has no auth and no plugin that could provide it"
                    )
                    yield (*keys, name, *where), message
