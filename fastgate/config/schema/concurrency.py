"""The key ``concurrency`` of a route: how many requests at once."""

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta, field

from fastgate.config.errors import PathKeys
from fastgate.config.schema.kinds import Positive, Wait, about
from fastgate.config.schema.request_key import LimitKeys
from fastgate.config.schema.table import Table


class Adaptive(Table, frozen=True, kw_only=True):
    """A limit that adapts itself.

    The limit rises, up to `max`, while answers take as long as usual. It falls, down to `min`, when they take longer.
    """

    min: Annotated[Positive, about("The lowest value of the limit.", also=["min_limit", "min_concurrency"])] = 1


class Concurrency(Table, frozen=True, kw_only=True):
    """The most requests in flight at once, over all workers. Requests above the limit wait, and then are refused."""

    max: Annotated[
        Annotated[int, Meta(ge=1, le=1_000_000)],
        about(
            "The most requests at once; with `adaptive`, the highest value of the limit.",
            examples=[64],
            also=["limit", "max_requests", "max_conns", "connections", "conn", "max_concurrency"],
        ),
    ]
    key: Annotated[
        LimitKeys,
        about("What is counted separately, as for `rate_limit`.", single=True, also=["by", "keys", "limit_by"]),
    ] = field(default_factory=lambda: ["route"])
    queue: Annotated[
        Annotated[int, Meta(ge=0, le=1_000_000)],
        about("Requests that may wait for their turn.", also=["max_queue", "max_pending_requests", "burst"]),
    ] = 0
    queue_timeout: Annotated[Wait, about("How long a request may wait.", also=["timeout"])] = 1.0
    adaptive: Annotated[
        Adaptive | None,
        about("Adapts the limit to the time that answers take. Absent: the limit is `max`.", examples=[{"min": 4}]),
    ] = None

    def faults(self) -> Iterator[tuple[PathKeys, str]]:
        """See `Table.faults`."""
        if self.adaptive and self.adaptive.min > self.max:
            yield ("adaptive", "min"), f"is larger than max, {self.max}"


ConcurrencyKey = Annotated[
    Concurrency | None,
    about(
        "The most requests in flight at once.",
        examples=[{"max": 64}],
        policy=True,
        also=["limit_conn", "max_concurrency", "concurrency_limit", "inflight", "in_flight"],
    ),
]
