"""What no single key can know: names that refer to each other, and keys that only make sense together.

Runs over a configuration that may have `INVALID` in places (so its parts are `Any` here): every check looks at what it
can and is silent about the rest.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from fastgate.config.check.api_keys import key_faults
from fastgate.config.check.auth import auth_faults, identity_faults, method_faults
from fastgate.config.check.cache import cache_faults
from fastgate.config.check.findings import Finding, items, named, names_of
from fastgate.config.check.gateway import gateway_faults, request_id_faults
from fastgate.config.check.header_edits import proxy_faults, template_faults
from fastgate.config.check.plugin_hooks import plugin_faults, policy_faults
from fastgate.config.check.request_body import buffering_faults
from fastgate.config.check.request_key import limit_key_faults
from fastgate.config.check.routes import name_faults, slash_faults
from fastgate.config.check.upstreams import upstream_faults, upstream_name_faults
from fastgate.config.schema.header_edits import HeaderEdits
from fastgate.config.schema.routes import Route


def find_faults(config: Any, data: Mapping[str, Any]) -> Iterator[Finding]:
    """Every contradiction between keys; ``data`` is what the configuration was read from."""
    yield from gateway_faults(config)
    yield from method_faults(config, data)
    yield from request_id_faults(config)
    yield from upstream_faults(config)
    yield from key_faults(config, data)
    yield from name_faults(config.plugins, "plugins")
    yield from name_faults(config.routes, "routes")
    upstreams = set(names_of(data.get("upstreams"))) | set(names_of(config.upstreams))
    plugins = {plugin.name for plugin in items(config.plugins) if isinstance(plugin.name, str)}
    plugins.update(named(data.get("plugins")))
    yield from plugin_faults(config)
    yield from policy_faults(config.defaults, ("defaults",), plugins)
    yield from auth_faults(config.defaults, ("defaults",), config)
    if isinstance(config.defaults.request_headers, HeaderEdits):
        yield from proxy_faults(config.defaults.request_headers, ("defaults", "request_headers"))
    for number, route in enumerate(items(config.routes)):
        if isinstance(route, Route):
            keys = ("routes", number)
            yield from slash_faults(route, keys, config)
            yield from upstream_name_faults(route, keys, upstreams)
            yield from policy_faults(route, keys, plugins, config.defaults)
            yield from auth_faults(route, keys, config)
            yield from template_faults(route, keys, config.defaults)
            yield from limit_key_faults(route, keys, config.defaults, data)
            yield from identity_faults(route, keys, config.defaults)
            yield from buffering_faults(route, keys, config)
            yield from cache_faults(route, keys, config.defaults, data)
