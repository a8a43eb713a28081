"""The key ``envelope`` of a route."""

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta

from fastgate.config.errors import PathKeys, quote
from fastgate.config.schema.kinds import about
from fastgate.config.schema.table import Table


class Envelope(Table, frozen=True, kw_only=True):
    """Puts JSON responses into an object: `{"data": …, "meta": {"request_id": "…", "status": 200}}`.

    Applies to bodies of `application/json` and of types that end in `+json`, except problem details (RFC 9457).
    """

    data: Annotated[
        Annotated[str, Meta(min_length=1, max_length=64)],
        about("The key of the body of the upstream.", examples=["data"], also=["body", "payload", "result"]),
    ] = "data"
    meta: Annotated[
        Annotated[str, Meta(max_length=64)],
        about('The key of the gateway\'s data: `request_id` and `status`. `""` leaves it out.', examples=["meta"]),
    ] = "meta"
    max_size: Annotated[
        Annotated[int, Meta(ge=1, extra={"kind": "size"})],
        about(
            "The largest body that is wrapped; a larger one becomes 502. The gateway keeps the whole body in memory.",
            examples=["4MB"],
            also=["max_body", "limit", "max_bytes"],
        ),
    ] = 1024 * 1024

    def faults(self) -> Iterator[tuple[PathKeys, str]]:
        """See `Table.faults`."""
        if self.data and self.data == self.meta:
            yield ("meta",), f"{quote(self.meta)} is already the key of the data"


EnvelopeKey = Annotated[
    Envelope | None,
    about(
        "Puts JSON responses into an object, beside data of the gateway. `true`: with the defaults.",
        examples=[{"data": "data", "meta": "meta"}],
        policy=True,
        on={},
        also=["wrap", "wrapper", "response_envelope"],
    ),
]
