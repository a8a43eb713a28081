"""What is allowed and suspicious in rules of CORS and in security headers."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from fastgate.config.browser import CORS, SECURITY_HEADERS, SecurityHeaders
from fastgate.config.errors import PathKeys, quote
from fastgate.config.routes import PolicyKeys
from fastgate.config.schema import GatewayConfig, Route
from fastgate.config.traffic_warnings import Finding, policy_tables

YEAR = 31_536_000
"""The least max-age, in seconds, that the preload lists of browsers take."""

_ESCAPED = re.compile(r"\\.|\[[^]]*\]")
_ANY_CHARACTER = re.compile(r"\.(?![*+?{])")


def cors_warnings(config: GatewayConfig, data: Mapping[str, Any]) -> Iterator[Finding]:
    """About rules of CORS, each said once: where it is written."""
    for keys, table, raw in policy_tables(config, data):
        if "cors" in raw and table.cors is not None:
            yield from _cors_warnings(table.cors, table, (*keys, "cors"))


def security_header_warnings(config: GatewayConfig, data: Mapping[str, Any]) -> Iterator[Finding]:
    """About security headers, each said once: where it is written."""
    for keys, table, raw in policy_tables(config, data):
        if "security_headers" in raw and table.security_headers is not None:
            yield from _hsts_warnings(table.security_headers, (*keys, "security_headers"))


def header_edit_warnings(config: GatewayConfig, data: Mapping[str, Any]) -> Iterator[Finding]:
    """About edits of fields that another policy sends, each said once: where it is written."""
    for keys, table, raw in policy_tables(config, data):
        if "response_headers" in raw:
            yield from _edit_warnings(table, (*keys, "response_headers"))


def _cors_warnings(cors: CORS, table: PolicyKeys, keys: PathKeys) -> Iterator[Finding]:
    if cors.opaque_with_credentials():
        yield (*keys, "origins"), 'any site can make a page whose origin is "null", and it would get users\' data'
    for number, origin in enumerate(cors.origins):
        if origin.startswith("~") and _ANY_CHARACTER.search(_ESCAPED.sub("", origin)):
            yield (
                (*keys, "origins", number),
                'a "." stands for any character, also in names that others can register: write "[.]"',
            )
    if isinstance(table, Route) and table.methods:
        taken = {*table.methods, *(["HEAD"] if "GET" in table.methods else [])}
        others = [method for method in cors.methods if method != "*" and method not in taken]
        if others:
            yield (*keys, "methods"), f"the route does not take {', '.join(others)}"


def _hsts_warnings(headers: SecurityHeaders, keys: PathKeys) -> Iterator[Finding]:
    value = headers.strict_transport_security.lower()
    age = re.search(r"max-age=\"?([0-9]+)", value)
    if "preload" in value and ("includesubdomains" not in value or age is None or int(age[1]) < YEAR):
        yield (
            (*keys, "strict_transport_security"),
            f"preload needs includeSubDomains and a max-age of at least {YEAR}",
        )


def _edit_warnings(table: PolicyKeys, keys: PathKeys) -> Iterator[Finding]:
    edits = table.response_headers
    if edits is None:
        return
    owned: dict[str, str] = {}
    headers = table.security_headers
    if headers is not None and headers.override:
        owned = {SECURITY_HEADERS[key].lower(): "security_headers" for key in SECURITY_HEADERS if getattr(headers, key)}
    for action in ("set", "add"):
        for name in getattr(edits, action):
            lower = name.lower()
            by = "cors" if table.cors is not None and lower.startswith("access-control-") else owned.get(lower)
            if by:
                yield (*keys, action, name), f"is never sent: {quote(by)} says it"
