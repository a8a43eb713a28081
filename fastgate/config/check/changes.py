"""What a running gateway cannot take over from a new configuration, because it was settled when it started."""

import json
from typing import Any

from msgspec import Struct
from msgspec.structs import fields

from fastgate.config.errors import PathKeys, Problem, quote, render_path
from fastgate.config.schema.root import Root

SETTLED_AT_START: tuple[PathKeys, ...] = (
    ("gateway", "host"),
    ("gateway", "port"),
    ("gateway", "workers"),
    ("gateway", "backlog"),
    ("gateway", "socket_mode"),
    ("gateway", "proxy_protocol"),
    ("gateway", "tls", "min_version"),
    ("gateway", "tls", "client_ca"),
    ("gateway", "tls", "client_auth"),
    ("gateway", "log"),
    ("gateway", "access_log"),
    ("cache",),
    ("state",),
)
"""Keys and tables. A table among them, or above one of them, can also not be added or removed."""

_ABSENT = object()


def emptied(old: Root, new: Root) -> list[Problem]:
    """A problem where the old configuration serves something and the new one nothing.

    That is what a file says that is cut off before it is written, or a volume without its key.
    """
    if new.routes or not old.routes:
        return []
    count = f"{len(old.routes)} route{'' if len(old.routes) == 1 else 's'}"
    message = (
        f"the file has none, but the running configuration has {count}: every request would get 404. "
        "If you want this, use `fastgate reload --allow-empty`, or allow_empty=True in Python"
    )
    return [Problem(path="routes", message=message)]


def unchangeable(
    old: Root, new: Root, settled: tuple[PathKeys, ...] = SETTLED_AT_START
) -> list[Problem]:
    """One problem for each key below ``settled`` that differs."""
    found: dict[PathKeys, Problem] = {}
    for keys in settled:
        for problem_keys, message in _differences(old, new, keys):
            found.setdefault(problem_keys, Problem(path=render_path(problem_keys), message=message))
    return list(found.values())


def _differences(old: Any, new: Any, keys: PathKeys) -> list[tuple[PathKeys, str]]:
    for depth, key in enumerate(keys):
        old, new = (getattr(table, str(key), _ABSENT) for table in (old, new))
        if old is _ABSENT or new is _ABSENT:  # not a key of this version
            return []
        if (old is None) != (new is None):
            verb = "added" if old is None else "removed"
            return [(keys[: depth + 1], f"cannot be {verb} while the gateway runs; restart it")]
        if old is None:
            return []
    return _leaves(old, new, keys)


def _leaves(old: Any, new: Any, keys: PathKeys) -> list[tuple[PathKeys, str]]:
    if old == new:
        return []
    if isinstance(old, Struct) and type(old) is type(new):
        return [
            difference
            for field in fields(old)
            for difference in _leaves(getattr(old, field.name), getattr(new, field.name), (*keys, field.name))
        ]
    return [(keys, f"cannot change while the gateway runs; restart it to use {_spell(keys, new)}")]


def _spell(keys: PathKeys, value: Any) -> str:
    if isinstance(value, str):
        return quote(value)
    if keys[-1] == "socket_mode":
        return f'"{value:04o}"'
    return json.dumps(value, default=str, ensure_ascii=False)
