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
        Annotated[int, Meta(ge=200, le=599)],
        about("Status code of the answer.", examples=[200], also=["code", "status_code"]),
    ] = 200
    body: Annotated[
        str,
        about(
            "Body of the answer, as UTF-8. Its type is text/plain unless `headers` has a Content-Type.",
            examples=["ok\n"],
            also=["content", "text"],
        ),
    ] = ""
    headers: Annotated[
        dict[AnswerHeader, HeaderValue], about("Header fields of the answer.", examples=[{"cache-control": "no-store"}])
    ] = field(default_factory=dict)

    def faults(self) -> Iterator[tuple[PathKeys, str]]:
        """See `Table.faults`."""
        if self.body and self.status in (204, 205, 304):
            yield ("body",), f"cannot be sent: an answer with status {self.status} has no body"
        headers: Any = self.headers
        for name in headers if isinstance(headers, dict) else ():
            if name.lower() == "upgrade" and self.status != 426:
                yield ("headers", name), "can only be sent in an answer with status 426"


class Redirect(Table, frozen=True, kw_only=True):
    """An answer that redirects the client to another URL."""

    to: Annotated[
        RedirectTarget,
        about(
            "The target: a path, or an http or https URL. May use `{host}`, `{path}` and `{param.NAME}`. The gateway "
            "adds the query of the request unless the target contains a `?`.",
            examples=["https://{host}{path}"],
            also=["location", "url", "uri", "target"],
        ),
    ]
    status: Annotated[
        Literal[301, 302, 303, 307, 308],
        about(
            "Browsers remember 301 and 308; 307 and 308 keep the method and the body.",
            also=["code", "status_code", "type"],
        ),
    ] = 308
