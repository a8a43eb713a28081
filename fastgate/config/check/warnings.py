"""What is allowed and suspicious, as far as it belongs to no policy."""

from collections.abc import Mapping
from typing import Any

from fastgate.config.check.answers import answer_warnings
from fastgate.config.check.findings import Finding
from fastgate.config.check.gateway import gateway_warnings
from fastgate.config.check.header_edits import secrets_in_clear
from fastgate.config.check.retry import retry_warnings
from fastgate.config.check.routes import host_warnings, unreachable_routes
from fastgate.config.check.upstreams import upstreams_warnings
from fastgate.config.schema.root import Root


def general_warnings(config: Root, data: Mapping[str, Any]) -> list[Finding]:
    """Those about a valid configuration that belong to no policy; ``data`` is what it was read from."""
    return [
        *gateway_warnings(config),
        *host_warnings(config),
        *answer_warnings(config, data),
        *retry_warnings(config, data),
        *upstreams_warnings(config),
        *unreachable_routes(config.routes),
        *secrets_in_clear(data),
    ]
