"""What is said about a key that does not exist: what it was meant to be, or where it belongs."""

import functools
from collections.abc import Iterator
from typing import Any

from msgspec import inspect

from fastgate.config.suggest import nearest


def unknown_key(cls: type, name: object) -> tuple[str, str | None]:
    """The message for a key that the table does not have, and the key of that table that was probably meant."""
    if not isinstance(name, str):
        return f"the key {name!r} is not a string (write it in quotes)", None
    keys = table_keys(cls)
    own = [key for key, _ in keys]
    meant = next((key for key, also in keys if name.lower() in also), None)
    meant = meant or nearest(name, own, 0.75)
    if not meant:
        others = [(place, [key for key, _ in table_keys(table)]) for place, table in tables() if table is not cls]
        places = [place for place, names in others if name in names]
        if places:
            return f'unknown key here, "{name}" belongs {" or ".join(dict.fromkeys(places))}', None
        meant = nearest(name, own)
        for place, names in others:
            better = nearest(name, names, 0.75)
            if better:
                return f'unknown key, did you mean "{better}" {place}?', None
    if meant:
        return f'unknown key, did you mean "{meant}"?', meant
    if len(own) <= 8:
        return f"unknown key, known are {', '.join(own)}", None
    return "unknown key", None


@functools.cache
def table_keys(cls: type) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The keys of a table that can be written, each with the names that others use for it."""
    return tuple(
        (field.encode_name, tuple(marks(field.type).get("also", ())))
        for field in struct_fields(cls)
        if not marks(field.type).get("internal")
    )


@functools.cache
def tables() -> tuple[tuple[str, type], ...]:
    """Every table of the schema with its heading, outermost first."""
    from fastgate.config.schema import GatewayConfig

    return tuple(_walk("", GatewayConfig, False))


def _walk(path: str, cls: type, listed: bool) -> Iterator[tuple[str, type]]:
    heading = f"in [[{path}]]" if listed else f"in [{path}]" if path else "at the top level"
    yield heading, cls
    for field in struct_fields(cls):
        for kind, is_list, is_map in struct_types(field.type):
            inner = f"{path}.{field.encode_name}" if path else field.encode_name
            yield from _walk(inner + (".NAME" if is_map else ""), kind.cls, is_list and not path)


def struct_types(
    kind: inspect.Type, is_list: bool = False, is_map: bool = False
) -> Iterator[tuple[inspect.StructType, bool, bool]]:
    """The tables in a type, each with whether it stands in a list and in a map."""
    match kind:
        case inspect.Metadata():
            yield from struct_types(kind.type, is_list, is_map)
        case inspect.UnionType():
            for member in kind.types:
                yield from struct_types(member, is_list, is_map)
        case inspect.ListType():
            yield from struct_types(kind.item_type, True, is_map)
        case inspect.DictType():
            yield from struct_types(kind.value_type, is_list, True)
        case inspect.StructType():
            yield kind, is_list, is_map


def struct_fields(cls: type) -> tuple[inspect.Field, ...]:
    """The keys of a table as `msgspec.inspect` describes them, filled-in ones included."""
    if cls not in _described:
        info = inspect.type_info(cls)
        assert isinstance(info, inspect.StructType)
        _keep(info)
    return _described[cls]


_described: dict[type, tuple[inspect.Field, ...]] = {}


def _keep(info: inspect.StructType) -> None:
    """One look at the outermost table describes those inside it too, and each look is a look at everything below."""
    if info.cls not in _described:
        _described[info.cls] = info.fields
        for field in info.fields:
            for kind, _, _ in struct_types(field.type):
                _keep(kind)


def marks(kind: inspect.Type) -> dict[str, Any]:
    """The marks of a type in the schema (see `fastgate.config.kinds`)."""
    if isinstance(kind, inspect.Metadata):
        return {**marks(kind.type), **(kind.extra or {})}
    return {}
