"""Messages for those who do not care about their bytes: well formed, framed by a Content-Length."""

import json as json_module
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import TypeAlias

__all__ = ["Headers", "compose_request", "compose_response"]

Headers: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]]
"""Fields of a message, by name or as pairs where a name comes more than once."""


def compose_request(
    method: str,
    target: str = "/",
    *,
    headers: Headers | None = None,
    body: bytes | str = b"",
    json: object = None,
    host: str = "gateway.test",
) -> bytes:
    """A request in the form that clients send."""
    fields = _pairs(headers)
    content = _content(fields, body, json)
    if "host" not in _names(fields):
        fields.insert(0, ("host", host))
    if "content-length" not in _names(fields) and (content or method in ("POST", "PUT", "PATCH")):
        fields.append(("content-length", str(len(content))))
    return _message(f"{method} {target} HTTP/1.1", fields, content)


def compose_response(
    status: int = 200, body: bytes | str = b"", *, headers: Headers | None = None, json: object = None
) -> bytes:
    """A response in the form that upstreams send."""
    fields = _pairs(headers)
    content = _content(fields, body, json)
    if "content-length" not in _names(fields) and status >= 200 and status not in (204, 304):
        fields.append(("content-length", str(len(content))))
    try:
        reason = HTTPStatus(status).phrase
    except ValueError:
        reason = ""
    return _message(f"HTTP/1.1 {status} {reason}", fields, content)


def _pairs(headers: Headers | None) -> list[tuple[str, str]]:
    return list(headers.items() if isinstance(headers, Mapping) else headers or ())


def _names(fields: list[tuple[str, str]]) -> set[str]:
    return {name.lower() for name, _ in fields}


def _content(fields: list[tuple[str, str]], body: bytes | str, json: object) -> bytes:
    if json is None:
        return body.encode() if isinstance(body, str) else body
    if body:
        raise TypeError("give either a body or json, not both")
    if "content-type" not in _names(fields):
        fields.append(("content-type", "application/json"))
    return json_module.dumps(json).encode()


def _message(start: str, fields: list[tuple[str, str]], content: bytes) -> bytes:
    lines = [start, *(f"{name}: {value}" for name, value in fields), "", ""]
    return "\r\n".join(lines).encode("latin-1") + content
