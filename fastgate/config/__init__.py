"""The configuration: its keys, how it is read, and what is said when it is wrong."""

from fastgate.config.addresses import Address
from fastgate.config.errors import ConfigError, Problem
from fastgate.config.schema import (
    TLS,
    AccessLog,
    Certificate,
    Defaults,
    GatewayConfig,
    GatewayTable,
    HeaderEdits,
    Log,
    Plugin,
    PolicyUse,
    Pool,
    Rewrite,
    Route,
    Target,
    Timeouts,
    Upstream,
    UpstreamTLS,
)

__all__ = [
    "TLS",
    "AccessLog",
    "Address",
    "Certificate",
    "ConfigError",
    "Defaults",
    "GatewayConfig",
    "GatewayTable",
    "HeaderEdits",
    "Log",
    "Plugin",
    "PolicyUse",
    "Pool",
    "Problem",
    "Rewrite",
    "Route",
    "Target",
    "Timeouts",
    "Upstream",
    "UpstreamTLS",
]
