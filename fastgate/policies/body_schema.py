"""Bodies that must be valid by a JSON Schema: the file is read and compiled once, with its route.

Validation is `jsonschema-rs`, which is compiled too. Its patterns run in time linear in the text, so that no body can
make one run away; look-around and back-references are refused for that. What is read is kept strictly to RFC 8259, and
names that an object has twice are refused: parsers disagree on which one counts, and the upstream's may be another one
than ours.
"""

import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

from fastgate._core.access import BodyCheck, nesting
from fastgate._core.exchange import Gate
from fastgate._core.refusal import Refusal
from fastgate.config import GatewayConfig, Route
from fastgate.config.errors import PathKeys

MAX_SCHEMA = 1024 * 1024  # bytes of a file
MAX_DEPTH = 128  # of arrays and objects in a body
TOLD = 3  # errors
LONGEST = 200  # characters of a place, and of what is wrong there


def compile_body_schema(route: Route) -> list[Gate]:
    """The gate that validates bodies; none where the route has no schema. ValueError for one that cannot be used."""
    return [BodyCheck(body_check(route.body_schema))] if route.body_schema else []


def find_problems(config: GatewayConfig) -> list[tuple[PathKeys, str]]:
    """What is wrong with the schemas of a configuration."""
    found: list[tuple[PathKeys, str]] = []
    for number, route in enumerate(config.routes):
        try:
            compile_body_schema(route)
        except ValueError as error:
            found.append((("routes", number, "body_schema"), str(error).removeprefix("body_schema: ")))
    return found


def body_check(path: str) -> Callable[[bytes], None]:
    """A function that raises a `Refusal` of a body that is not valid by the schema in that file."""
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

    def check(body: bytes) -> None:
        try:
            value = parse(body)
            errors = [] if validator.is_valid(value) else list(islice(validator.iter_errors(value), TOLD))
        except ValueError as error:
            raise Refusal("bad_json", f"The request body is not JSON: {error}.") from None
        if errors:
            raise Refusal("bad_content", " ".join(_tell(error) for error in errors))

    return check


def parse(body: bytes) -> Any:
    """The value; ValueError, with the place, for what is not exactly JSON in UTF-8."""
    if not body:
        raise ValueError("it is empty")
    if nesting(body) > MAX_DEPTH:
        raise ValueError(f"it is nested deeper than {MAX_DEPTH}")
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
    raise ValueError(f"{text} is no number")


def _tell(error: Any) -> str:
    steps = [str(step).replace("~", "~0").replace("/", "~1") for step in error.instance_path]
    place = "".join(f"/{step}" for step in steps)
    where = f"At {_cut(place)}" if place else "In the whole"
    return f"{where}: {_cut(error.message)}."


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _read_schema(path: str) -> Any:
    try:
        with Path(path).open("rb") as stream:
            text = stream.read(MAX_SCHEMA + 1)
    except OSError as error:
        raise ValueError(f"body_schema: {path} cannot be read: {(error.strerror or str(error)).lower()}") from None
    if len(text) > MAX_SCHEMA:
        raise ValueError(f"body_schema: {path} has more than {MAX_SCHEMA} bytes")
    try:
        schema = parse(text)
    except ValueError as error:
        raise ValueError(f"body_schema: {path} is not JSON: {error}") from None
    if not isinstance(schema, dict | bool):
        raise ValueError(f"body_schema: {path} is no JSON Schema: it is neither an object nor a boolean")
    for reference in _references(schema):
        if not reference.startswith("#"):
            raise ValueError(
                f'body_schema: {path} refers to "{reference}": a reference must begin with "#", nothing is fetched'
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
        reason = "is no regular expression, or one with look-around or back-references, which may run away"
    place = "".join(f"/{step}" for step in path or ())
    return f"is no JSON Schema: {f'at {place}: ' if place else ''}{_cut(reason)}"
