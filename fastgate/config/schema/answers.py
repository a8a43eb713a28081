"""Answers that need no upstream: the keys ``respond`` and ``redirect`` of a route."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from msgspec import Meta, field

from fastgate.config.errors import PathKeys
from fastgate.config.schema.kinds import AnswerHeader, HeaderValue, RedirectTarget, about
from fastgate.config.schema.table import Table


class Respond(Table, frozen=True, kw_only=True):
    """An answer that needs no upstream."""

    status: Annotated[
        Annotated[int, Meta(ge=200, le=599)], about("Its status.", examples=[200], also=["code", "status_code"])
    ] = 200
    body: Annotated[
        str,
        about(
            "Its body, as UTF-8; text/plain unless `headers` has a Content-Type.",
            examples=["ok\n"],
            also=["content", "text"],
        ),
    ] = ""
    headers: Annotated[
        dict[AnswerHeader, HeaderValue], about("Its fields.", examples=[{"cache-control": "no-store"}])
    ] = field(default_factory=dict)

    def faults(self) -> Iterator[tuple[PathKeys, str]]:
        """See `Table.faults`."""
        if self.body and self.status in (204, 205, 304):
            yield ("body",), f"cannot be sent: an answer with status {self.status} has none"
        headers: Any = self.headers
        for name in headers if isinstance(headers, dict) else ():
            if name.lower() == "upgrade" and self.status != 426:
                yield ("headers", name), "belongs to an answer with status 426"


class Redirect(Table, frozen=True, kw_only=True):
    """An answer that sends the client elsewhere."""

    to: Annotated[
        RedirectTarget,
        about(
            "Where: a path, or a whole URL with http or https. May use `{host}`, `{path}` and `{param.NAME}`. The "
            "request's query is added unless there is a `?` in it.",
            examples=["https://{host}{path}"],
            also=["location", "url", "uri", "target"],
        ),
    ]
    status: Annotated[
        Literal[301, 302, 303, 307, 308],
        about(
            "301 and 308 are remembered by browsers; 307 and 308 keep the method and the body.",
            also=["code", "status_code", "type"],
        ),
    ] = 308
