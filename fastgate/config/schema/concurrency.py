"""The key ``concurrency`` of a route: how many requests at once."""

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta, field

from fastgate.config.errors import PathKeys
from fastgate.config.schema.kinds import Positive, Wait, about
from fastgate.config.schema.request_key import LimitKeys
from fastgate.config.schema.table import Table


class Adaptive(Table, frozen=True, kw_only=True):
    """A limit that finds itself.

    While answers take as long as they usually do it rises, up to `max`; when they take longer it falls, down to `min`.
    """

    min: Annotated[Positive, about("The lowest that it falls to.", also=["min_limit", "min_concurrency"])] = 1


class Concurrency(Table, frozen=True, kw_only=True):
    """How many requests are under way at once, over all workers. Above it they wait, then are refused."""

    max: Annotated[
        Annotated[int, Meta(ge=1, le=1_000_000)],
        about(
            "The most at once; with `adaptive`, the highest that the limit rises to.",
            examples=[64],
            also=["limit", "max_requests", "max_conns", "connections", "conn", "max_concurrency"],
        ),
    ]
    key: Annotated[
        LimitKeys,
        about("What is counted apart, as for `rate_limit`.", single=True, also=["by", "keys", "limit_by"]),
    ] = field(default_factory=lambda: ["route"])
    queue: Annotated[
        Annotated[int, Meta(ge=0, le=1_000_000)],
        about("Requests that may wait for their turn.", also=["max_queue", "max_pending_requests", "burst"]),
    ] = 0
    queue_timeout: Annotated[Wait, about("How long one may wait for it.", also=["timeout"])] = 1.0
    adaptive: Annotated[
        Adaptive | None,
        about("Let the limit move with the time that answers take. Absent: it is `max`.", examples=[{"min": 4}]),
    ] = None

    def faults(self) -> Iterator[tuple[PathKeys, str]]:
        """See `Table.faults`."""
        if self.adaptive and self.adaptive.min > self.max:
            yield ("adaptive", "min"), f"is above max, {self.max}"


ConcurrencyKey = Annotated[
    Concurrency | None,
    about(
        "How many requests are under way at once.",
        examples=[{"max": 64}],
        policy=True,
        also=["limit_conn", "max_concurrency", "concurrency_limit", "inflight", "in_flight"],
    ),
]
