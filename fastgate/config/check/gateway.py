"""What is said of ``[gateway]``."""

import ipaddress
from collections.abc import Iterator
from typing import Any

from fastgate.config.check.findings import Finding, items
from fastgate.config.schema.root import Root
from fastgate.config.syntax.headers import variable_of


def gateway_warnings(config: Root) -> Iterator[Finding]:
    """About what a gateway believes, and what it takes without end."""
    gateway = config.gateway
    for number, network in enumerate(gateway.trusted_proxies):
        if not network.startswith("unix:") and ipaddress.ip_network(network).prefixlen == 0:
            yield (
                ("gateway", "trusted_proxies", number),
                f"{network} trusts every client: a client can claim any address",
            )
    if gateway.proxy_protocol and not gateway.trusted_proxies:
        yield ("gateway", "proxy_protocol"), "closes every connection, because trusted_proxies is empty"
    if gateway.max_body == 0:
        yield ("gateway", "max_body"), "0 lets clients send bodies of any size"
    if gateway.field_names == "pass":
        yield (
            ("gateway", "field_names"),
            "many applications cannot tell x_user and x.user from x-user, so clients may forge fields",
        )
    if not config.routes:
        yield ("routes",), "there are no routes: every request gets 404"


def request_id_faults(config: Any) -> Iterator[Finding]:
    """The field of the request id says nothing else."""
    name, auth = getattr(config.gateway, "request_id", None), config.auth
    if not isinstance(name, str) or not name:
        return
    claims = getattr(getattr(auth, "jwt", None), "claims_to_headers", None)
    forward = getattr(auth, "forward", None)
    for claim, header in claims.items() if isinstance(claims, dict) else ():
        if isinstance(header, str) and variable_of(header) == variable_of(name):
            yield ("auth", "jwt", "claims_to_headers", claim), f"{header} is the field of the request id"
    for number, header in enumerate(items(getattr(forward, "response_headers", None))):
        if isinstance(header, str) and variable_of(header) == variable_of(name):
            yield ("auth", "forward", "response_headers", number), f"{header} is the field of the request id"


def gateway_faults(config: Any) -> Iterator[Finding]:
    """Addresses that are there twice, and clients whose certificates nothing verifies."""
    gateway = config.gateway
    if isinstance(gateway.host, list) and isinstance(gateway.port, int):
        seen = set()
        for number, host in enumerate(gateway.host):
            if not isinstance(host, str):
                continue
            address = _parse_address(host, gateway.port)
            if address in seen and address.port != 0:
                yield ("gateway", "host", number), f"{address} is listed twice"
            seen.add(address)
    tls = gateway.tls
    if tls is not None:
        if tls.client_auth in ("optional", "required") and tls.client_ca == "":
            yield ("gateway", "tls", "client_ca"), f'is missing: client_auth = "{tls.client_auth}" needs it'
        if tls.client_auth == "none" and isinstance(tls.client_ca, str) and tls.client_ca:
            yield ("gateway", "tls", "client_auth"), 'must be "optional" or "required" for client_ca to be used'


def _parse_address(host: str, port: int) -> Any:
    from fastgate.config.syntax.addresses import parse_listen

    return parse_listen(host, port)
