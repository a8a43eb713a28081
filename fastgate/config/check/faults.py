"""What no single key can know: names that refer to each other, and keys that only make sense together.

Runs over a configuration that may have `INVALID` in places (so its parts are `Any` here): every check looks at what it
can and is silent about the rest.
"""

from collections.abc import Mapping
from typing import Any

from fastgate.config.check.api_keys import check_keys
from fastgate.config.check.auth import check_auth, check_identity, check_methods
from fastgate.config.check.findings import items, named, names_of
from fastgate.config.check.gateway import check_gateway, check_request_id
from fastgate.config.check.header_edits import check_proxy, check_templates
from fastgate.config.check.plugin_hooks import check_plugins, check_policies
from fastgate.config.check.request_body import check_buffering
from fastgate.config.check.request_key import check_limit_keys
from fastgate.config.check.routes import check_names, check_slashes
from fastgate.config.check.upstreams import check_upstream_names, check_upstreams
from fastgate.config.read.walker import Reading
from fastgate.config.schema.header_edits import HeaderEdits
from fastgate.config.schema.routes import Route


def cross_check(config: Any, data: Mapping[str, Any], reading: Reading) -> None:
    """Reports every contradiction between keys."""
    check_gateway(config, reading)
    check_methods(config, data, reading)
    check_request_id(config, reading)
    check_upstreams(config, reading)
    check_keys(config, data, reading)
    check_names(config.plugins, "plugins", reading)
    check_names(config.routes, "routes", reading)
    upstreams = set(names_of(data.get("upstreams"))) | set(names_of(config.upstreams))
    plugins = {plugin.name for plugin in items(config.plugins) if isinstance(plugin.name, str)}
    plugins.update(named(data.get("plugins")))
    check_plugins(config, reading)
    check_policies(config.defaults, ("defaults",), plugins, reading)
    check_auth(config.defaults, ("defaults",), config, reading)
    if isinstance(config.defaults.request_headers, HeaderEdits):
        check_proxy(config.defaults.request_headers, ("defaults", "request_headers"), reading)
    for number, route in enumerate(items(config.routes)):
        if isinstance(route, Route):
            keys = ("routes", number)
            check_slashes(route, keys, config, reading)
            check_upstream_names(route, keys, upstreams, reading)
            check_policies(route, keys, plugins, reading, config.defaults)
            check_auth(route, keys, config, reading)
            check_templates(route, keys, config.defaults, reading)
            check_limit_keys(route, keys, config.defaults, data, reading)
            check_identity(route, keys, config.defaults, reading)
            check_buffering(route, keys, config, reading)
