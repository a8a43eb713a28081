"""The bytes of a request that the gateway makes itself."""

import re
from collections.abc import Iterable

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TARGET = re.compile(r"[!-~]+")
_VALUE = re.compile(r"[\t -~\x80-\xff]*")
_FRAMING = ("content-length", "transfer-encoding")
_BODY_EXPECTED = ("PATCH", "POST", "PUT")


def compose(method: str, target: str, fields: Iterable[tuple[str, str]], body: bytes = b"") -> bytes:
    """A request of HTTP/1.1 with these fields in this order, ``Host`` among them.

    The length of the body is added, to methods that have one also when it is empty. Raises ValueError for what would
    not be one request with these fields: characters that no target, name or value can have, a second or no ``Host``, a
    field that says where the body ends, and HEAD and CONNECT, whose replies are read in another way.
    """
    if method in ("CONNECT", "HEAD") or not _TOKEN.fullmatch(method):
        raise ValueError(f'"{method}" is not a valid method for this client')
    if not _TARGET.fullmatch(target):
        raise ValueError(f'"{target}" is not a valid request target')
    lines = [f"{method} {target} HTTP/1.1"]
    hosts = 0
    for name, value in fields:
        if not _TOKEN.fullmatch(name) or name.lower() in _FRAMING:
            raise ValueError(f'"{name}" is not a valid field for a request')
        if not _VALUE.fullmatch(value):
            raise ValueError(f"the value of {name} has an invalid character")
        hosts += name.lower() == "host"
        lines.append(f"{name}: {value}")
    if hosts != 1:
        raise ValueError(f"a request needs exactly one Host field, but this one has {hosts}")
    if body or method in _BODY_EXPECTED:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
