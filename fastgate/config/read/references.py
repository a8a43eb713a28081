"""Values from outside the file: ``${NAME}``, ``${NAME:-default}``, ``{ env = "NAME" }``, ``{ file = "path" }``.

As in the shell, ``:-`` gives its default when the variable is unset or empty. ``$${`` is a literal ``${``. Where a list
is wanted, ``{ env = "NAME", split = "," }`` stands for all its values.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

SINGLE = re.compile(r"\$\{[^{}]*\}")
_REFERENCE = re.compile(r"\$\$\{|\$\{([^{}]*)\}?")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def expand(text: str, environ: Mapping[str, str], escape: Callable[[str], str] | None = None) -> str:
    """The text with every reference replaced; ``escape`` is applied to what comes from the environment.

    Raises ValueError for a variable that is not set and has no default, and for a reference that is not well formed.
    """

    def replace(match: re.Match[str]) -> str:
        whole = match.group()
        if whole == "$${":
            return "${"
        if not whole.endswith("}"):
            raise ValueError(f'"{whole}" has no closing brace (write "$${{" for a literal "${{")')
        name, separator, default = match.group(1).partition(":-")
        value = lookup(name, environ, default if separator else None)
        if separator and value is default:
            return value
        return escape(value) if escape else value

    return _REFERENCE.sub(replace, text)


def lookup(name: str, environ: Mapping[str, str], default: str | None = None) -> str:
    """The variable's value; ``default`` when it is unset or empty. Raises ValueError when there is neither."""
    if not _NAME.fullmatch(name):
        raise ValueError(f'"{name}" is not a valid name of an environment variable')
    value = environ.get(name)
    if default is not None and not value:
        return default
    if value is None:
        raise ValueError(f'environment variable {name} is not set ("${{{name}:-default}}" would set a default)')
    return value


def resolve_list(table: Mapping[Any, Any], environ: Mapping[str, str]) -> list[str]:
    """The values that ``{ env = "NAME", split = "," }`` stands for, without white space around them and empty ones.

    Raises ValueError with the reason.
    """
    name, separator = table.get("env"), table.get("split")
    if set(table) != {"env", "split"} or not isinstance(name, str) or not isinstance(separator, str):
        name = name if isinstance(name, str) else "NAME"
        raise ValueError(f'expected a list, or {{ env = "{name}", split = "," }} for several values of one variable')
    if not separator:
        raise ValueError("split must not be empty: it separates the values")
    return split_values(_lookup_secret(name, environ), separator)


def split_values(text: str, separator: str) -> list[str]:
    """The parts of a text that are not empty, without white space around them."""
    return [part for part in (each.strip() for each in text.split(separator)) if part]


def resolve_secret(table: Mapping[Any, Any], environ: Mapping[str, str], base: Path) -> str:
    """The text that ``{ env = "NAME" }`` or ``{ file = "path" }`` stands for.

    A byte order mark at a file's beginning and a newline at its end are dropped. Raises ValueError with the reason; it
    never repeats any part of the secret.
    """
    if len(table) != 1 or next(iter(table)) not in ("env", "file"):
        raise ValueError('expected a string, { env = "NAME" } or { file = "path" }')
    ((kind, source),) = table.items()
    if not isinstance(source, str) or not source:
        raise ValueError(f"{kind} must be a string that is not empty")
    if kind == "env":
        value = _lookup_secret(source, environ)
    else:
        value = _read_secret(base / expand(source, environ))
    if not value:
        raise ValueError(f"the secret from {kind} {source} is empty")
    if value != value.strip() and "-----BEGIN " not in value:
        raise ValueError(f"the secret from {kind} {source} begins or ends with white space: remove it there")
    return value


def _lookup_secret(name: str, environ: Mapping[str, str]) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f'"{name}" is not a valid name of an environment variable')
    if name not in environ:
        raise ValueError(f"environment variable {name} is not set")
    return environ[name]


def _read_secret(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ValueError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text") from None
    return text.removesuffix("\n").removesuffix("\r")
