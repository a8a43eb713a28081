"""The key ``envelope`` of a route."""

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta

from fastgate.config.errors import PathKeys, quote
from fastgate.config.schema.kinds import about
from fastgate.config.schema.table import Table


class Envelope(Table, frozen=True, kw_only=True):
    """JSON responses are put into an object: `{"data": …, "meta": {"request_id": "…", "status": 200}}`.

    Wrapped are bodies of `application/json` and of types that end in `+json`, but for problems (RFC 9457).
    """

    data: Annotated[
        Annotated[str, Meta(min_length=1, max_length=64)],
        about("The key of what the upstream answered.", examples=["data"], also=["body", "payload", "result"]),
    ] = "data"
    meta: Annotated[
        Annotated[str, Meta(max_length=64)],
        about('The key of what the gateway knows: `request_id` and `status`. `""`: it is left out.', examples=["meta"]),
    ] = "meta"
    max_size: Annotated[
        Annotated[int, Meta(ge=1, extra={"kind": "size"})],
        about(
            "The largest body that is wrapped; above it 502. It is kept in memory until it is whole.",
            examples=["4MB"],
            also=["max_body", "limit", "max_bytes"],
        ),
    ] = 1024 * 1024

    def faults(self) -> Iterator[tuple[PathKeys, str]]:
        """See `Table.faults`."""
        if self.data and self.data == self.meta:
            yield ("meta",), f"{quote(self.meta)} is the key of the data already"


EnvelopeKey = Annotated[
    Envelope | None,
    about(
        "Puts JSON responses into an object beside what the gateway knows of them. `true`: with the defaults.",
        examples=[{"data": "data", "meta": "meta"}],
        policy=True,
        on={},
        also=["wrap", "wrapper", "response_envelope"],
    ),
]
