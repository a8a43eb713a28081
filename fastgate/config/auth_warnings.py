"""What is allowed and suspicious about ways to find out who asks."""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from fastgate.config.auth import METHODS
from fastgate.config.basic import read_users
from fastgate.config.errors import PathKeys
from fastgate.config.schema import GatewayConfig
from fastgate.config.traffic_warnings import Finding


def auth_warnings(config: GatewayConfig, data: Mapping[str, Any]) -> Iterator[Finding]:
    """Ways in that no route asks for, so that all are open, and what others could find out or change."""
    asked = {name for route in config.routes if route.auth and not route.public for name in route.auth.names()}
    written = data.get("auth")
    for name in METHODS:
        if isinstance(written, Mapping) and name in written and name not in asked:
            yield ("auth", name), _unused(name)
    if config.gateway.keys and "key" not in asked:
        yield ("gateway", "keys"), _unused("key")
    if config.auth.basic is not None:
        users, _ = read_users(config.auth.basic)
        if len({stored[4:6] for stored in users.values()}) > 1:
            yield ("auth", "basic"), "hashes have different costs: by the time of an answer names can be found out"
    if config.auth.jwt is not None:
        table = written.get("jwt") if isinstance(written, Mapping) else None
        yield from _issuer_warnings(("auth", "jwt"), table)
        for name, each in config.auth.jwt.trusted().items():
            where: PathKeys = ("auth", "jwt", "issuers", name) if name else ("auth", "jwt")
            parts = urlsplit(each.jwks)
            if parts.scheme == "http" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
                yield (*where, "jwks"), "keys that come over http can be replaced on their way: use https"


def _unused(name: str) -> str:
    return f'no route asks for it, so that it keeps nobody out: a route does with auth = {{ any = ["{name}"] }}'


def _issuer_warnings(keys: PathKeys, table: Any) -> Iterator[Finding]:
    if not isinstance(table, Mapping):
        return
    secret = table.get("secret")
    if isinstance(secret, str) and "${" not in secret:
        yield (*keys, "secret"), 'a secret in clear: use { env = "NAME" } or { file = "path" }'
    issuers = table.get("issuers")
    for name, each in issuers.items() if isinstance(issuers, Mapping) else ():
        yield from _issuer_warnings((*keys, "issuers", name), each)
