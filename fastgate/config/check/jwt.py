"""What is said of JSON Web Tokens."""

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from fastgate.config.check.findings import Finding
from fastgate.config.errors import PathKeys
from fastgate.config.schema.root import Root


def jwt_warnings(config: Root, data: Mapping[str, Any]) -> Iterator[Finding]:
    """About keys that others could replace or read."""
    jwt = config.auth.jwt
    if jwt is not None:
        sets = [(("jwks",), jwt.jwks), *((("issuers", name, "jwks"), each.jwks) for name, each in jwt.issuers.items())]
        for where, url in sets:
            if url.startswith("http://") and not _is_local(urlsplit(url).hostname or ""):
                yield ("auth", "jwt", *where), "an attacker in the network can replace the keys: use https"
    written = data.get("auth")
    yield from _clear_secrets(("auth", "jwt"), written.get("jwt") if isinstance(written, Mapping) else None)


def _clear_secrets(keys: PathKeys, table: object) -> Iterator[Finding]:
    if not isinstance(table, Mapping):
        return
    secret = table.get("secret")
    if isinstance(secret, str) and "${" not in secret:
        yield (*keys, "secret"), 'contains a secret in clear text: use { env = "NAME" } or { file = "path" }'
    issuers = table.get("issuers")
    for name, each in issuers.items() if isinstance(issuers, Mapping) else ():
        yield from _clear_secrets((*keys, "issuers", name), each)


def _is_local(host: str) -> bool:
    """Whether a host is this machine, as far as its name tells."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
