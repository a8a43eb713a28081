"""What a check gives, and how it looks at a configuration."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fastgate.config.errors import PathKeys
from fastgate.config.schema.root import Root
from fastgate.config.schema.routes import PolicyKeys

Finding = tuple[PathKeys, str]


def policy_tables(
    config: Root, data: Mapping[str, Any]
) -> Iterator[tuple[PathKeys, PolicyKeys, Mapping[str, Any]]]:
    """`[defaults]` and the routes, each as it was read and as it is written."""
    if isinstance(data.get("defaults"), Mapping):
        yield ("defaults",), config.defaults, data["defaults"]
    for number, (route, raw) in enumerate(zip(config.routes, data.get("routes", ()), strict=False)):
        yield ("routes", number), route, raw


def items(value: object) -> list[Any]:
    """The list, or an empty one where there is none."""
    return value if isinstance(value, list) else []


def names_of(value: object) -> Iterable[str]:
    """The keys of a table that are names."""
    return [name for name in value if isinstance(name, str)] if isinstance(value, Mapping) else []


def named(value: object) -> Iterable[str]:
    """The names of the tables in a list."""
    for entry in items(value):
        if isinstance(entry, Mapping) and isinstance(entry.get("name"), str):
            yield entry["name"]


def is_list(data: Any, keys: PathKeys) -> bool:
    """Whether a key was written as a list, where a single value may stand without its brackets."""
    for key in keys:
        try:
            data = data[key]
        except (KeyError, IndexError, TypeError):
            return False
    return isinstance(data, list | tuple)
