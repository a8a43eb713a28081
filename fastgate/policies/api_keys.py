"""Keys of clients: ``[auth.key]`` and ``[gateway.keys]``, compiled into the method "key" of authentication."""

from fastgate._core.auth.api_key import KeyEntry, KeyMethod, KeyTable
from fastgate._core.exchange.identity import Identity
from fastgate.config import GatewayConfig, VirtualKey
from fastgate.config.syntax.units import parse_instant


def compile_api_keys(config: GatewayConfig) -> KeyMethod:
    """The method for every route that asks for keys; a key's own routes are asked about when it is used."""
    entries = [entry for name, key in config.gateway.keys.items() for entry in _entries(name, key)]
    where = config.auth.key
    return KeyMethod(KeyTable(entries), header=where.header, query=where.query, hide=where.hide)


def _entries(name: str, key: VirtualKey) -> list[tuple[bytes, KeyEntry]]:
    """The key's digest, and that of the secret before it: one client, whichever it uses."""
    identity = Identity(name, "key", claims={"tags": key.tags}, source=key)
    routes = key.routes or None
    expires = parse_instant(key.expires) if key.expires else None
    made = [(bytes.fromhex(key.hash), KeyEntry(identity, routes=routes, expires=expires, disabled=key.disabled))]
    if key.previous is not None:
        until = parse_instant(key.previous.expires)
        until = until if expires is None else min(until, expires)
        entry = KeyEntry(identity, routes=routes, expires=until, disabled=key.disabled)
        made.append((bytes.fromhex(key.previous.hash), entry))
    return made
