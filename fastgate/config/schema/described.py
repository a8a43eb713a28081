"""Tables as `msgspec.inspect` describes them: their keys, the marks of these, the tables inside them."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

from msgspec import inspect


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
        for hint in get_type_hints(info.cls, include_extras=True).values():
            _note_choices(hint)
        for field in info.fields:
            for kind, _, _ in struct_types(field.type):
                _keep(kind)


def marks(kind: inspect.Type) -> dict[str, Any]:
    """The marks of a type in the schema (see `fastgate.config.schema.kinds`)."""
    if isinstance(kind, inspect.Metadata):
        return {**marks(kind.type), **(kind.extra or {})}
    return {}


def published(kind: inspect.Type) -> Mapping[str, Any]:
    """What the schema says of a type beside its shape: a description, examples."""
    return kind.extra_json_schema or {} if isinstance(kind, inspect.Metadata) else {}


def description(field: inspect.Field) -> str:
    """What a key means."""
    return str(published(field.type).get("description", ""))


def in_written_order(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """The choices of a key in the order in which its table writes them, which `msgspec.inspect` does not keep.

    The table has been described before (see `struct_fields`).
    """
    return _orders.get(frozenset(values), values)


_orders: dict[frozenset[Any], tuple[Any, ...]] = {}


def _note_choices(hint: Any) -> None:
    if get_origin(hint) is Literal:
        _orders[frozenset(get_args(hint))] = get_args(hint)
        return
    for inner in get_args(hint):
        _note_choices(inner)
