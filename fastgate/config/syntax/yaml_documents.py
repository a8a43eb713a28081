"""YAML files, read with the core schema of YAML 1.2.

PyYAML (the extra ``yaml``) takes the text apart into events; what they mean is decided here, because PyYAML follows
YAML 1.1, where ``on`` is true, ``1:30`` is 90 and ``2027-01-01`` is a date. Here ``true``, ``false``, ``null`` and
decimal numbers are what they say, and everything else is text. Keys are always text.

An alias (``*name``) stands for a value once more, and a value with aliases for many more: nine lines can stand for a
billion values. Nothing is copied for an alias, but what reads the configuration meets each value each time, so that
their number is bounded. ``<<`` is no part of the schema, yet widely used: it takes over the keys of other mappings.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from fastgate.config.errors import ConfigError, PathKeys, Problem
from fastgate.config.syntax.depth import MAX_DEPTH, TOO_DEEP, TOO_LONG

MAX_ALIASED = 100_000
"""The most values that the aliases of a small file may stand for together."""
ALIASED_PER_VALUE = 50
"""How many more that are for each value that is written out."""

# Section 10.3.2, without numbers that begin with needless zeros (0660 is octal to most readers), in octal, in
# hexadecimal, and those that are not finite.
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)", re.ASCII)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_TAG = "tag:yaml.org,2002:"
_SCALAR_TAGS: dict[str, tuple[type, ...]] = {
    "null": (type(None),),
    "bool": (bool,),
    "int": (int,),
    "float": (float, int),
}


class _Node(NamedTuple):
    """A value with the lines of what is in it."""

    value: Any
    line: int
    size: int  # values in it and itself, those of an alias each time
    text: str | None = None  # of a scalar, as it is written
    merges: bool = False  # it is a plain <<
    entries: "dict[str, tuple[int, _Node]] | list[_Node] | None" = None  # of a mapping the line of the key too


class _Open:
    """A mapping or a sequence whose end has not come."""

    def __init__(self, line: int, anchor: str | None, *, mapping: bool) -> None:
        self.line = line
        self.anchor = anchor
        self.size = 1
        self.items: list[_Node] | None = None if mapping else []
        self.entries: dict[str, tuple[int, _Node]] = {}
        self.merged: list[_Node] = []
        self.merged_on = 0
        self.key: _Node | None = None


def load_yaml(text: str, source: str) -> Any:
    """What a YAML text says; None where it says nothing. Raises `ConfigError`."""
    root = _compose(text, source)
    return None if root is None else root.value


def yaml_lines(text: str) -> dict[PathKeys, int]:
    """The lines of keys and list elements; those of an alias are the lines of what it stands for."""
    root = _compose(text, "")
    return {} if root is None else dict(_lines(root, ()))


def _lines(node: _Node, path: PathKeys) -> Iterator[tuple[PathKeys, int]]:
    if isinstance(node.entries, dict):
        for key, (line, inner) in node.entries.items():
            yield (*path, key), line
            yield from _lines(inner, (*path, key))
    elif node.entries is not None:
        for number, inner in enumerate(node.entries):
            yield (*path, number), inner.line
            yield from _lines(inner, (*path, number))


def _compose(text: str, source: str) -> _Node | None:
    try:
        import yaml
    except ImportError:
        raise _failure(source, "YAML needs the package PyYAML: pip install 'fastgate[yaml]'") from None
    composer = _Composer(source)
    try:
        for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            composer.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        column = f", at column {mark.column + 1}" if mark else ""
        reason = error.problem or error.context or "malformed"
        if "maximum nesting depth" in reason:
            raise _failure(source, TOO_DEEP, mark.line + 1 if mark else None) from None
        raise _failure(source, f"not YAML: {reason}{column}", mark.line + 1 if mark else None) from None
    except yaml.YAMLError as error:
        raise _failure(source, f"not YAML: {str(error).splitlines()[0]}") from None
    return composer.root


class _Composer:
    """Makes values of events."""

    def __init__(self, source: str) -> None:
        self.root: _Node | None = None
        self._source = source
        self._open: list[_Open] = []
        self._anchors: dict[str, _Node] = {}
        self._documents = 0
        self._aliased = 0
        self._written = 0

    def take(self, event: Any) -> None:
        """The next event. Raises `ConfigError`."""
        line = event.start_mark.line + 1
        match type(event).__name__:
            case "DocumentStartEvent":
                self._documents += 1
                if self._documents > 1:
                    raise _failure(self._source, "a second YAML document begins here: a file must have only one", line)
            case "ScalarEvent":
                self._written += 1
                node = self._scalar(event, line)
                if event.anchor is not None:
                    self._anchors[event.anchor] = node
                self._put(node)
            case "AliasEvent":
                self._put(self._alias(event.anchor, line))
            case "SequenceStartEvent" | "MappingStartEvent" as kind:
                mapping = kind == "MappingStartEvent"
                if event.tag not in (None, "!", f"{_TAG}{'map' if mapping else 'seq'}"):
                    raise self._unknown_tag(event.tag, line)
                if len(self._open) == MAX_DEPTH:
                    raise _failure(self._source, TOO_DEEP, line)
                self._open.append(_Open(line, event.anchor, mapping=mapping))
            case "SequenceEndEvent" | "MappingEndEvent":
                self._close()

    def _put(self, node: _Node) -> None:
        """A value is complete: it belongs to the sequence or mapping around it, there as a key or as a value."""
        if not self._open:
            self.root = node
            return
        around = self._open[-1]
        if around.items is not None:
            around.items.append(node)
        elif around.key is None:
            self._check_key(around, node)
            around.key = node
            return
        elif around.key.merges:
            around.merged, around.merged_on = self._mappings(node), around.key.line
            around.key = None
            return
        else:
            assert around.key.text is not None
            around.entries[around.key.text] = (around.key.line, node)
            around.key = None
        around.size += node.size

    def _check_key(self, around: _Open, key: _Node) -> None:
        if key.text is None:
            raise _failure(self._source, "a key must be text, but this is a list or a table", key.line)
        first = around.merged_on if key.merges else around.entries.get(key.text, (0,))[0]
        if first:
            raise _failure(self._source, f'the key "{key.text}" was already given on line {first}', key.line)

    def _close(self) -> None:
        """The sequence or mapping that began last is complete."""
        done = self._open.pop()
        if done.items is not None:
            node = _Node([item.value for item in done.items], done.line, done.size, entries=done.items)
        else:
            for merged in done.merged:
                assert isinstance(merged.entries, dict)
                for name, (line, inner) in merged.entries.items():
                    if name not in done.entries:
                        done.entries[name] = (line, inner)
                        done.size += inner.size
            values = {name: inner.value for name, (_, inner) in done.entries.items()}
            node = _Node(values, done.line, done.size, entries=done.entries)
        if done.anchor is not None:
            self._anchors[done.anchor] = node
        self._put(node)

    def _mappings(self, node: _Node) -> list[_Node]:
        """What stands behind ``<<``: a mapping or several, of which the first counts most."""
        found = node.entries if isinstance(node.entries, list) else [node]
        if not found or not all(isinstance(each.entries, dict) for each in found):
            raise _failure(self._source, '"<<" must be an alias of a mapping, or a list of them', node.line)
        return found

    def _alias(self, name: str, line: int) -> _Node:
        if any(each.anchor == name for each in self._open):
            raise _failure(self._source, f'the alias "*{name}" is inside the value that it stands for', line)
        if name not in self._anchors:
            raise _failure(self._source, f'there is no anchor "&{name}" before the alias "*{name}"', line)
        node = self._anchors[name]
        self._aliased += node.size
        most = MAX_ALIASED + ALIASED_PER_VALUE * self._written
        if self._aliased > most:
            reason = f"the aliases up to here stand for more than {most} values: write the values out"
            raise _failure(self._source, reason, line)
        return node

    def _scalar(self, event: Any, line: int) -> _Node:
        plain = event.tag is None and event.implicit[0]
        text = event.value
        if plain:
            return _Node(self._converted(text, line), line, 1, text, merges=text == "<<")
        if event.tag in (None, "!", f"{_TAG}str"):
            return _Node(text, line, 1, text)
        name = event.tag.removeprefix(_TAG)
        if event.tag == name or name not in _SCALAR_TAGS:
            raise self._unknown_tag(event.tag, line)
        value = self._converted(text, line)
        if not isinstance(value, _SCALAR_TAGS[name]) or (name != "bool" and isinstance(value, bool)):
            raise _failure(self._source, f'"{text}" is not a valid value of the tag "!!{name}"', line)
        return _Node(float(text) if name == "float" else value, line, 1, text)

    def _converted(self, text: str, line: int) -> Any:
        if text in _WORDS:
            return _WORDS[text]
        try:
            if _INTEGER.fullmatch(text):
                return int(text)
            return float(text) if _FLOAT.fullmatch(text) else text
        except ValueError:
            raise _failure(self._source, TOO_LONG, line) from None

    def _unknown_tag(self, tag: str, line: int) -> ConfigError:
        written = f"!!{tag.removeprefix(_TAG)}" if tag.startswith(_TAG) else tag
        return _failure(self._source, f'unknown tag "{written}"; values are text, numbers, true, false and null', line)


def _failure(source: str, message: str, line: int | None = None) -> ConfigError:
    return ConfigError([Problem(path="", message=message, line=line, source=source)])
