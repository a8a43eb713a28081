"""What is allowed and suspicious, as far as no policy has a function for it."""

from collections.abc import Iterator, Mapping
from typing import Any

from fastgate.config.check.answers import answer_warnings
from fastgate.config.check.findings import Finding, policy_tables
from fastgate.config.check.gateway import gateway_warnings
from fastgate.config.check.header_edits import secrets_in_clear
from fastgate.config.check.retry import retry_warnings
from fastgate.config.check.routes import host_warnings, unreachable_routes
from fastgate.config.check.upstreams import upstreams_warnings
from fastgate.config.schema.root import Root
from fastgate.config.schema.table import Table


def general_warnings(config: Root, data: Mapping[str, Any]) -> list[Finding]:
    """Those about a valid configuration that no row of the policies names; ``data`` is what it was read from."""
    return [
        *gateway_warnings(config),
        *host_warnings(config),
        *answer_warnings(config, data),
        *retry_warnings(config, data),
        *upstreams_warnings(config),
        *unreachable_routes(config.routes),
        *secrets_in_clear(data),
        *_table_warnings(config, data),
    ]


def _table_warnings(config: Root, data: Mapping[str, Any]) -> Iterator[Finding]:
    """What the tables of routes say of themselves, each once: where it is written."""
    for keys, table, raw in policy_tables(config, data):
        for key in raw:
            value = getattr(table, key, None)
            for path, message in value.warnings() if isinstance(value, Table) else ():
                yield (*keys, key, *path), message
