"""The key ``maintenance`` of a route: whether it is closed."""

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta, field

from fastgate.config.errors import PathKeys
from fastgate.config.schema.kinds import MediaType, Network, Wait, about
from fastgate.config.schema.table import Table


class Maintenance(Table, frozen=True, kw_only=True):
    """Closes a route for a while. `fastgate maintenance` also closes and reopens routes of a running gateway."""

    enabled: Annotated[
        bool,
        about("Whether the route is closed. `fastgate maintenance` overrides it.", also=["on", "active", "enable"]),
    ] = False
    status: Annotated[
        Annotated[int, Meta(ge=400, le=599)], about("Status code of the answer.", also=["code", "status_code"])
    ] = 503
    retry_after: Annotated[
        Wait, about("The value of `Retry-After`, in whole seconds.", examples=["1h"], also=["retry", "duration"])
    ] = 300.0
    allow: Annotated[
        list[Network],
        about(
            "Networks of clients that can still use the route.",
            examples=[["10.0.0.0/8"]],
            also=["allowed", "whitelist", "except"],
        ),
    ] = field(default_factory=list)
    body: Annotated[
        str,
        about(
            'Body of the answer, as UTF-8. `""` is the gateway\'s own error.',
            examples=["<h1>Back at noon</h1>\n"],
            also=["content", "message", "page", "text"],
        ),
    ] = ""
    content_type: Annotated[
        MediaType,
        about(
            "Media type of `body`. Absent: `text/html` if it begins with `<`, `application/json` if it is a JSON "
            "object or array, else `text/plain`.",
            examples=["text/html; charset=utf-8"],
            also=["type", "mime_type", "media_type"],
        ),
    ] = ""

    def faults(self) -> Iterator[tuple[PathKeys, str]]:
        """See `Table.faults`."""
        if self.content_type and self.body == "":
            yield ("content_type",), "needs body, which is not set"


MaintenanceKey = Annotated[
    Maintenance | None,
    about(
        "Closes the route for a while.",
        examples=[{"enabled": True, "retry_after": "1h"}],
        policy=True,
        also=["maintenance_mode", "downtime", "request_termination"],
    ),
]
