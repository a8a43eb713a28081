"""From a file or a dict to a configuration: parse, walk, apply defaults, cross-check, raise everything at once.

``root`` is `GatewayConfig`, which gives itself: it loads this module only when a configuration is read.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from fastgate.config.check.faults import find_faults
from fastgate.config.errors import ConfigError, PathKeys, Problem, render_path
from fastgate.config.read.walker import Reading, struct_reader
from fastgate.config.schema.plugin_hooks import Plugin
from fastgate.config.schema.root import Root
from fastgate.config.schema.routes import PolicyKeys, Route
from fastgate.config.schema.upstreams import Target, Upstream
from fastgate.config.syntax.documents import Document, read_document

Whole = TypeVar("Whole", bound=Root)


def load_dict(root: type[Whole], data: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> Whole:
    """See `GatewayConfig.from_dict`."""
    return load_document(root, Document(data=data), environ)


def load_file(
    root: type[Whole],
    path: str | os.PathLike[str],
    environ: Mapping[str, str] | None = None,
    *,
    allow_empty: bool = False,
) -> Whole:
    """See `GatewayConfig.from_file`."""
    return load_document(root, read_document(Path(path), allow_empty=allow_empty), environ)


def load_document(root: type[Whole], document: Document, environ: Mapping[str, str] | None = None) -> Whole:
    """The configuration of a parsed document. Raises `ConfigError`."""
    reading = Reading(root, os.environ if environ is None else environ, document.base)
    config = struct_reader(root).read(reading, document.data, ())
    if not isinstance(config, root):
        raise ConfigError(problems(document, reading))
    config = resolve(config, document.data)
    for keys, message in find_faults(config, document.data):
        reading.report(keys, message)
    if reading.problems:
        raise ConfigError(problems(document, reading))
    made: Whole = _with_installed_plugins(config)
    return made


def problems(document: Document, reading: Reading) -> list[Problem]:
    """What was found, in the order of the document's lines."""
    return locate(document, reading.problems)


def locate(document: Document, found: list[tuple[PathKeys, str]]) -> list[Problem]:
    """Findings with their lines, sorted by them; those without a line keep their order."""
    line_of: Callable[[PathKeys], int | None] = document.line_of if found else lambda keys: None
    made = [
        Problem(path=render_path(keys), message=message, line=line_of(keys), source=document.source)
        for keys, message in found
    ]
    return sorted(dict.fromkeys(made), key=lambda problem: problem.line or 0)


def resolve(config: Any, data: Mapping[str, Any]) -> Any:
    """The configuration with `[defaults]` applied to each route and the scheme of each target decided."""
    changes: dict[str, Any] = {}
    given = data.get("defaults")
    if isinstance(given, Mapping) and isinstance(config.routes, list) and isinstance(config.defaults, PolicyKeys):
        defaults = {name: getattr(config.defaults, name) for name in PolicyKeys.__struct_fields__ if name in given}
        if defaults:
            changes["routes"] = [
                _with_defaults(route, raw, defaults)
                for route, raw in zip(config.routes, data.get("routes", ()), strict=False)
            ]
    if isinstance(config.upstreams, dict):
        changes["upstreams"] = {name: _with_schemes(upstream) for name, upstream in config.upstreams.items()}
    return msgspec.structs.replace(config, **changes)


def _with_installed_plugins(config: Any) -> Any:
    """Installed plugins that routes use without naming them in `[[plugins]]` become entries there, without options."""
    named = {plugin.name for plugin in config.plugins}
    used = dict.fromkeys(policy.use for route in config.routes for policy in route.policies if policy.use not in named)
    added = [Plugin(name=name) for name in used]
    return msgspec.structs.replace(config, plugins=[*config.plugins, *added]) if added else config


def _with_defaults(route: Any, raw: Any, defaults: dict[str, Any]) -> Any:
    if not isinstance(route, Route):
        return route
    taken = {name: value for name, value in defaults.items() if name not in raw}
    return msgspec.structs.replace(route, **taken) if taken else route


def _with_schemes(upstream: Any) -> Any:
    """Targets that were written without a scheme follow the upstream's ``tls`` table."""
    if not isinstance(upstream, Upstream) or not isinstance(upstream.targets, list):
        return upstream
    secure = upstream.tls is not None
    targets = [_with_scheme(target, secure) for target in upstream.targets]
    return msgspec.structs.replace(upstream, targets=targets)


def _with_scheme(target: Any, secure: bool) -> Any:
    undecided = isinstance(target, Target) and getattr(target, "tls", False) is None
    return msgspec.structs.replace(target, tls=secure) if undecided else target
