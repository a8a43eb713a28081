"""What is said about a key that does not exist: what it was meant to be, or where it belongs."""

import functools
from collections.abc import Iterator

from fastgate.config.schema.described import marks, struct_fields, struct_types
from fastgate.config.suggest import nearest


def unknown_key(cls: type, name: object, root: type) -> tuple[str, str | None]:
    """The message for a key that the table does not have, and the key of that table that was probably meant.

    ``root`` is the outermost table: the key may belong into another one.
    """
    if not isinstance(name, str):
        return f"the key {name!r} is not a string (write it in quotes)", None
    keys = table_keys(cls)
    own = [key for key, _ in keys]
    meant = next((key for key, also in keys if name.lower() in also), None)
    meant = meant or nearest(name, own, 0.75)
    if not meant:
        others = [(place, [key for key, _ in table_keys(table)]) for place, table in tables(root) if table is not cls]
        places = [place for place, names in others if name in names]
        if places:
            return f'unknown key here; "{name}" belongs {" or ".join(dict.fromkeys(places))}', None
        meant = nearest(name, own)
        for place, names in others:
            better = nearest(name, names, 0.75)
            if better:
                return f'unknown key, did you mean "{better}" {place}?', None
    if meant:
        return f'unknown key, did you mean "{meant}"?', meant
    if len(own) <= 8:
        return f"unknown key; the keys are {', '.join(own)}", None
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
def tables(root: type) -> tuple[tuple[str, type], ...]:
    """A table and every one below it, each with its heading, outermost first."""
    return tuple(_walk("", root, False))


def _walk(path: str, cls: type, listed: bool) -> Iterator[tuple[str, type]]:
    heading = f"in [[{path}]]" if listed else f"in [{path}]" if path else "at the top level"
    yield heading, cls
    for field in struct_fields(cls):
        for kind, is_list, is_map in struct_types(field.type):
            inner = f"{path}.{field.encode_name}" if path else field.encode_name
            yield from _walk(inner + (".NAME" if is_map else ""), kind.cls, is_list and not path)
