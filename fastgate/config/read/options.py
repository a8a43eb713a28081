"""The options of a plugin, read into the `msgspec.Struct` that its class declares.

Values are what the file had, references replaced. Kinds of `fastgate.config.schema.kinds` mean in an author's Struct
what they mean in the configuration: ``timeout: Duration`` takes ``"250ms"``. Everything else is `msgspec.convert`'s, so
an author may use any type that it knows. An unknown key is an error whether or not the Struct forbids it: a misspelt
option that is ignored is the worst kind of wrong.
"""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import msgspec
from msgspec import inspect

from fastgate.config.errors import PathKeys
from fastgate.config.read.given import describe
from fastgate.config.read.references import resolve_secret
from fastgate.config.suggest import did_you_mean
from fastgate.config.syntax.units import parse_duration, parse_size

Options = TypeVar("Options", bound=msgspec.Struct)

_PLACE = re.compile(r"^(.*?)(?: - at `\$(.*)`)?$", re.DOTALL)
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")
_KINDS: Mapping[str, tuple[tuple[type, ...], Callable[[Any], Any]]] = {
    "duration": ((str, int, float), parse_duration),
    "size": ((str, int), parse_size),
    "secret": ((dict,), lambda table: resolve_secret(table, os.environ, Path())),
}


class OptionsError(ValueError):
    """Options that cannot be used: what is wrong, each with its path below ``options``."""

    def __init__(self, found: list[tuple[PathKeys, str]]) -> None:
        super().__init__("; ".join(message for _, message in found))
        self.found = found


def read_options(kind: type[Options], options: Mapping[str, Any]) -> Options:
    """The options as an object of that Struct. Raises OptionsError with everything that is wrong with them."""
    found: list[tuple[PathKeys, str]] = []
    info = inspect.type_info(kind)
    prepared = _prepare(info, options, (), found)
    wrong = {keys[0] for keys, _ in found}
    hints = get_type_hints(kind, include_extras=True)
    for field in info.fields if isinstance(info, inspect.StructType) else ():
        name = field.encode_name
        if name in wrong:
            continue
        if name in prepared:
            try:  # one by one: msgspec stops at the first that is wrong
                msgspec.convert(prepared[name], hints[field.name], strict=False)
            except msgspec.ValidationError as error:
                found.append(_placed(error, (name,)))
        elif field.required and not any(message.endswith(f'"{name}"?') for _, message in found):
            found.append(((name,), "is missing"))
    if found:
        raise OptionsError(found)
    try:
        return msgspec.convert(prepared, kind, strict=False)
    except msgspec.ValidationError as error:  # what the Struct itself says in __post_init__
        raise OptionsError([_placed(error, ())]) from error


def _placed(error: msgspec.ValidationError, above: PathKeys) -> tuple[PathKeys, str]:
    """What msgspec says of a value, with its place as keys."""
    match = _PLACE.fullmatch(str(error))
    message, place = (match[1], match[2] or "") if match else (str(error), "")
    keys: list[str | int] = [int(index) if index.isdigit() else name or index for name, index in _STEP.findall(place)]
    return (*above, *keys), message[:1].lower() + message[1:]


def _prepare(kind: inspect.Type, value: Any, keys: PathKeys, found: list[tuple[PathKeys, str]]) -> Any:
    """The value with what only this project's kinds understand converted, and unknown keys told of."""
    match kind:
        case inspect.Metadata():
            return _read_kind((kind.extra or {}).get("kind", ""), kind.type, value, keys, found)
        case inspect.StructType() if isinstance(value, Mapping):
            fields = {field.encode_name: field for field in kind.fields}
            made = {}
            for name, item in value.items():
                if name not in fields:
                    hint = did_you_mean(name, fields) or (f"; the keys are {', '.join(fields)}" if fields else "")
                    found.append(((*keys, name), f"unknown key{hint}"))
                else:
                    made[name] = _prepare(fields[name].type, item, (*keys, name), found)
            return made
        case inspect.ListType() | inspect.SetType() | inspect.FrozenSetType() | inspect.VarTupleType():
            if isinstance(value, list):
                return [_prepare(kind.item_type, item, (*keys, number), found) for number, item in enumerate(value)]
        case inspect.DictType() if isinstance(value, Mapping):
            return {name: _prepare(kind.value_type, item, (*keys, name), found) for name, item in value.items()}
        case inspect.UnionType():
            for member in kind.types:
                if _takes(member, value):
                    return _prepare(member, value, keys, found)
    return value


def _takes(kind: inspect.Type, value: Any) -> bool:
    """Whether it is this member of a union that has to prepare the value."""
    match kind:
        case inspect.Metadata():
            accepts, _ = _KINDS.get((kind.extra or {}).get("kind", ""), ((), None))
            return isinstance(value, accepts) and not isinstance(value, bool)
        case inspect.StructType() | inspect.DictType():
            return isinstance(value, Mapping)
        case inspect.ListType() | inspect.SetType() | inspect.FrozenSetType() | inspect.VarTupleType():
            return isinstance(value, list)
    return False


def _read_kind(name: str, kind: inspect.Type, value: Any, keys: PathKeys, found: list[tuple[PathKeys, str]]) -> Any:
    if name not in _KINDS:
        return _prepare(kind, value, keys, found)
    accepts, parse = _KINDS[name]
    if not isinstance(value, accepts) or isinstance(value, bool):
        if name != "secret" or not isinstance(value, str):
            expected = {"duration": "a duration", "size": "a size", "secret": "a string"}[name]
            found.append((keys, f"expected {expected}, got {describe(value)}"))
        return value
    try:
        return parse(value)
    except ValueError as error:
        reason = str(error)
        tell = name != "secret" and reason.startswith("expected")
        found.append((keys, f"{reason}, got {describe(value)}" if tell else reason))
        return value
