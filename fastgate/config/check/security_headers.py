"""What is said of security headers."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from fastgate.config.check.findings import Finding, policy_tables
from fastgate.config.errors import PathKeys
from fastgate.config.schema.root import Root
from fastgate.config.schema.security_headers import SecurityHeaders

YEAR = 31_536_000
"""The least max-age, in seconds, that the preload lists of browsers take."""


def security_header_warnings(config: Root, data: Mapping[str, Any]) -> Iterator[Finding]:
    """About security headers, each said once: where it is written."""
    for keys, table, raw in policy_tables(config, data):
        if "security_headers" in raw and table.security_headers is not None:
            yield from _hsts_warnings(table.security_headers, (*keys, "security_headers"))


def _hsts_warnings(headers: SecurityHeaders, keys: PathKeys) -> Iterator[Finding]:
    value = headers.strict_transport_security.lower()
    age = re.search(r"max-age=\"?([0-9]+)", value)
    if "preload" in value and ("includesubdomains" not in value or age is None or int(age[1]) < YEAR):
        yield (
            (*keys, "strict_transport_security"),
            f"preload needs includeSubDomains and a max-age of at least {YEAR}",
        )
