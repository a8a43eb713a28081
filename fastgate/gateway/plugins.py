"""Finding, constructing and ending plugins: the ``[[plugins]]`` entries of a configuration."""

import logging
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from fastgate.config import ConfigError, Plugin, Problem
from fastgate.gateway.policy import Policy

if TYPE_CHECKING:
    from fastgate.gateway.gateway import Gateway

_log = logging.getLogger("fastgate.plugins")

ENTRY_POINTS = "fastgate.policies"


def load_plugins(plugins: Sequence[Plugin]) -> dict[str, Policy]:
    """One policy object for each entry, by name. Raises ConfigError with every entry that cannot be used."""
    loaded: dict[str, Policy] = {}
    problems: list[Problem] = []
    for index, plugin in enumerate(plugins):
        try:
            loaded[plugin.name] = _construct(plugin)
        except Exception as error:  # noqa: BLE001 - a plugin's module and constructor may raise anything
            text = str(error) if isinstance(error, (ValueError, _PluginError)) else f"{type(error).__name__}: {error}"
            problems.append(Problem(f"plugins[{index}]", f"{plugin.name}: {text}"))
    if problems:
        raise ConfigError(problems)
    return loaded


class _PluginError(Exception):
    pass


def _construct(plugin: Plugin) -> Policy:
    kind = _find(plugin)
    if not isinstance(kind, type) or not hasattr(kind, "body"):
        raise _PluginError(f"{plugin.use or plugin.name} is not a class derived from fastgate.Policy")
    if kind.body not in ("none", "peek", "full"):
        raise _PluginError(f'body must be "none", "peek" or "full", not {kind.body!r}')
    policy: Policy = kind(dict(plugin.options))
    return policy


def _find(plugin: Plugin) -> object:
    if plugin.use:
        module_name, _, attribute = plugin.use.partition(":")
        try:
            module = import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name is not None and (module_name == error.name or module_name.startswith(error.name + ".")):
                raise _PluginError(f'there is no module "{error.name}" on the import path') from None
            raise
        try:
            return getattr(module, attribute)
        except AttributeError:
            raise _PluginError(f'module "{module_name}" has no "{attribute}"') from None
    found = [entry for entry in entry_points(group=ENTRY_POINTS) if entry.name == plugin.name]
    if not found:
        raise _PluginError(f'no installed package offers a policy of this name (entry-point group "{ENTRY_POINTS}"); say where it is with "use"')
    return found[0].load()


async def start_plugins(policies: Sequence[Policy], gateway: "Gateway") -> None:
    """Calls ``on_startup`` of each in order. When one raises, those before it are shut down and the error goes on."""
    for index, policy in enumerate(policies):
        try:
            await policy.on_startup(gateway)
        except BaseException:
            await stop_plugins(policies[:index], gateway)
            raise


async def stop_plugins(policies: Sequence[Policy], gateway: "Gateway") -> None:
    """Calls ``on_shutdown`` of each in reverse order; what one raises is logged and the others go on."""
    for policy in reversed(policies):
        try:
            await policy.on_shutdown(gateway)
        except Exception:
            _log.exception("%s.on_shutdown raised", type(policy).__qualname__)
