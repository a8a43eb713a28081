"""The walk over schema and document together: converts leaf by leaf and collects every problem.

`reader_for` turns a type of the schema, as `msgspec.inspect` describes it, into a `Reader` once; a Reader then turns
raw values (what TOML, JSON, YAML or a dict give) into converted ones. A reader never raises: it notes a problem
and returns `INVALID`, which stays in the half-made Struct, so that later checks can go on around it.
"""

import datetime as dt
import functools
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import inspect

from fastgate.config.errors import PathKeys, quote, render_path
from fastgate.config.read.given import describe
from fastgate.config.read.leaves import CHECKS, resolve_path
from fastgate.config.read.references import SINGLE, expand, resolve_list, resolve_secret, split_values
from fastgate.config.read.unknown import unknown_key
from fastgate.config.schema.described import in_written_order, marks, struct_fields
from fastgate.config.schema.kinds import SECRET_KINDS
from fastgate.config.suggest import did_you_mean
from fastgate.config.syntax.addresses import parse_target
from fastgate.config.syntax.depth import MAX_DEPTH, TOO_DEEP
from fastgate.config.syntax.templates import escape_braces
from fastgate.config.syntax.toml_text import toml
from fastgate.config.syntax.units import format_duration, format_size, parse_duration, parse_size


class Invalid:
    """The type of `INVALID`, the place of a value that could not be read.

    It is false and empty, its attributes are itself, and no comparison with it is true but that it is not something.
    """

    def __repr__(self) -> str:
        return "INVALID"

    def __bool__(self) -> bool:
        return False

    def __getattr__(self, name: str) -> "Invalid":
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __lt__(self, other: object) -> bool:
        return False

    __le__ = __gt__ = __ge__ = __lt__


INVALID: Final = Invalid()


class Reading:
    """One walk: where references are looked up, where relative paths start, and what was found wrong.

    ``root`` is the outermost table, of which is told where a misplaced key belongs.
    """

    def __init__(self, root: type, environ: Mapping[str, str], base: Path | None = None) -> None:
        self.root = root
        self.environ = environ
        self.base = base
        self.problems: list[tuple[PathKeys, str]] = []

    def attempt(self) -> "Reading":
        """One like it that has found nothing yet, for what may be given up."""
        return Reading(self.root, self.environ, self.base)

    def report(self, keys: PathKeys, message: str) -> Invalid:
        """Notes a problem; gives INVALID, to be returned in the value's place."""
        self.problems.append((keys, message))
        return INVALID

    def unexpected(self, keys: PathKeys, expected: str, value: object, hint: str = "") -> Invalid:
        """Notes that a value is not of the kind that its key takes."""
        return self.report(keys, f"expected {expected}, got {describe(value)}{hint}")


Read = Callable[[Reading, Any, PathKeys], Any]


class Reader(NamedTuple):
    """``read(reading, value, keys)`` gives the value or INVALID; ``accepts`` are the raw types it is meant for."""

    read: Read
    expected: str
    accepts: tuple[type, ...]
    optional: bool = False
    item: "Reader | None" = None
    """Of a list: what reads its elements."""


