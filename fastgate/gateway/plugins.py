"""Finding, constructing and ending plugins: the ``[[plugins]]`` entries of a configuration."""

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Mapping, Sequence
from importlib import import_module
from inspect import iscoroutinefunction
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from msgspec import Struct

from fastgate.config import Plugin, Problem
from fastgate.config.errors import render_path
from fastgate.config.read.options import OptionsError, read_options
from fastgate.config.suggest import did_you_mean, nearest
from fastgate.gateway.policy import HOOKS, STREAM_HOOKS, Policy

if TYPE_CHECKING:
    from fastgate.gateway.gateway import Gateway

_log = logging.getLogger("fastgate.plugins")

ENTRY_POINTS = "fastgate.policies"
SLOW_START = 5.0  # seconds of on_startup after which the log says whom it waits for
SLOW = "plugin %s: on_startup has not returned after %g s; the worker serves nothing until it returns"


class Plugins:
    """The policy objects of a configuration, one for each entry of ``[[plugins]]``.

    On a reload an entry that has not changed keeps its object (`renewed`), and with it what that has gathered; its
    budget is no part of that. ``given`` are objects, by name, that stand in for what entries of these names say.
    """

    def __init__(self, given: Mapping[str, Policy] | None = None) -> None:
        self.policies: dict[str, Policy] = {}
        """By the names that routes use."""
        self._given = dict(given or {})
        self._made: dict[str, tuple[str, dict[str, Any]]] = {}  # where the class is, and the options
        self._started: list[Policy] = []

    def renewed(self, entries: Sequence[Plugin], problems: list[Problem]) -> "Plugins":
        """The plugins of another configuration: the objects of unchanged entries, and new ones for the others.

        What is wrong with an entry is added to the problems, and a policy that does nothing stands in its place.
        """
        made = Plugins(self._given)
        for index, plugin in enumerate(entries):
            name = plugin.name
            made._made[name] = (plugin.use, plugin.options)
            if name in self._given:
                made.policies[name] = self._given[name]
            elif self._made.get(name) == made._made[name]:
                made.policies[name] = self.policies[name]
            else:
                try:
                    kind = find_class(plugin)
                    made.policies[name] = kind(given_options(kind, plugin.options))
                except (Exception, SystemExit) as error:  # a plugin's module and constructor may raise anything
                    made.policies[name] = Policy({})
                    problems += _said(index, plugin, error)
        kept = {id(policy) for policy in made.policies.values()}
        made._started = [policy for policy in self._started if id(policy) in kept]
        return made

    def outlined(self, entries: Sequence[Plugin], problems: list[Problem]) -> "Plugins":
        """As `renewed`, but nothing is constructed: objects that have the hooks of their class and nothing else."""
        made = Plugins(self._given)
        for index, plugin in enumerate(entries):
            try:
                kind = find_class(plugin)
                given_options(kind, plugin.options)
                made.policies[plugin.name] = _outline(kind)
            except (Exception, SystemExit) as error:
                made.policies[plugin.name] = Policy({})
                problems += _said(index, plugin, error)
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
            slow = loop.call_later(SLOW_START, _log.warning, SLOW, name, SLOW_START)
            try:
                await _awaited(policy.on_startup(gateway))
            except BaseException as error:
                await shut_down(begun, gateway)
                if isinstance(error, (asyncio.CancelledError, KeyboardInterrupt)):
                    raise
                _log.debug("plugin %s: on_startup raised", name, exc_info=error)
                raise PluginError(f"plugin {name}: on_startup raised {describe(error)}") from error
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


def given_options(kind: type[Policy], options: Mapping[str, Any]) -> Any:
    """What the constructor is given. Raises OptionsError, or PluginError where the class itself is wrong."""
    declared = getattr(kind, "Options", None)
    if declared is None:
        return dict(options)
    if not isinstance(declared, type) or not issubclass(declared, Struct):
        raise PluginError(f"{kind.__name__}.Options must be a class derived from msgspec.Struct")
    return read_options(declared, options)


