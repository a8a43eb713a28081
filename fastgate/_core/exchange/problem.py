"""The body of an error that the gateway itself reports: RFC 9457, or a small page for a browser."""

from __future__ import annotations

from http import HTTPStatus

import msgspec

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{status} {title}</title></head>
<body><h1>{status} {title}</h1><p>{detail}</p><p><small>Request {request_id}</small></p></body></html>
"""


def problem(status: int, detail: str, instance: str, request_id: str, as_html: bool) -> tuple[bytes, bytes]:
    """Media type and body. ``instance`` is the path that was asked for, "" where it could not be read.

    Nothing in it tells about what lies behind the gateway.
    """
    try:
        title = HTTPStatus(status).phrase
    except ValueError:
        title = "Error"
    if as_html:
        import html  # on use: workers start without it

        texts = {"title": title, "detail": detail, "request_id": request_id}
        page = _PAGE.format(status=status, **{name: html.escape(text) for name, text in texts.items()})
        return b"text/html; charset=utf-8", page.encode()
    members = {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": instance,
        "request_id": request_id,
    }
    # Whatever type it ends up with, a browser finds no markup in it.
    body = msgspec.json.encode(members).replace(b"<", b"\\u003c").replace(b">", b"\\u003e").replace(b"&", b"\\u0026")
    return b"application/problem+json", body