@functools.cache
def struct_reader(cls: type) -> Reader:
    """The reader of one table of the schema."""
    fields = {field.encode_name: field for field in struct_fields(cls) if not marks(field.type).get("internal")}
    readers = {name: reader_for(field.type) for name, field in fields.items()}
    required = [name for name, field in fields.items() if field.required]
    switchable = {
        name: marks(field.type).get("off") for name, field in fields.items() if marks(field.type).get("policy")
    }
    on = {name: marks(field.type)["on"] for name, field in fields.items() if "on" in marks(field.type)}
    texts = {name: marks(field.type)["text"] for name, field in fields.items() if "text" in marks(field.type)}
    tables = {name: shown for name, field in fields.items() if isinstance(shown := _example(field.type), dict)}
    expected = f"a table with {' and '.join(required)}" if 0 < len(required) < 4 else "a table"
    alone = required[0] if len(required) == 1 and str in readers[required[0]].accepts else ""
    one_of: tuple[str, ...] = getattr(cls, "one_of", ())
    renamed = {name: field.name for name, field in fields.items() if field.name != name}

    def read(reading: Reading, value: Any, keys: PathKeys) -> Any:
        if not isinstance(value, Mapping):
            hint = f": write {{ {alone} = {quote(value)} }}" if alone and isinstance(value, str) else ""
            return reading.unexpected(keys, expected, value, hint)
        values: dict[str, Any] = {}
        meant: set[str] = set()
        for name, item in value.items():
            reader = readers.get(name)
            if reader is None:
                message, suggestion = unknown_key(cls, name, reading.root)
                reading.report((*keys, str(name)), message)
                if suggestion:
                    meant.add(suggestion)
            elif item is None:
                # A key of a policy that was left empty must not stand for "none".
                if not reader.optional or name in switchable:
                    switch = "use false to switch it off, " if name in switchable else ""
                    reading.report((*keys, name), f"has no value: set one, {switch}or remove the key")
                    values[name] = INVALID
            elif item is False and name in switchable:
                off = switchable[name]
                if off is not None:
                    values[name] = reader.read(reading, off, (*keys, name))
            elif name in texts and not isinstance(item, Mapping):
                values[name] = _table_of_text(reading, reader, texts[name], item, (*keys, name))
            elif name in on and not isinstance(item, Mapping):
                if item is True:
                    values[name] = reader.read(reading, on[name], (*keys, name))
                else:
                    values[name] = reading.unexpected((*keys, name), f"true, false or {reader.expected}", item)
            elif name in tables and reader.accepts == (dict,) and not isinstance(item, Mapping):
                # What a table looks like is the fix here.
                shown = f"a table such as {toml(tables[name])}"
                values[name] = reading.unexpected((*keys, name), shown, item)
            elif item is True and switchable.get(name) == "" and reader.accepts == (str,):
                hint = "; remove the key to use its default"
                values[name] = reading.unexpected((*keys, name), "a string or false", item, hint)
            else:
                values[name] = reader.read(reading, item, (*keys, name))
        for name in required:
            if name not in values:
                values[name] = INVALID
                if name not in meant:
                    reading.report((*keys, name), "is missing")
        if one_of:
            _check_alternatives(reading, keys, one_of, values, meant)
        for name, attribute in renamed.items():
            if name in values:
                values[attribute] = values.pop(name)
        made: Any = cls(**values)
        for where, message in made.faults():
            reading.report((*keys, *where), message)
        return made

    return Reader(read, expected, (dict,))


def _table_of_text(reading: Reading, reader: Reader, key: str, item: Any, keys: PathKeys) -> Any:
    """The table that a string stands for, which is the value of one of its keys."""
    if not isinstance(item, str):
        return reading.unexpected(keys, f"a string or {reader.expected}", item)
    attempt = reading.attempt()
    made = reader.read(attempt, {key: item}, keys)
    reading.problems += [(keys, message) for _, message in attempt.problems]
    return made


def _example(kind: inspect.Type) -> Any:
    """The first example of a key, None where it has none."""
    if not isinstance(kind, inspect.Metadata):
        return None
    examples = (kind.extra_json_schema or {}).get("examples")
    return examples[0] if examples else _example(kind.type)


def _check_alternatives(
    reading: Reading, keys: PathKeys, one_of: tuple[str, ...], values: dict[str, Any], meant: set[str]
) -> None:
    """Of some keys exactly one must be there."""
    given = [name for name in one_of if name in values]
    if not given:
        values[one_of[0]] = INVALID
        if not meant.intersection(one_of):
            others = f"{', '.join(one_of[:-1])} or {one_of[-1]}"
            reading.report((*keys, one_of[0]), f"is missing: a route needs {others}")
    for name in given[1:]:
        reading.report((*keys, name), f"cannot be used with {given[0]}: a route has only one of {', '.join(one_of)}")