def _outline(kind: type[Policy]) -> Policy:
    """An object of a class that was never constructed; where even that cannot be, one that does nothing."""
    try:
        made: Policy = object.__new__(kind)
    except TypeError:
        return Policy({})
    return made


class PluginError(Exception):
    """A plugin cannot be used; the message says which and why."""


def _said(index: int, plugin: Plugin, error: BaseException) -> list[Problem]:
    """What is wrong with an entry, one line each."""
    if isinstance(error, OptionsError):
        return [
            Problem(render_path(("plugins", index, "options", *keys)), message) for keys, message in error.found
        ]
    text = " ".join(str(error).split())
    known = isinstance(error, (ValueError, PluginError)) and text
    return [Problem(render_path(("plugins", index)), f"{plugin.name}: {text if known else describe(error)}")]


def describe(error: BaseException) -> str:
    """What was raised, and where: the line that its author has to look at."""
    if isinstance(error, SyntaxError) and error.filename:  # the import failed there, in a file that never ran
        return f"{type(error).__name__}: {error.msg} ({Path(error.filename).name}:{error.lineno})"
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}{f': {text}' if text else ''}{place}"


def find_class(plugin: Plugin) -> type[Policy]:
    """The class of a plugin. Raises PluginError, or whatever its module raises."""
    kind = _find(plugin)
    if not _is_policy(kind):
        raise PluginError(f"{plugin.use or plugin.name} is not a class derived from fastgate.Policy")
    check_class(kind)
    return kind


def check_class(kind: type[Policy]) -> None:
    """Raises PluginError for a class whose hooks could not be called as it means them."""
    if kind.body not in ("none", "peek", "full"):
        raise PluginError(f'body must be "none", "peek" or "full", not {kind.body!r}')
    for hook in STREAM_HOOKS:
        if iscoroutinefunction(getattr(kind, hook, None)):
            raise PluginError(f"{hook} cannot be async: it is called while the body streams")
    for name in dir(kind):
        # A hook that is spelled wrong is never called, and what it should have refused gets in.
        meant = nearest(name, HOOKS, 0.85) if name.startswith("on_") and name not in HOOKS else None
        if meant:
            raise PluginError(f'{kind.__name__}.{name} is not a valid hook, did you mean "{meant}"?')


def _is_policy(value: object) -> TypeGuard[type[Policy]]:
    return isinstance(value, type) and hasattr(value, "body")


def _find(plugin: Plugin) -> object:
    if plugin.use:
        module_name, _, attribute = plugin.use.partition(":")
        try:
            module = import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name is not None and (module_name == error.name or module_name.startswith(error.name + ".")):
                raise PluginError(f'cannot find module "{error.name}" on the import path') from None
            raise
        try:
            return getattr(module, attribute)
        except AttributeError:
            others = [name for name, value in vars(module).items() if _is_policy(value) and value is not Policy]
            hint = did_you_mean(attribute, others) or (f"; its policies are {', '.join(others)}" if others else "")
            raise PluginError(f'module "{module_name}" has no "{attribute}"{hint}') from None
    from importlib.metadata import entry_points  # 10 ms, and most gateways name their plugins

    found = [entry for entry in entry_points(group=ENTRY_POINTS) if entry.name == plugin.name]
    if not found:
        raise PluginError(
            f'no installed package has an entry point of this name in the group "{ENTRY_POINTS}"; '
            'set "use" to the module and class of the policy'
        )
    return found[0].load()


async def _awaited(begun: Awaitable[None] | None) -> None:
    """The end of a hook that may be plain, as others may."""
    if begun is not None:
        await begun


async def shut_down(policies: Sequence[Policy], gateway: "Gateway") -> None:
    """Calls ``on_shutdown`` of each in reverse order; what one raises is logged and the others go on."""
    for policy in reversed(policies):
        try:
            await _awaited(policy.on_shutdown(gateway))
        except (Exception, SystemExit):
            _log.exception("%s.on_shutdown raised", type(policy).__qualname__)
