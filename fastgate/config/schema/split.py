"""The key ``split`` of a route."""

from typing import Annotated

from msgspec import Meta

from fastgate.config.schema.kinds import StickyKey, Text, about
from fastgate.config.schema.table import Table


class Split(Table, frozen=True, kw_only=True):
    """One of several upstreams that share a route's requests."""

    upstream: Annotated[
        Text, about("The name of the upstream.", examples=["stable"], also=["name", "service", "cluster", "backend"])
    ]
    weight: Annotated[
        Annotated[int, Meta(ge=0, le=1_000_000)],
        about(
            "Its share of the requests, relative to the weights of the others. 0 gets none.",
            examples=[95],
            also=["percent", "share"],
        ),
    ] = 1
    sticky: Annotated[
        StickyKey,
        about(
            "What keeps a client at one upstream: `header:NAME`, `cookie:NAME` or `client_ip`. It applies to the whole "
            "split, even if only one part sets it. Absent: each request goes to a random part.",
            examples=["header:x-user"],
            also=["stickiness", "sticky_session", "key"],
        ),
    ] = ""
