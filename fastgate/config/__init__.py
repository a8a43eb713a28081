"""The configuration: its keys, how it is read, and what is said when it is wrong."""

from fastgate.config.errors import ConfigError, Problem
from fastgate.config.read.gateway_config import GatewayConfig
from fastgate.config.schema.answers import Redirect, Respond
from fastgate.config.schema.api_keys import VirtualKey
from fastgate.config.schema.auth import Auth, AuthRule
from fastgate.config.schema.cache import Cache, CacheQuery
from fastgate.config.schema.concurrency import Adaptive, Concurrency
from fastgate.config.schema.cors import CORS
from fastgate.config.schema.gateway import TLS, AccessLog, Certificate, GatewayTable, Log
from fastgate.config.schema.header_edits import HeaderEdits
from fastgate.config.schema.ip import IP
from fastgate.config.schema.kinds import Duration, Secret, Size
from fastgate.config.schema.maintenance import Maintenance
from fastgate.config.schema.mirror import Mirror
from fastgate.config.schema.path_edits import Rewrite
from fastgate.config.schema.plugin_hooks import Plugin, PolicyUse
from fastgate.config.schema.rate_limit import RateLimit
from fastgate.config.schema.request_body import BodySchema
from fastgate.config.schema.retry import Hedge, Retry
from fastgate.config.schema.routes import Defaults, Route, Timeouts
from fastgate.config.schema.security_headers import SecurityHeaders
from fastgate.config.schema.split import Split
from fastgate.config.schema.state import CacheTable, State
from fastgate.config.schema.upstreams import (
    DNS,
    ActiveHealth,
    Breaker,
    Health,
    PassiveHealth,
    Pool,
    Target,
    Upstream,
    UpstreamTLS,
)
from fastgate.config.syntax.addresses import Address

__all__ = [
    "CORS",
    "DNS",
    "IP",
    "TLS",
    "AccessLog",
    "ActiveHealth",
    "Adaptive",
    "Address",
    "Auth",
    "AuthRule",
    "BodySchema",
    "Breaker",
    "CacheTable",
    "Certificate",
    "Concurrency",
    "ConfigError",
    "Defaults",
    "Duration",
    "GatewayConfig",
    "GatewayTable",
    "HeaderEdits",
    "Health",
    "Hedge",
    "Log",
    "Maintenance",
    "Mirror",
    "PassiveHealth",
    "Plugin",
    "PolicyUse",
    "Pool",
    "Problem",
    "RateLimit",
    "Redirect",
    "Respond",
    "Retry",
    "Rewrite",
    "Route",
    "Secret",
    "SecurityHeaders",
    "Size",
    "Split",
    "State",
    "Target",
    "Timeouts",
    "Upstream",
    "UpstreamTLS",
    "VirtualKey",
]