def reader_for(kind: inspect.Type, extra: Mapping[str, Any] | None = None) -> Reader:
    """The reader of one type; ``extra`` are the marks of the `Metadata` around it."""
    extra = extra or {}
    name = extra.get("kind", "")
    match kind:
        case inspect.Metadata():
            return reader_for(kind.type, {**extra, **(kind.extra or {})})
        case inspect.StructType():
            reader = struct_reader(kind.cls)
            return target_reader(reader, kind.cls) if name == "target" else reader
        case inspect.UnionType():
            return union_reader(kind)
        case inspect.ListType():
            reader = _list_reader(
                reader_for(kind.item_type), kind.min_length or 0, kind.max_length, marks(kind.item_type)
            )
            return _single_reader(reader_for(kind.item_type), reader) if extra.get("single") else reader
        case inspect.DictType():
            return _dict_reader(reader_for(kind.key_type), reader_for(kind.value_type), marks(kind.key_type))
        case inspect.StrType():
            return _text_reader(name, kind.min_length or 0, kind.max_length)
        case inspect.BoolType():
            return Reader(_read_bool, "true or false", (bool,))
        case inspect.IntType() | inspect.FloatType():
            return _number_reader(kind, name, extra.get("low"))
        case inspect.LiteralType():
            return _literal_reader(in_written_order(kind.values))
        case inspect.AnyType():
            return Reader(read_any, "a value", (object,))
    raise TypeError(f"the schema uses a type that cannot be read: {kind}")


# --- leaves ----------------------------------------------------------------------------------------------------------


_TIMES: dict[str, tuple[type[dt.date], str]] = {
    "instant": (dt.datetime, 'a time such as "2027-01-01T00:00:00Z"'),
    "day": (dt.date, 'a day such as "2027-01-01"'),
}
"""Kinds of text that TOML and YAML have a type for, and what is expected instead of another value."""


def _text_reader(kind: str, shortest: int, longest: int | None) -> Reader:
    check = CHECKS.get(kind)
    secret = kind in SECRET_KINDS
    escape = escape_braces if kind in ("header template", "redirect target") else None
    located = kind in ("path", "log path")
    timed = _TIMES.get(kind)
    expected = timed[1] if timed else "a string"

    def read(reading: Reading, value: Any, keys: PathKeys) -> Any:
        try:
            if timed and type(value) is timed[0]:
                value = value.isoformat()
            if type(value) is not str:
                if not (secret and isinstance(value, Mapping)):
                    return reading.unexpected(keys, expected, value, "" if timed else _quotes_hint(value))
                value = resolve_secret(value, reading.environ, reading.base or Path())
                if escape:
                    value = escape(value)
            elif "${" in value:
                value = expand(value, reading.environ, escape)
            if len(value) < shortest:
                raise ValueError("must not be empty")
            if longest is not None and len(value) > longest:
                raise ValueError(f"must be at most {longest} characters long")
            if check is not None:
                value = check(value)
            if located and reading.base is not None:
                return resolve_path(value, reading.base)
            return value
        except ValueError as error:
            return reading.report(keys, str(error))

    return Reader(read, expected, (str, dict) if secret else (str, timed[0]) if timed else (str,))


def _quotes_hint(value: object) -> str:
    if isinstance(value, bool):
        return " (write it in quotes)"
    return f' (write it in quotes: "{value}")' if isinstance(value, int | float) else ""


def _number_reader(kind: inspect.IntType | inspect.FloatType, name: str, least: int | None = None) -> Reader:
    whole = isinstance(kind, inspect.IntType)
    expected = {
        "duration": 'a duration such as "250ms", "2s", "5m" or a number of seconds',
        "size": 'a size such as "64KB", "10MB" or a number of bytes',
        "mode": 'permissions in octal such as "0660"',
    }.get(name, "an integer" if whole else "a number")
    units: Callable[[Any], str] = {"duration": format_duration, "size": format_size, "mode": '"{:04o}"'.format}.get(
        name, str
    )
    parse = {"duration": parse_duration, "size": parse_size, "mode": _parse_mode}.get(name)
    low, high, above = (kind.ge if least is None else least), kind.le, kind.gt

    def read(reading: Reading, value: Any, keys: PathKeys) -> Any:
        given = value
        try:
            if type(value) is str:
                single = SINGLE.fullmatch(value)
                if single or (parse and "${" in value):
                    value = expand(value, reading.environ)
                if parse is None:
                    if not single:
                        hint = " (remove the quotes)" if _is_number(value, whole) else ""
                        return reading.unexpected(keys, expected, value, hint)
                    if not _is_number(value, whole):
                        return reading.report(keys, f"expected {expected}{_got(given, value)}")
                    value = int(value) if whole else float(value)
            elif type(value) is not int and (type(value) is not float or (whole and name != "duration")):
                return reading.unexpected(keys, expected, value)
            if parse is not None:
                value = parse(value)
            elif not math.isfinite(value):
                raise ValueError("must be a finite number")
        except ValueError as error:
            reason = str(error)
            return reading.report(keys, f"{reason}{_got(given, value)}" if reason.startswith("expected") else reason)
        if (low is not None and value < low) or (high is not None and value > high):
            if low is not None and high is not None:
                bounds = f"{units(low)} to {units(high)}"
            else:
                bounds = f"at least {units(low)}" if low is not None else f"at most {units(high)}"
            return reading.report(keys, f"must be {bounds}, got {units(value)}")
        if above is not None and value <= above:
            return reading.report(keys, f"must be more than {units(above)}")
        return value if whole else float(value)

    return Reader(read, expected, (int, str) if whole and parse else (int, float, str) if parse else (int, float))


