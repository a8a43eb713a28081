"""Bodies that must be valid by a JSON Schema: the file is read and compiled once, with its route.

Validation is `jsonschema-rs`, which is compiled too. Its patterns run in time linear in the text, so that no body can
make one run away; look-around and back-references are refused for that. What is read is kept strictly to RFC 8259, and
names that an object has twice are refused: parsers disagree on which one counts, and the upstream's may be another one
than ours.

Cost. jsonschema-rs takes Python objects, and 3 bytes of ``{},`` become one of 72 bytes. So the text is measured first,
without the interpreter lock: how deep it is nested, and how many values it has. A check makes at most ``max_values``
objects, and in each process one long body is checked at a time. The lock is held while objects are made and validated,
so that ``max_values`` also bounds how long other requests wait; a body of ordinary size has few. All the errors of a
body are looked for only where it has few values, because each costs more than a value does; else the first one is told.

A schema that refers to itself can make a small body expensive (see `cost`). Whether a body is valid, the library finds
out without looking at a place twice; we do not rely on that alone, and bound how deep a body may be. What is wrong with
it, it looks for in every way there is: 140 bytes took seconds. Where there are many, nothing is told of that.
"""

import codecs
import functools
import json
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

from fastgate._core.exchange.refusal import Refusal
from fastgate._core.policies.request_body import measure
from fastgate.config import BodySchema
from fastgate.policies.request_body.cost import levels_within, most_ways

_log = logging.getLogger("fastgate")

MAX_SCHEMA = 1024 * 1024  # bytes of a file
MAX_DEPTH = 128  # of arrays and objects in a body
FEW_VALUES = 100  # of a body whose errors are all looked for
FEW_WAYS = 1000  # through a body whose errors are looked for
MANY_WAYS = 1_000_000  # through a body that is checked
TOLD = 3  # errors
LONGEST = 200  # characters of a place, and of what is wrong there


@functools.cache
def executor() -> ThreadPoolExecutor:
    """Where long bodies are checked, one after the other: two at once would take twice the memory, and no less time."""
    return ThreadPoolExecutor(1, thread_name_prefix="body_schema")


def body_check(settings: BodySchema) -> Callable[[bytes], None]:
    """A function that raises a `Refusal` of a body that is not valid by a schema, or has too many values."""
    path, most = settings.file, settings.max_values
    try:
        import jsonschema_rs
    except ImportError:
        raise ValueError("body_schema: needs jsonschema-rs: pip install 'fastgate[schema]'") from None
    schema = _read_schema(path)
    try:
        validator = jsonschema_rs.validator_for(
            schema, mask="it", pattern_options=jsonschema_rs.RegexOptions(), offline=True
        )
    except (jsonschema_rs.ValidationError, ValueError) as error:
        raise ValueError(f"body_schema: {path} {_why(error)}") from None

    ways = most_ways(schema)
    deepest = levels_within(ways, FEW_WAYS, MAX_DEPTH)
    levels = settings.max_depth or levels_within(ways, MANY_WAYS, MAX_DEPTH)
    if levels < MAX_DEPTH and not settings.max_depth:
        _log.warning(
            "body_schema: %s refers to itself in %d ways at one place, so each level of a body can multiply the time of"
            " a check by that factor: bodies may be nested at most %d deep (max_depth sets another bound)",
            path,
            ways,
            levels,
        )

    def check(body: bytes) -> None:
        try:
            depth, values = _measure(body, most)
            if values > most:
                raise Refusal("body_too_large", f"The request body has more than {most} values.")
            if depth > levels:
                raise Refusal("body_too_large", f"The request body is nested deeper than {levels}.")
            value = parse(body)
            if validator.is_valid(value):
                return
            errors = find_errors(value, every=values <= FEW_VALUES) if depth <= deepest else []
        except UnicodeEncodeError:
            raise Refusal("bad_json", "The request body is not JSON: a string has half of a surrogate pair.") from None
        except ValueError as error:
            raise Refusal("bad_json", f"The request body is not JSON: {error}.") from None
        raise Refusal("bad_content", " ".join(_tell(error) for error in errors))

    def find_errors(value: Any, *, every: bool) -> list[Any]:
        if every:
            return list(islice(validator.iter_errors(value), TOLD))
        try:
            validator.validate(value)
        except jsonschema_rs.ValidationError as error:
            return [error]
        return []

    return check


def _measure(body: bytes, most: int) -> tuple[int, int]:
    """How deep it is nested, and how many values it has, ``most + 1`` standing for more.

    ValueError when it is empty or deeper than anybody reads.
    """
    if not body:
        raise ValueError("it is empty")
    depth, values = measure(body, MAX_DEPTH, most)
    if depth > MAX_DEPTH:
        raise ValueError(f"it is nested deeper than {MAX_DEPTH}")
    return depth, values


def parse(body: bytes) -> Any:
    """The value; ValueError, with the place, for what is not exactly JSON in UTF-8."""
    try:
        return json.loads(body.decode(), object_pairs_hook=_unique, parse_constant=_no_number)
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8") from None
    except json.JSONDecodeError as error:
        reason = error.msg[:1].lower() + error.msg[1:].removesuffix(" at")
        raise ValueError(f"{reason} at line {error.lineno}, column {error.colno}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("an object has the same name twice")
    return made


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a valid number")


def _tell(error: Any) -> str:
    steps = [str(step).replace("~", "~0").replace("/", "~1") for step in error.instance_path]
    place = "".join(f"/{step}" for step in steps)
    where = f"At {_cut(place)}" if place else "At the top level"
    return f"{where}: {_cut(error.message)}."


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _read_schema(path: str) -> Any:
    try:
        with Path(path).open("rb") as stream:
            text = stream.read(MAX_SCHEMA + 1)
    except OSError as error:
        raise ValueError(f"body_schema: cannot read {path}: {(error.strerror or str(error)).lower()}") from None
    if len(text) > MAX_SCHEMA:
        raise ValueError(f"body_schema: {path} is larger than {MAX_SCHEMA} bytes")
    text = text.removeprefix(codecs.BOM_UTF8)
    try:
        _measure(text, MAX_SCHEMA)
        schema = parse(text)
    except ValueError as error:
        raise ValueError(f"body_schema: {path} is not JSON: {error}") from None
    if not isinstance(schema, dict | bool):
        raise ValueError(f"body_schema: {path} is not a valid JSON Schema: it must be an object or a boolean")
    for reference in _references(schema):
        if not reference.startswith("#"):
            raise ValueError(
                f'body_schema: {path} refers to "{reference}": a reference must begin with "#"; nothing is fetched'
            )
    return schema


def _references(schema: Any) -> Iterator[str]:
    """Every reference in a schema, and what only looks like one in an enum or an example."""
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key in ("$ref", "$dynamicRef", "$recursiveRef") and isinstance(value, str):
                yield value
            elif key not in ("enum", "const", "default", "examples"):
                yield from _references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _references(value)


def _why(error: Exception) -> str:
    path = getattr(error, "instance_path", None)
    reason = str(getattr(error, "message", "") or error).splitlines()[0]
    if path and path[-1:] == ["pattern"]:
        reason = "not a valid regular expression; look-around and back-references are not supported"
    place = "".join(f"/{step}" for step in path or ())
    return f"is not a valid JSON Schema: {f'at {place}: ' if place else ''}{_cut(reason)}"
