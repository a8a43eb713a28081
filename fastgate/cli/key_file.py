"""Keys in a configuration file: changed in place, with its comments, or not at all."""

import os
import tempfile
import tomllib
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

from fastgate.cli import CommandError
from fastgate.config.suggest import did_you_mean
from fastgate.config.syntax.documents import FORMATS, read_document
from fastgate.config.syntax.lines import toml_lines
from fastgate.config.syntax.toml_text import toml


def keys_in(path: Path, by_hand: str) -> dict[str, Any]:
    """The tables in ``[gateway.keys]`` as they are written. ``by_hand`` says what to do where the file is no TOML."""
    data = read_document(path, allow_empty=True).data
    kind = FORMATS[path.suffix.lower()]
    if kind != "TOML":
        raise CommandError(f"{path}: fastgate changes only TOML files in place, and this file is {kind}; {by_hand}")
    gateway = data.get("gateway")
    keys = gateway.get("keys") if isinstance(gateway, Mapping) else None
    return {name: key for name, key in keys.items() if isinstance(key, Mapping)} if isinstance(keys, Mapping) else {}


def find_key(path: Path, name: str, by_hand: str) -> dict[str, Any]:
    """The table of one key."""
    keys = keys_in(path, by_hand)
    if name not in keys:
        known = f"; the configuration has {', '.join(sorted(keys)[:5])}" if keys else ""
        raise CommandError(f'{path}: unknown key "{name}"{did_you_mean(name, keys) or known}')
    key: dict[str, Any] = keys[name]
    return key


def add_block(path: Path, block: str, name: str, values: Mapping[str, Any]) -> None:
    """Appends the table of a new key, as ``block`` writes it."""
    text = _read(path)
    wanted = tomllib.loads(text)
    gateway = wanted.setdefault("gateway", {})
    gateway.setdefault("keys", {})[name] = dict(values)
    ended = text if text.endswith("\n") or not text else text + "\n"
    _write(path, text, f"{ended}\n{block}" if text else block, wanted)


def change_key(path: Path, name: str, values: Mapping[str, Any], *, removed: tuple[str, ...] = ()) -> None:
    """Sets keys in the table of one key, and takes others out of it."""
    text = _read(path)
    wanted = tomllib.loads(text)
    table = wanted["gateway"]["keys"][name]
    _apply(table, {}, removed)
    added = {key: value for key, value in values.items() if key not in table}
    _apply(table, values, ())
    changed = {key: value for key, value in values.items() if key not in added}
    # At the end of the table new keys would come behind comments that belong to what follows.
    made = _with_lines(_edited(text, name, changed, removed), name, added)
    if _parsed(made) != wanted:
        made = _edited(text, name, values, removed)
    _write(path, text, made, wanted)


def _with_lines(text: str, name: str, added: Mapping[str, Any]) -> str:
    """The text with further keys behind the line of the hash."""
    place = toml_lines(text).get(("gateway", "keys", name, "hash"))
    if place is None or not added:
        return text
    lines = text.split("\n")
    indent = lines[place - 1][: len(lines[place - 1]) - len(lines[place - 1].lstrip())]
    lines[place:place] = [f"{indent}{key} = {toml(value)}" for key, value in added.items()]
    return "\n".join(lines)


def _edited(text: str, name: str, values: Mapping[str, Any], removed: tuple[str, ...]) -> str:
    """The text with these keys where they stand, or at the end of their table."""
    import tomlkit

    document: Any = tomlkit.parse(text)
    table = document["gateway"]["keys"][name]
    _apply(table, {key: _item(value) for key, value in values.items()}, removed)
    return str(tomlkit.dumps(document))


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def _item(value: Any) -> Any:
    """A value as it is written: tables inline, so that it stands in the table of its key."""
    import tomlkit

    if not isinstance(value, Mapping):
        return tomlkit.item(value)
    table = tomlkit.inline_table()
    table.update({key: _item(inner) for key, inner in value.items()})
    return table


def _apply(table: MutableMapping[str, Any], values: Mapping[str, Any], removed: tuple[str, ...]) -> None:
    for key in removed:
        table.pop(key, None)
    for key, value in values.items():
        table[key] = value


def _read(path: Path) -> str:
    """The text with its own line ends."""
    return path.read_bytes().decode("utf-8-sig")


def _write(path: Path, old: str, new: str, wanted: Mapping[str, Any]) -> None:
    """Replaces the file at once, if what it would then say is what was meant.

    A link stays one; mode and, where that is allowed, owner stay too.
    """
    if "\r\n" in old:
        new = new.replace("\r\n", "\n").replace("\n", "\r\n")
    if _parsed(new) != wanted:
        raise CommandError(f"{path}: cannot change the keys of this file in place; edit the file by hand")
    target = Path(os.path.realpath(path))
    temporary = ""
    try:
        before = target.stat()
        raw = target.read_bytes()
        mark = raw[:3] if raw.startswith(b"\xef\xbb\xbf") else b""
        number, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        with os.fdopen(number, "wb") as file:
            os.fchmod(number, before.st_mode & 0o7777)
            if (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(number, before.st_uid, before.st_gid)
            file.write(mark + new.encode())
            file.flush()
            os.fsync(number)
        os.replace(temporary, target)
    except OSError as error:
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)
        raise CommandError(f"cannot change {path}: {(error.strerror or str(error)).lower()}") from None