def _got(given: object, value: object) -> str:
    """What was read, and the reference it came from."""
    return f", got {describe(value)}{'' if given == value else f' from {given}'}"


def _is_number(text: str, whole: bool) -> bool:
    try:
        int(text) if whole else float(text)
    except ValueError:
        return False
    return True


def _parse_mode(value: int | str) -> int:
    if isinstance(value, str):
        digits = value.removeprefix("0o")
        if not digits or not all(digit in "01234567" for digit in digits):
            raise ValueError('expected permissions in octal such as "0660"')
        return int(digits, 8)
    if value > 0o777:
        raise ValueError(f'permissions are octal: write "0{value}"')
    return value


def _read_bool(reading: Reading, value: Any, keys: PathKeys) -> Any:
    if type(value) is bool:
        return value
    if type(value) is str and SINGLE.fullmatch(value):
        try:
            text = expand(value, reading.environ)
        except ValueError as error:
            return reading.report(keys, str(error))
        if text.lower() in ("true", "1", "false", "0"):
            return text.lower() in ("true", "1")
        return reading.report(keys, f"expected true or false{_got(value, text)}")
    hint = " (remove the quotes)" if value in ("true", "false") else ""
    return reading.unexpected(keys, "true or false", value, hint)


def _literal_reader(values: tuple[str | int, ...]) -> Reader:
    whole = all(isinstance(value, int) for value in values)
    words = [str(value) for value in values]
    quoted = words if whole else [f'"{word}"' for word in words]
    expected = quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} or {quoted[-1]}"

    def read(reading: Reading, value: Any, keys: PathKeys) -> Any:
        given = value
        if type(value) is str and "${" in value:
            try:
                value = expand(value, reading.environ)
            except ValueError as error:
                return reading.report(keys, str(error))
            if whole and _is_number(value, whole):
                value = int(value)
        if type(value) is (int if whole else str) and value in values:
            return value
        if type(value) is str and not whole:
            return reading.report(keys, f"expected {expected}{_got(given, value)}{did_you_mean(value, words)}")
        if str(value) not in words:
            return reading.unexpected(keys, expected, value)
        return reading.unexpected(keys, expected, value, " (remove the quotes)" if whole else _quotes_hint(value))

    return Reader(read, expected, (int,) if whole else (str,))


