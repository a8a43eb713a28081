"""The key ``split`` of a route."""

from typing import Annotated

from msgspec import Meta

from fastgate.config.schema.kinds import StickyKey, Text, about
from fastgate.config.schema.table import Table


class Split(Table, frozen=True, kw_only=True):
    """One of several upstreams that share a route's requests."""

    upstream: Annotated[Text, about("Its name.", examples=["stable"], also=["name", "service", "cluster", "backend"])]
    weight: Annotated[
        Annotated[int, Meta(ge=0, le=1_000_000)],
        about("Its share, beside the weights of the others. 0 gets none.", examples=[95], also=["percent", "share"]),
    ] = 1
    sticky: Annotated[
        StickyKey,
        about(
            "What keeps a client on one side: `header:NAME`, `cookie:NAME` or `client_ip`. Holds for the whole split, "
            "also where only one part gives it. Absent: each request is drawn anew.",
            examples=["header:x-user"],
            also=["stickiness", "sticky_session", "key"],
        ),
    ] = ""
