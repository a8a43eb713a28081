"""What is wrong with a configuration: one `Problem` a finding, all of them in one `ConfigError`."""

import re
from ast import literal_eval
from collections.abc import Iterable

import msgspec

PathKeys = tuple[str | int, ...]


class Problem(msgspec.Struct, frozen=True):
    """One finding. ``line`` counts from 1 and is None where the format has no lines; ``source`` is the file's name."""

    path: str
    message: str
    line: int | None = None
    source: str = ""

    def __str__(self) -> str:
        place = self.source
        if place and self.line is not None:
            place = f"{place}:{self.line}"
        return ": ".join(part for part in (place, self.path, self.message) if part)


class ConfigError(ValueError):
    """A configuration that cannot be used. ``str()`` gives every problem, one a line."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: list[Problem] = list(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def render_path(keys: PathKeys) -> str:
    """``("routes", 3, "path")`` → ``routes[3].path``; keys that are not bare words are quoted as TOML does."""
    text = ""
    for key in keys:
        if isinstance(key, int):
            text += f"[{key}]"
            continue
        word = key if key and all(c.isascii() and (c.isalnum() or c in "-_") for c in key) else quote(key)
        text += f".{word}" if text else word
    return text


_STEP = re.compile(r"""\[([0-9]+)\]|\.?("(?:[^"\\]|\\.)*"|[A-Za-z0-9_-]+)""")


def parse_path(text: str) -> PathKeys:
    """The keys that `render_path` has written."""
    return tuple(
        int(number) if number else literal_eval(word) if word.startswith('"') else word
        for number, word in _STEP.findall(text)
    )


def quote(value: str, limit: int = 60) -> str:
    """The string in double quotes on one line, shortened in the middle when it is long."""
    if len(value) > limit:
        value = f"{value[: limit - 15]}…{value[-10:]}"
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in escaped) + '"'
