"""What is said of plugins and of the routes that use them."""

from collections.abc import Iterator, Mapping
from typing import Any

from fastgate.config.check.findings import Finding, items
from fastgate.config.check.path_edits import rewrite_faults
from fastgate.config.errors import PathKeys, quote
from fastgate.config.schema.plugin_hooks import Plugin, PolicyUse
from fastgate.config.schema.root import Root
from fastgate.config.schema.routes import PolicyKeys
from fastgate.config.suggest import did_you_mean


def plugin_warnings(config: Root, data: Mapping[str, Any]) -> Iterator[Finding]:
    """Plugins without a route."""
    used = {policy.use for route in config.routes for policy in route.policies}
    for number, plugin in enumerate(config.plugins):
        if plugin.name not in used:
            yield ("plugins", number), f"no route uses the plugin {quote(plugin.name)}"


def plugin_faults(config: Any) -> Iterator[Finding]:
    """A plugin without a class is installed."""
    for number, plugin in enumerate(items(config.plugins)):
        if isinstance(plugin, Plugin) and plugin.use == "" and isinstance(plugin.name, str):
            installed = installed_plugins()
            if plugin.name not in installed:
                hint = did_you_mean(plugin.name, installed)
                missing = f"is missing, and no installed package has a plugin {quote(plugin.name)}{hint}"
                yield ("plugins", number, "use"), missing


def policy_faults(table: Any, keys: PathKeys, known: set[str], defaults: Any = None) -> Iterator[Finding]:
    """Plugins and rewrites of one table; what a route took from `[defaults]` has been looked at there."""
    if defaults is None or table.policies is not defaults.policies:
        for number, policy in enumerate(items(table.policies)):
            name = getattr(policy, "use", None)
            if isinstance(policy, PolicyUse) and isinstance(name, str) and name not in known:
                installed = installed_plugins()
                if name not in installed:
                    built_in = name.replace("-", "_") in PolicyKeys.__struct_fields__
                    hint = f"; it is built in: use the key {name.replace('-', '_')} of the route" if built_in else ""
                    hint = hint or did_you_mean(name, known | installed) or "; list it in [[plugins]]"
                    yield (*keys, "policies", number, "use"), f"unknown plugin {quote(name)}{hint}"
    rewrite = table.rewrite
    if rewrite is not None and (defaults is None or rewrite is not defaults.rewrite):
        yield from rewrite_faults(
            getattr(rewrite, "pattern", None), getattr(rewrite, "to", None), (*keys, "rewrite", "to")
        )


def installed_plugins() -> set[str]:
    """Names in the entry-point group of installed packages. Their code is not imported."""
    from importlib.metadata import entry_points

    return {entry.name for entry in entry_points(group="fastgate.policies")}
