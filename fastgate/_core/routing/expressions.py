r"""Regular expressions of a configuration: what is matched against the bytes of a client.

Theory of operation
===================

Python's ``re`` goes back and tries again, so that a client can make 50 bytes cost minutes: ``(a+)+`` takes two to the
power of their number, ``(.*)x(.*)y`` their cube. RE2 reads each byte once and keeps all the places in the expression
at which a match can stand. Its cost is at most the length of the text times the size of the expression, and mostly
the length alone: it remembers which places follow on which. `MAX_SIZE` bounds the size of an expression, `MAX_MEMORY`
what is remembered of it; when that is full, it is forgotten and matching goes on.

The syntax is RE2's, which is Python's for most of what is written. ``\Z`` and ``{,n}`` are taken as Python has them.
What only an engine that goes back can match (look-around, references to groups) is refused, with what to write
instead. ``\d``, ``\w``, ``\s`` and ``\b`` know ASCII only, and ``$`` is the end of the text. Of several matches the one
is chosen that Python chooses, and its groups.

A group that can be asked for costs time, so that expressions are compiled without them where only the verdict counts.
RE2 is loaded with the first expression. An expression may be used by several threads; it releases the interpreter lock
while it matches.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, Literal, NamedTuple, TypeAlias

Captures: TypeAlias = Literal["all", "named", "none"]

MAX_SIZE = 3000
"""The most steps of a compiled expression: each byte of a text costs as many in the worst case."""
MAX_MEMORY = 2 << 20
"""Bytes that one compiled expression may take, with what is remembered of it."""

_REPEAT = re.compile(r"(?:[*+?]|\{(?:[0-9]+(?:,[0-9]*)?|,[0-9]*)\})")
_GROUP = re.compile(r"\(\?(?:P?<(?P<name>[^>]*)>|(?P<flags>[A-Za-z]*(?:-[A-Za-z]*)?)(?P<end>[:)]))")
_POSIX_CLASS = re.compile(r"\[:\^?[a-z]+:\]")
_ESCAPE = re.compile(r"\\(?:[0-7]{3}|x\{[0-9A-Fa-f]+\}|x[0-9A-Fa-f]{2}|[pP](?:\{[^}]*\}|.)|.)", re.DOTALL)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

# What Python has and RE2 cannot have, with the mend; a longer beginning stands before a shorter one.
_REFUSED_GROUPS = {
    "(?<=": "looks behind, {linear}: {instead}",
    "(?<!": "looks behind, {linear}: {instead}",
    "(?=": "looks ahead, {linear}: {instead}",
    "(?!": "looks ahead, {linear}: {instead}",
    "(?P=": "refers to a group, {linear}: write what the group matches once more, or compare the two in a plugin",
    "(?(": "depends on a group, {linear}: write both cases as alternatives, as in (?:a|b)",
    "(?>": "is not needed, because matching never backtracks: write (?:",
    "(?#": "is not supported: leave the comment out",
}
_GROUPS = ("group", "name")
_LINEAR = "which cannot be matched in linear time"
_INSTEAD = (
    "write what may stand there, as in [^/]+, or give what must not match to a route of its own with a higher priority"
)
_REFUSED_FLAGS = {
    "x": "write the expression without white space and comments",
    "a": "leave it out: \\d, \\w and \\s know ASCII only",
    "u": "leave it out: \\d, \\w and \\s know ASCII only",
    "L": "leave it out",
}
_REASONS = {
    "invalid escape sequence: ": "is not a valid escape",
    "invalid character class range: ": "is not a valid range of characters",
    "no argument for repetition operator: ": "has nothing before it that could be repeated",
    "bad repetition operator: ": "repeats a repetition: put the first into a group, as in (?:a*)?",
    "invalid repetition size: ": "is not a valid count: at most 1000, and counts inside each other multiply",
}


Spans: TypeAlias = list[tuple[int, int]]
"""Where the match and then each group begins and ends in the text; -1 for a group that took no part."""


class Expression(NamedTuple):
    """A compiled expression. Its functions take bytes, and give None where there is no match."""

    fullmatch: Callable[[bytes], Spans | None]
    """Matches the whole of a text."""
    search: Callable[[bytes], Spans | None]
    """Finds the first match in a text."""
    groups: int
    """How many groups a match tells of."""
    names: dict[str, int]
    """The names of groups, in the order of the expression, and the numbers under which a match would tell of them."""
    prefix: bytes
    """What every text begins with that matches as a whole; ``b""`` where that is not known."""


class _Token(NamedTuple):
    kind: str  # "literal", "open", "group", "name", "close", "repeat", "bar", "start" or "other"
    text: str  # as RE2 has it
    value: str = ""  # of a literal: the character; of a name: the name


def compile_expression(text: str, *, utf8: bool = False, captures: Captures = "all") -> Expression:
    """The expression, for texts in UTF-8 or, by default, for bytes as they are.

    ``captures`` says of which groups a match tells, ``"named"`` being those that have a name. Raises ValueError with
    the reason, its place in the expression (counted from 1) and what to write instead.
    """
    re2 = _engine()
    encoding = "utf-8" if utf8 else "ascii"
    tokens = list(_tokens(text))
    options = re2.Options()
    options.encoding = options.Encoding.UTF8 if utf8 else options.Encoding.LATIN1
    options.max_mem = MAX_MEMORY
    options.log_errors = False
    told = {"all": _GROUPS, "named": ("name",), "none": ()}[captures]
    source = "".join("(?:" if token.kind in _GROUPS and token.kind not in told else token.text for token in tokens)
    try:
        compiled = re2.compile(source.encode(encoding), options)
    except UnicodeEncodeError as error:
        character = source[error.start]
        raise ValueError(
            f'"{character}"{_place(text.find(character))} is not ASCII: write it as it is sent, percent-encoded in a '
            "path, with xn-- in a host"
        ) from None
    except re2.error as error:
        raise ValueError(_reason(error.args[0], text)) from None
    if compiled.programsize > MAX_SIZE:
        raise ValueError(_too_large(f"it has {compiled.programsize} steps"))
    groups = [token.value for token in tokens if token.kind in (told or _GROUPS)]
    names = {name: number for number, name in enumerate(groups, 1) if name}
    count = len(groups) if told else 0
    return Expression(*matchers(compiled, count), count, names, _prefix(tokens).encode(encoding))


def matchers(compiled: Any, groups: int) -> tuple[Callable[[bytes], Spans | None], Callable[[bytes], Spans | None]]:
    """``fullmatch`` and ``search`` of an expression that RE2 has compiled."""
    inner = getattr(compiled, "_regexp", None)
    if inner is None:

        def spans(match: Any) -> Spans | None:
            return None if match is None else [match.span(group) for group in range(groups + 1)]

        return lambda text: spans(compiled.fullmatch(text)), lambda text: spans(compiled.search(text))

    # What those two call: half of the time of a match in a short text is spent on the way there.
    match, whole, anywhere = inner.Match, inner.Anchor.ANCHOR_BOTH, inner.Anchor.UNANCHORED

    def fullmatch(text: bytes) -> Spans | None:
        found: Spans = match(whole, text, 0, len(text))
        return None if found[0][0] < 0 else found

    def search(text: bytes) -> Spans | None:
        found: Spans = match(anywhere, text, 0, len(text))
        return None if found[0][0] < 0 else found

    return fullmatch, search


def _engine() -> Any:
    try:
        return import_module("re2")
    except ImportError:
        raise ValueError("regular expressions need google-re2: pip install google-re2") from None


def _tokens(text: str) -> Iterator[_Token]:
    """The expression in pieces, as RE2 has them. Raises ValueError for what it does not have."""
    names: set[str] = set()
    opened: list[int] = []
    at = 0
    while at < len(text):
        begin = at
        match text[at]:
            case "\\":
                token = _escape(text, at)
                at += len(token.text)
                if token.text == "\\Z":
                    token = _Token("other", "\\z")
                elif token.text == "\\Q":
                    end = text.find("\\E", at)
                    at = len(text) if end < 0 else end + 2
                    token = _Token("other", text[begin:at])
            case "[":
                at = _class_end(text, at)
                token = _Token("other", text[begin:at])
            case "(":
                token = _group(text, at, names)
                at += len(token.text)
                if token.kind != "other":
                    opened.append(begin)
            case ")":
                if not opened:
                    raise ValueError(f'a ")" closes nothing{_place(at)}')
                opened.pop()
                at += 1
                token = _Token("close", ")")
            case "*" | "+" | "?" | "{" if found := _REPEAT.match(text, at):
                at = found.end()
                if text.startswith("+", at):
                    raise ValueError(
                        f'"{found[0]}+"{_place(begin)} is not needed, because matching never backtracks: '
                        f'write "{found[0]}"'
                    )
                # RE2 reads {,3} as plain text.
                token = _Token("repeat", found[0].replace("{,", "{0,"))
            case "|":
                at += 1
                token = _Token("bar", "|")
            case "^":
                at += 1
                token = _Token("start", "^")
            case "." | "$":
                at += 1
                token = _Token("other", text[begin])
            case character:
                at += 1
                token = _Token("literal", character, character)
        yield token
    if opened:
        raise ValueError(f'a "(" is not closed{_place(opened[-1])}')


def _escape(text: str, at: int, *, in_set: bool = False) -> _Token:
    """A backslash and what belongs to it."""
    found = _ESCAPE.match(text, at)
    if found is None:
        raise ValueError("it ends with a single backslash")
    written = found[0]
    kind = written[1]
    if kind in "123456789" and len(written) == 2 and not in_set:
        raise ValueError(f'"{written}"{_place(at)} {_REFUSED_GROUPS["(?P="].format(linear=_LINEAR)}')
    if kind in "uUN":
        raise ValueError(f'"{written}"{_place(at)} is not a valid escape: write \\x and two digits, or the character')
    if kind.isascii() and not kind.isalnum():
        return _Token("literal", written, kind)
    return _Token("start" if kind == "A" else "other", written)


def _class_end(text: str, at: int) -> int:
    """Where a set of characters ends; a bracket that stands first in it belongs to it."""
    begin = at
    at += 2 if text.startswith("^", at + 1) else 1
    at += text.startswith("]", at)
    while at < len(text) and text[at] != "]":
        if text[at] == "\\":
            at += len(_escape(text, at, in_set=True).text)
        else:
            named = _POSIX_CLASS.match(text, at)
            at = named.end() if named else at + 1
    if at >= len(text):
        raise ValueError(f'a "[" is not closed{_place(begin)}')
    return at + 1


def _group(text: str, at: int, names: set[str]) -> _Token:
    """What a group begins with, or flags without a group."""
    if not text.startswith("(?", at):
        return _Token("group", "(")
    for written, reason in _REFUSED_GROUPS.items():
        if text.startswith(written, at):
            told = reason.format(linear=_LINEAR, instead=_INSTEAD)
            raise ValueError(f'"{written}"{_place(at)} {told}')
    found = _GROUP.match(text, at)
    if found is None:
        raise ValueError(f'"(?"{_place(at)} does not begin a valid group')
    name = found["name"]
    if name is not None:
        if not _NAME.fullmatch(name):
            raise ValueError(
                f'"{name}"{_place(at)} is not a valid name of a group: letters, digits and "_", no digit first'
            )
        if name in names:
            raise ValueError(f'two groups are named "{name}"{_place(at)}')
        names.add(name)
        return _Token("name", found[0], name)
    for flag in found["flags"].replace("-", ""):
        if flag not in "imsU":
            mend = _REFUSED_FLAGS.get(flag, "flags are i, m, s and U")
            raise ValueError(f'the flag "{flag}"{_place(at)} is not supported: {mend}')
    return _Token("open" if found["end"] == ":" else "other", found[0])


def _prefix(tokens: list[_Token]) -> str:
    """The characters that each text begins with which matches as a whole; none where there are alternatives."""
    depth = 0
    for token in tokens:
        depth += (token.kind in ("open", *_GROUPS)) - (token.kind == "close")
        if token.kind == "bar" and depth == 0:
            return ""
    found = ""
    for number, token in enumerate(tokens):
        if token.kind == "start" and not found:
            continue
        if token.kind != "literal" or [each.kind for each in tokens[number + 1 : number + 2]] == ["repeat"]:
            break
        found += token.value
    return found


def _place(at: int) -> str:
    return f" at character {at + 1}" if at >= 0 else ""


def _reason(error: bytes, text: str) -> str:
    """What RE2 says, in words that are ours."""
    told = error.decode("utf-8", "replace")
    for beginning, reason in _REASONS.items():
        if told.startswith(beginning):
            fragment = told.removeprefix(beginning)
            return f'"{fragment}"{_place(text.find(fragment))} {reason}'
    if "too large" in told:
        return _too_large("it is too large")
    return told


def _too_large(found: str) -> str:
    return (
        f"{found}, at most {MAX_SIZE} are allowed, because each byte of a request may cost all of them: "
        "a count such as {500} repeats what it counts so many times, so write + or *, or a smaller count"
    )
