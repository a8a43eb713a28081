"""Finding, constructing and ending plugins: the ``[[plugins]]`` entries of a configuration."""

import asyncio
import logging
import traceback
from collections.abc import Mapping, Sequence
from importlib import import_module
from inspect import iscoroutinefunction
from pathlib import Path
from typing import TYPE_CHECKING

from fastgate.config import ConfigError, Plugin, Problem
from fastgate.gateway.policy import STREAM_HOOKS, Policy

if TYPE_CHECKING:
    from fastgate.gateway.gateway import Gateway

_log = logging.getLogger("fastgate.plugins")

ENTRY_POINTS = "fastgate.policies"
SLOW_START = 5.0  # seconds of on_startup after which the log says whom it waits for


class Plugins:
    """The policy objects of a configuration, one for each entry of ``[[plugins]]``.

    On a reload an entry that has not changed keeps its object (`renewed`), and with it what that has gathered.
    """

    def __init__(self, entries: Sequence[Plugin] = (), policies: Mapping[str, Policy] | None = None) -> None:
        self._entries = {plugin.name: plugin for plugin in entries}
        self.policies: dict[str, Policy] = dict(policies or {})
        """By the names that routes use."""
        self._started: list[Policy] = []

    @classmethod
    def load(cls, entries: Sequence[Plugin]) -> "Plugins":
        """Constructs a policy for each entry. Raises ConfigError with every entry that cannot be used."""
        return cls().renewed(entries)

    def renewed(self, entries: Sequence[Plugin]) -> "Plugins":
        """The plugins of another configuration: the objects of unchanged entries, and new ones for the others.

        Raises ConfigError with every entry that cannot be used.
        """
        made = Plugins(entries)
        problems: list[Problem] = []
        for index, plugin in enumerate(entries):
            if self._entries.get(plugin.name) == plugin:
                made.policies[plugin.name] = self.policies[plugin.name]
                continue
            try:
                made.policies[plugin.name] = find_class(plugin)(dict(plugin.options))
            except (Exception, SystemExit) as error:  # a plugin's module and constructor may raise anything
                problems.append(Problem(f"plugins[{index}]", _said(plugin, error)))
        if problems:
            raise ConfigError(problems)
        kept = {id(policy) for policy in made.policies.values()}
        made._started = [policy for policy in self._started if id(policy) in kept]
        return made

    async def start(self, gateway: "Gateway") -> None:
        """Calls ``on_startup`` of each that does not run yet, in order, and says when one takes long.

        When one raises, those before it are shut down and PluginError is raised.
        """
        loop = asyncio.get_running_loop()
        running = {id(policy) for policy in self._started}
        begun: list[Policy] = []
        for name, policy in self.policies.items():
            if id(policy) in running:
                continue
            slow = loop.call_later(SLOW_START, _log.warning, "plugin %s: on_startup is not done yet", name)
            try:
                await policy.on_startup(gateway)
            except BaseException as error:
                await shut_down(begun, gateway)
                if isinstance(error, Exception):
                    _log.error("plugin %s: on_startup raised", name, exc_info=error)
                    raise PluginError(f"plugin {name}: on_startup raised {describe(error)}") from error
                raise
            finally:
                slow.cancel()
            begun.append(policy)
        self._started += begun

    async def stop(self, gateway: "Gateway", *, but: "Plugins | None" = None) -> None:
        """Calls ``on_shutdown`` of each that runs, in reverse order, except those that ``but`` still uses."""
        kept = {id(policy) for policy in but.policies.values()} if but is not None else set()
        ended, self._started = [policy for policy in self._started if id(policy) not in kept], []
        await shut_down(ended, gateway)

    def give_way(self, successor: "Plugins") -> list[Policy]:
        """Those that run and that the successor, which has started, does not use: the caller shuts them down."""
        kept = {id(policy) for policy in successor.policies.values()}
        ended, self._started = [policy for policy in self._started if id(policy) not in kept], []
        return ended


def find_problems(plugins: Sequence[Plugin]) -> list[tuple[int, str]]:
    """What keeps plugins from being found, by position: modules are imported, nothing is constructed."""
    problems = []
    for index, plugin in enumerate(plugins):
        try:
            find_class(plugin)
        except (Exception, SystemExit) as error:
            problems.append((index, _said(plugin, error)))
    return problems


class PluginError(Exception):
    """A plugin cannot be used; the message says which and why."""


def _said(plugin: Plugin, error: BaseException) -> str:
    return f"{plugin.name}: {error if isinstance(error, (ValueError, PluginError)) else describe(error)}"


def describe(error: BaseException) -> str:
    """What was raised, and where: the line that its author has to look at."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{place}"


def find_class(plugin: Plugin) -> type[Policy]:
    """The class of a plugin. Raises PluginError, or whatever its module raises."""
    kind = _find(plugin)
    if not isinstance(kind, type) or not hasattr(kind, "body"):
        raise PluginError(f"{plugin.use or plugin.name} is not a class derived from fastgate.Policy")
    if kind.body not in ("none", "peek", "full"):
        raise PluginError(f'body must be "none", "peek" or "full", not {kind.body!r}')
    for hook in STREAM_HOOKS:
        if iscoroutinefunction(getattr(kind, hook, None)):
            raise PluginError(f"{hook} cannot be async: it is called while the body streams")
    policy: type[Policy] = kind
    return policy


def _find(plugin: Plugin) -> object:
    if plugin.use:
        module_name, _, attribute = plugin.use.partition(":")
        try:
            module = import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name is not None and (module_name == error.name or module_name.startswith(error.name + ".")):
                raise PluginError(f'there is no module "{error.name}" on the import path') from None
            raise
        try:
            return getattr(module, attribute)
        except AttributeError:
            raise PluginError(f'module "{module_name}" has no "{attribute}"') from None
    from importlib.metadata import entry_points  # 10 ms, and most gateways name their plugins

    found = [entry for entry in entry_points(group=ENTRY_POINTS) if entry.name == plugin.name]
    if not found:
        raise PluginError(
            f'no installed package offers a policy of this name (entry-point group "{ENTRY_POINTS}"); '
            'say where it is with "use"'
        )
    return found[0].load()


async def shut_down(policies: Sequence[Policy], gateway: "Gateway") -> None:
    """Calls ``on_shutdown`` of each in reverse order; what one raises is logged and the others go on."""
    for policy in reversed(policies):
        try:
            await policy.on_shutdown(gateway)
        except Exception:
            _log.exception("%s.on_shutdown raised", type(policy).__qualname__)
