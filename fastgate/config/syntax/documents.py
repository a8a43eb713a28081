"""Configuration files as parsed data, with the line of every key.

Lines are found only when something has to be said about the file, by a second look at its text.
"""

import codecs
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastgate.config.errors import ConfigError, PathKeys, Problem
from fastgate.config.syntax.depth import TOO_DEEP, TOO_LONG

MAX_FILE = 64 * 1024 * 1024
"""Bytes of a configuration file."""
FORMATS = {".toml": "TOML", ".json": "JSON", ".yaml": "YAML", ".yml": "YAML"}


_TOML_REASONS = {
    "Cannot overwrite a value": "this key was already given",
    "Expected newline or end of document after a statement": "the line continues after a complete value",
    "Invalid value": "this is not a valid value",
    "Invalid statement": "this is neither a key nor a table",
}
_BARE_VALUE = re.compile(r"\s*[\w.-]+\s*=\s*[^\s\"'\[{]")


class Document:
    """Parsed data, the name it is called by in messages, and the folder in which its relative paths start."""

    def __init__(
        self, data: Mapping[str, Any], *, source: str = "", text: str = "", kind: str = "", base: Path | None = None
    ) -> None:
        self.data = data
        self.source = source
        self.base = base
        self._text = text
        self._kind = kind
        self._lines: dict[PathKeys, int] | None = None

    def line_of(self, keys: PathKeys) -> int | None:
        """The line of a key, or of the nearest table around it; None where there are no lines."""
        if self._lines is None:
            self._lines = self._scan()
        while keys:
            if keys in self._lines:
                return self._lines[keys]
            keys = keys[:-1]
        return 1 if self._lines else None

    def _scan(self) -> dict[PathKeys, int]:
        if self._kind == "TOML":
            from fastgate.config.syntax.lines import toml_lines

            return toml_lines(self._text)
        if self._kind == "JSON":
            from fastgate.config.syntax.lines import json_lines

            return json_lines(self._text)
        if self._kind == "YAML":
            from fastgate.config.syntax.yaml_documents import yaml_lines

            return yaml_lines(self._text)
        return {}


def read_document(path: Path, *, allow_empty: bool = False) -> Document:
    """The parsed file. Raises `ConfigError` when it cannot be read, is not well formed, or is empty."""
    source = str(path)
    kind = FORMATS.get(path.suffix.lower())
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_FILE + 1)
    except FileNotFoundError:
        make = f"fastgate init {source}" if kind == "TOML" else "fastgate init"
        raise _failure(source, f"no such file; `{make}` makes one, `fastgate demo` needs none") from None
    except OSError as error:
        raise _failure(source, f"cannot be read: {(error.strerror or str(error)).lower()}") from None
    if kind is None:
        suffix = f'"{path.suffix}"' if path.suffix else "none"
        raise _failure(source, f"the suffix of a file gives its format: use .toml, .json, .yaml or .yml, not {suffix}")
    if len(raw) > MAX_FILE:
        raise _failure(source, f"the file is larger than {MAX_FILE >> 20} MB, the limit of a configuration")
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise _failure(source, "the file is UTF-16 text: save it as UTF-8")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _failure(source, f"not UTF-8 text: byte 0x{raw[error.start]:02x}", line) from None
    data = PARSERS[kind](text, source)
    if data is None or data == {}:
        if not allow_empty:
            raise _failure(source, "the file is empty, so the gateway would serve nothing")
        data = {}
    if not isinstance(data, dict):
        raise _failure(source, "a configuration must be a table, but this is a list or a value")
    return Document(data, source=source, text=text, kind=kind, base=path.resolve().parent)


def _failure(source: str, message: str, line: int | None = None) -> ConfigError:
    return ConfigError([Problem(path="", message=message, line=line, source=source)])


def _parse_toml(text: str, source: str) -> Any:
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        reason = str(error)
        match = re.fullmatch(r"(.*) \(at line ([0-9]+), column ([0-9]+)\)", reason, re.DOTALL)
        line = int(match.group(2)) if match else text.count("\n") + 1
        reason = match.group(1) if match else reason.removesuffix(" (at end of document)")
        where = f", at column {match.group(3)}" if match else ", at the end of the file"
        reason = _TOML_REASONS.get(reason, f"{reason[:1].lower()}{reason[1:]}")
        bare = _BARE_VALUE.match(text.split("\n")[line - 1]) if match else None
        hint = " (write text in quotes)" if bare else ""
        raise _failure(source, f"not TOML: {reason}{where}{hint}", line) from None
    except RecursionError:
        raise _failure(source, TOO_DEEP) from None
    except ValueError:  # of int()
        raise _failure(source, TOO_LONG) from None


def _parse_json(text: str, source: str) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            names = [name for name, _ in pairs]
            twice.extend(name for name in made if names.count(name) > 1)
        return made

    if not text.strip():
        return None
    twice: list[str] = []
    try:
        data = json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        reason = f"{error.msg[:1].lower()}{error.msg[1:]}"
        raise _failure(source, f"not JSON: {reason}, at column {error.colno}", error.lineno) from None
    except RecursionError:
        raise _failure(source, TOO_DEEP) from None
    except ValueError:
        raise _failure(source, TOO_LONG) from None
    if twice:
        raise _failure(source, f'the key "{twice[0]}" is given twice in one object')
    return data


def _parse_yaml(text: str, source: str) -> Any:
    from fastgate.config.syntax.yaml_documents import load_yaml

    return load_yaml(text, source)


PARSERS = {"TOML": _parse_toml, "JSON": _parse_json, "YAML": _parse_yaml}
