"""Request keys: what a limit counts by, what keeps a client at one part of a split, the names of limits."""

import re
from typing import NamedTuple

from fastgate.config.suggest import did_you_mean
from fastgate.config.syntax.headers import check_header_name
from fastgate.config.syntax.patterns import check_token

_PARAMETER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NAME = re.compile(r"[A-Za-z0-9_.-]+")


class LimitKeyParts(NamedTuple):
    """One part of what a limit counts by: ``("header", "x-user")``, ``("client_ip", "")``."""

    kind: str
    name: str


def parse_limit_key(text: str) -> LimitKeyParts:
    """The parts of a checked key; ``kind`` is client_ip, key, route, global, header, cookie, param or claim."""
    kind, _, name = text.partition(":")
    return LimitKeyParts(kind, name)


def names_identity(text: str) -> bool:
    """Whether a checked key can only be known after authentication."""
    return text == "key" or text.startswith("claim:")


def is_chosen_by_clients(text: str) -> bool:
    """Whether clients can send anything as the value of a checked key."""
    return parse_limit_key(text).kind in ("header", "cookie", "param")


def check_limit_key(text: str) -> str:
    """A key, the name of a header in lower case; ValueError with the reason."""
    return check_key(text, ("client_ip", "key", "route", "global"), ("header", "cookie", "param", "claim"))


def check_sticky_key(text: str) -> str:
    """What keeps a client on its side of a split; ValueError with the reason."""
    return check_key(text, ("client_ip",), ("header", "cookie"))


def check_key(text: str, plain: tuple[str, ...], named: tuple[str, ...]) -> str:
    """One of the ``plain`` words, or ``kind:name`` with one of the ``named`` kinds; ValueError with the reason."""
    kind, colon, name = text.partition(":")
    if kind in plain and not colon:
        return text
    if kind not in named:
        known = [f'"{word}"' for word in (*plain, *(f"{word}:NAME" for word in named))]
        hint = did_you_mean(kind, plain + named)
        raise ValueError(f"expected {', '.join(known[:-1])} or {known[-1]}{hint}")
    if not name:
        raise ValueError(f'the name is missing: write "{kind}:NAME"')
    if kind == "header":
        return f"header:{check_header_name(name)}"
    if kind == "cookie":
        check_token(name, "cookie name")
    elif kind == "claim":
        if not name.isprintable():
            raise ValueError("control characters are not allowed here")
    elif not _PARAMETER.fullmatch(name):
        raise ValueError(f'"{name}" is not a valid parameter; its name must be letters, digits and "_"')
    return text


def check_limit_name(text: str) -> str:
    """A name that can stand in a header field; ValueError for any other."""
    if not _NAME.fullmatch(text):
        raise ValueError('the name of a limit must be letters, digits, "-", "_" and "."')
    return text