def read_any(reading: Reading, value: Any, keys: PathKeys) -> Any:
    """Anything, with the references in its strings replaced."""
    if len(keys) > MAX_DEPTH:
        return reading.report(keys[:3], TOO_DEEP)
    if isinstance(value, str):
        try:
            return expand(value, reading.environ) if "${" in value else value
        except ValueError as error:
            return reading.report(keys, str(error))
    if isinstance(value, Mapping):
        for name in value:
            if not isinstance(name, str):
                reading.report(keys, f"the key {name!r} is not a string (write it in quotes)")
        return {str(name): read_any(reading, item, (*keys, str(name))) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [read_any(reading, item, (*keys, number)) for number, item in enumerate(value)]
    if value is None or isinstance(value, bool | int | float | dt.date | dt.time):
        return value
    return reading.report(keys, f"{describe(value)} cannot be part of a configuration")


# --- containers ------------------------------------------------------------------------------------------------------


DISTINCT = (
    "method",
    "origin",
    "host pattern",
    "network",
    "trusted peer",
    "upgrade protocol",
    "limit key",
    "cause",
    "status",
    "media range",
)
"""Kinds of text that a list may have once."""


def _list_reader(item: Reader, shortest: int, longest: int | None, item_marks: Mapping[str, Any]) -> Reader:
    distinct = item_marks.get("kind") in DISTINCT
    expected = "a list of tables" if item.accepts == (dict,) else "a list"

    takes_text = str in item.accepts
    escape = escape_braces if item_marks.get("kind") == "header template" else None

    def read(reading: Reading, value: Any, keys: PathKeys) -> Any:
        source = ""
        if takes_text and isinstance(value, Mapping):
            try:
                value, source = resolve_list(value, reading.environ), f" (from {value['env']})"
            except ValueError as error:
                return reading.report(keys, str(error))
            # What a variable says is text and nothing else.
            value = [(escape(text) if escape else text).replace("${", "$${") for text in value]
        if not isinstance(value, list | tuple):
            if isinstance(value, Mapping) and len(keys) == 1:
                return reading.unexpected(keys, expected, value, f"; begin each table with [[{keys[0]}]]")
            hint = f": write {_as_list(reading, item, value)}" if isinstance(value, str) and takes_text else ""
            return reading.unexpected(keys, expected, value, hint)
        if len(value) < shortest:
            if source:
                return reading.report(keys, f"is an empty list{source}")
            return reading.report(keys, "is an empty list: add a value, or remove the key")
        if longest is not None and len(value) > longest:
            return reading.report(keys, f"must have at most {longest} entries{source}")
        made = []
        for number, element in enumerate(value):
            known = len(reading.problems)
            made.append(item.read(reading, element, (*keys, number)))
            if source:
                reading.problems[known:] = [(place, message + source) for place, message in reading.problems[known:]]
            elif len(reading.problems) > known and takes_text and type(element) is str:
                _say_several(reading, item, element, (*keys, number), known)
        if distinct and len(made) > 1:
            seen: set[str] = set()
            for number, element in enumerate(made):
                if isinstance(element, str):
                    if element in seen:
                        reading.report((*keys, number), f"{quote(element)} is listed twice")
                    seen.add(element)
        return made

    return Reader(read, expected, (list, tuple), item=item)


def _pieces(reading: Reading, item: Reader, text: str) -> tuple[list[str], str]:
    """The values that stand in one string, and what is between them; none where these would not be right either."""
    for separator in (",", ";", "\n"):
        pieces = split_values(text, separator)
        if 1 < len(pieces) <= 1000:
            attempt = reading.attempt()
            for piece in pieces:
                item.read(attempt, piece.replace("${", "$${"), ())
            if not attempt.problems:
                return pieces, separator
    return [], ","


def _as_list(reading: Reading, item: Reader, given: str) -> str:
    """How a string is written where a list is wanted, which may have several values in it."""
    text = given
    with suppress(ValueError):
        text = expand(given, reading.environ) if "${" in given else given
    pieces, separator = _pieces(reading, item, text)
    if SINGLE.fullmatch(given):
        return f'{{ env = "{given[2:-1].partition(":-")[0]}", split = {quote(separator)} }}'
    if pieces and text == given:
        return f"[{', '.join(map(quote, pieces))}]"
    return f"[{quote(given)}]"


def _say_several(reading: Reading, item: Reader, given: str, keys: PathKeys, known: int) -> None:
    """In the place of what is wrong with a value: that it is several, where it is."""
    try:
        text = expand(given, reading.environ) if "${" in given else given
    except ValueError:
        return
    if _pieces(reading, item, text)[0]:
        source = "" if text == given else f" (from {given})"
        where = " in place of the list" if SINGLE.fullmatch(given) and isinstance(keys[-1], int) else ""
        del reading.problems[known:]
        reading.report(keys, f"{quote(text)}{source} has several values: write {_as_list(reading, item, given)}{where}")


def _single_reader(item: Reader, several: Reader) -> Reader:
    """A list whose only element may stand without brackets."""
    expected = f"{item.expected} or {several.expected}"

    def read(reading: Reading, value: Any, keys: PathKeys) -> Any:
        if isinstance(value, list | tuple) or (isinstance(value, Mapping) and "split" in value):
            return several.read(reading, value, keys)
        if not isinstance(value, item.accepts):
            return reading.unexpected(keys, expected, value)
        known = len(reading.problems)
        made = item.read(reading, value, keys)
        if len(reading.problems) > known and type(value) is str:
            _say_several(reading, item, value, keys, known)
        return made if made is INVALID else [made]

    return Reader(read, expected, (*item.accepts, *several.accepts))


def _dict_reader(key: Reader, item: Reader, key_marks: Mapping[str, Any]) -> Reader:
    caseless = "header" in key_marks.get("kind", "")

    def read(reading: Reading, value: Any, keys: PathKeys) -> Any:
        if not isinstance(value, Mapping):
            headed = isinstance(value, list) and item.accepts == (dict,)
            hint = f"; begin each table with [{render_path(keys)}.NAME]" if headed else ""
            return reading.unexpected(keys, "a table", value, hint)
        values: dict[str, Any] = {}
        seen: dict[str, str] = {}
        for name, element in value.items():
            here = (*keys, str(name))
            if not isinstance(name, str):
                reading.report(here, f"the key {name!r} is not a string (write it in quotes)")
                continue
            converted = key.read(reading, name, here)
            if caseless and seen.setdefault(name.lower(), name) != name:
                reading.report(here, f'is the same field as "{seen[name.lower()]}"')
            if element is None:
                reading.report(here, "has no value: set one, or remove the key")
                continue
            result = item.read(reading, element, here)
            if isinstance(converted, str):
                values[converted] = result
        return values

    return Reader(read, "a table", (dict,))


def union_reader(kind: inspect.UnionType) -> Reader:
    """The first member that is meant for the raw value's type; a reference is tried as text, then as a number."""
    members = [reader_for(member) for member in kind.types if not isinstance(member, inspect.NoneType)]
    optional = len(members) < len(kind.types)
    if len(members) == 1:
        return members[0]._replace(optional=optional)
    expected = " or ".join(member.expected for member in members)
    accepts = tuple(accepted for member in members for accepted in member.accepts)
    several = next((member for member in members if member.item is not None and str in member.item.accepts), None)

    def read(reading: Reading, value: Any, keys: PathKeys) -> Any:
        given = value
        if several is not None and isinstance(value, Mapping) and "split" in value:
            return several.read(reading, value, keys)
        if type(value) is str and SINGLE.fullmatch(value) and (int in accepts or bool in accepts):
            try:
                value = expand(value, reading.environ)
            except ValueError as error:
                return reading.report(keys, str(error))
            if int in accepts and _is_number(value, whole=True):
                value = int(value)
            elif bool in accepts and value.lower() in ("true", "1", "false", "0"):
                value = value.lower() in ("true", "1")
        for member in members:
            if isinstance(value, member.accepts) and not (isinstance(value, bool) and bool not in member.accepts):
                attempt = reading.attempt()
                result = member.read(attempt, value, keys)
                if attempt.problems and type(value) is str and (int in accepts or bool in accepts):
                    number = int in accepts and _is_number(value, whole=True)
                    switch = bool in accepts and value in ("true", "false")
                    hint = " (remove the quotes)" if number or switch else ""
                    return reading.report(keys, f"expected {expected}{_got(given, value)}{hint}")
                known = len(reading.problems)
                reading.problems += attempt.problems
                if attempt.problems and several is not None and several.item is not None and type(value) is str:
                    _say_several(reading, several.item, value, keys, known)
                return result
        return reading.unexpected(keys, expected, value)

    return Reader(read, expected, accepts, optional)


def target_reader(table: Reader, cls: type) -> Reader:
    """A target as a table or as a string. ``tls`` is None until the upstream's own table has been seen."""

    def read(reading: Reading, value: Any, keys: PathKeys) -> Any:
        if type(value) is not str:
            if not isinstance(value, Mapping):
                return reading.unexpected(keys, 'a table with host and port, or a string such as "127.0.0.1:80"', value)
            made = table.read(reading, value, keys)
            return msgspec.structs.replace(made, tls=None)
        try:
            host, port, unix, tls, srv = parse_target(expand(value, reading.environ) if "${" in value else value)
        except ValueError as error:
            return reading.report(keys, str(error))
        return cls(host=host, port=port, unix=unix, tls=tls, srv=srv)

    return Reader(read, "a table or a string", (dict, str))
