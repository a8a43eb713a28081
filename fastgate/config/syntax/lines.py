"""On which line each key of a TOML or JSON text stands.

Both scanners are handed text that a real parser has accepted, so they only tell keys, strings and brackets apart. A
key's entry is ``("routes", 3, "path") → line``, counted from 1; elements of lists have entries too.
"""

import json
import re
from collections.abc import Iterator
from contextlib import suppress

from fastgate.config.errors import PathKeys

_SPACE = re.compile(r"(?:[ \t]+|#[^\n]*)*")
_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}(?!")|' + r"'''.*?'{3,5}(?!')|" + r'"(?:[^"\\\n]|\\.)*"|' + r"'[^'\n]*'", re.DOTALL
)
_SCALAR = re.compile(r"[^,\]}\n#]+")


class _Toml:
    """A cursor over a TOML text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.lines: dict[PathKeys, int] = {}
        self.lengths: dict[PathKeys, int] = {}
        self._counted = 0
        self._line = 1

    def line(self) -> int:
        self._line += self.text.count("\n", self._counted, self.position)
        self._counted = self.position
        return self._line

    def skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.position)
        if match is None:
            raise ValueError(f"unexpected text at {self.position}")
        self.position = match.end()
        return match.group()

    def at(self, mark: str) -> bool:
        return self.text.startswith(mark, self.position)

    def document(self) -> None:
        table: PathKeys = ()
        while True:
            self.skip(_BLANK)
            if self.position >= len(self.text):
                return
            if self.at("[["):
                line = self.line()
                self.position += 2
                name = self.place((), self.key("]]"))
                number = self.lengths.get(name, 0)
                self.lengths[name] = number + 1
                table = (*name, number)
                self.lines.setdefault(name, line)
                self.lines[table] = line
            elif self.at("["):
                line = self.line()
                self.position += 1
                table = self.place((), self.key("]"))
                self.mark(table, line)
            else:
                self.pair(table)

    def place(self, table: PathKeys, names: list[str]) -> PathKeys:
        """Where dotted names lead: into the last element of every array of tables that they pass, as TOML has it."""
        for number, name in enumerate(names):
            table = (*table, name)
            if number < len(names) - 1 and table in self.lengths:
                table = (*table, self.lengths[table] - 1)
        return table

    def key(self, end: str) -> list[str]:
        names = []
        while True:
            self.skip(_SPACE)
            if self.text[self.position] in "\"'":
                literal = self.skip(_STRING)
                names.append(literal[1:-1] if literal[0] == "'" else unescape(literal))
            else:
                names.append(self.skip(_BARE_KEY))
            self.skip(_SPACE)
            if self.at("."):
                self.position += 1
                continue
            if not self.at(end):
                raise ValueError(f"expected {end} at {self.position}")
            self.position += len(end)
            return names

    def pair(self, table: PathKeys) -> None:
        self.skip(_SPACE)
        line = self.line()
        path = self.place(table, self.key("="))
        self.mark(path, line)
        self.value(path)

    def mark(self, path: PathKeys, line: int) -> None:
        for length in range(1, len(path) + 1):
            self.lines.setdefault(path[:length], line)

    def value(self, path: PathKeys) -> None:
        self.skip(_SPACE)
        if self.at("["):
            self.position += 1
            number = 0
            while self.more("]"):
                element = (*path, number)
                self.lines[element] = self.line()
                self.value(element)
                number += 1
        elif self.at("{"):
            self.position += 1
            while self.more("}"):
                self.pair(path)
        elif self.text[self.position] in "\"'":
            self.skip(_STRING)
        else:
            self.skip(_SCALAR)

    def more(self, end: str) -> bool:
        self.skip(_BLANK)
        if self.at(","):
            self.position += 1
            self.skip(_BLANK)
        if self.at(end):
            self.position += 1
            return False
        return True


def toml_lines(text: str) -> dict[PathKeys, int]:
    """The lines of a TOML text; as far as it was understood, should the scanner and the parser ever disagree."""
    cursor = _Toml(text.replace("\r\n", "\n"))
    with suppress(ValueError, IndexError, RecursionError):
        cursor.document()
    return cursor.lines


def unescape(literal: str) -> str:
    r"""The value of a basic string. Escapes that JSON lacks (``\U``, ``\e``, ``\x``) leave it as it is written."""
    try:
        value: str = json.loads(literal, strict=False)
    except ValueError:
        return literal[1:-1]
    return value


_JSON_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{},:]|\n|[^\s"\[\]{},:]+')


def json_lines(text: str) -> dict[PathKeys, int]:
    """The lines of a JSON text."""
    lines: dict[PathKeys, int] = {}
    tokens = _numbered_tokens(text)

    def value(path: PathKeys, token: str, line: int) -> None:
        if path:
            lines.setdefault(path, line)
        if token == "{":
            for key, line in tokens:
                if key == "}":
                    return
                if key != ",":
                    inner = (*path, json.loads(key))
                    lines[inner] = line
                    next(tokens)  # the colon
                    value(inner, *next(tokens))
        elif token == "[":
            number = 0
            for element, line in tokens:
                if element == "]":
                    return
                if element != ",":
                    value((*path, number), element, line)
                    number += 1

    with suppress(ValueError, StopIteration, RecursionError):
        value((), *next(tokens))
    return lines


def _numbered_tokens(text: str) -> Iterator[tuple[str, int]]:
    line = 1
    for match in _JSON_TOKEN.finditer(text):
        if match.group() == "\n":
            line += 1
        else:
            yield match.group(), line
