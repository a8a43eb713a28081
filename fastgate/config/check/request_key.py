"""What is said of what limits count by."""

from collections.abc import Iterator, Mapping
from typing import Any

from fastgate.config.check.findings import Finding, is_list, items
from fastgate.config.check.routes import parameter_faults
from fastgate.config.errors import PathKeys
from fastgate.config.syntax.patterns import path_parameters
from fastgate.config.syntax.request_key import parse_limit_key

CHOSEN = ("header", "cookie")
"""Kinds of keys that a client can send anything in."""

SHARED = ("route", "global")
"""Kinds of keys that many clients have in common."""


def limit_key_faults(route: Any, keys: PathKeys, defaults: Any, data: Mapping[str, Any]) -> Iterator[Finding]:
    """``param:NAME`` in the key of a limit must be a parameter of this route's path."""
    if not isinstance(route.path, str):
        return
    for name in ("rate_limit", "concurrency"):
        value = getattr(route, name)
        inherited = value is getattr(defaults, name)
        table = ("defaults",) if inherited else keys
        limits = value if isinstance(value, list) else [value] if value else []
        for number, limit in enumerate(limits):
            place = (*table, name, number) if is_list(data, (*table, name)) else (*table, name)
            for position, key in enumerate(items(limit.key)):
                if isinstance(key, str) and key.startswith("param:"):
                    here = (*place, "key", position) if is_list(data, (*place, "key")) else (*place, "key")
                    known = path_parameters(route.path)
                    yield from parameter_faults(f'"{key}"', parse_limit_key(key).name, known, route, here, inherited)
