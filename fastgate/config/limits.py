"""The keys of limits: how many requests in a span of time, and how many at once."""

import math
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from msgspec import Meta, field

from fastgate.config.errors import PathKeys
from fastgate.config.kinds import LimitKey, LimitName, Positive, Wait, about
from fastgate.config.table import Table

LONGEST_LOG = 100_000
"""The most time stamps that a sliding log keeps of one client."""

LimitKeys = Annotated[list[LimitKey], Meta(min_length=1, max_length=8)]


class RateLimit(Table, frozen=True, kw_only=True):
    """How many requests in a span of time, over all workers. A request above it is answered 429 with `Retry-After`.

    Answers carry `RateLimit` and `RateLimit-Policy`. Where there are several limits, each must let a request pass, and
    one that is refused takes nothing from any of them.
    """

    algorithm: Annotated[
        Literal["token_bucket", "fixed_window", "sliding_window_log"],
        about(
            "`token_bucket` lets `burst` requests through at once, then `rate` in each `per`, evenly spaced. "
            "`fixed_window` counts from one multiple of `per` to the next, so that twice the rate may pass around a "
            "border. `sliding_window_log` lets no span of `per` hold more than `rate`, and keeps a time stamp of each "
            "request for it.",
            also=["type", "strategy", "policy"],
        ),
    ] = "token_bucket"
    rate: Annotated[
        Annotated[float, Meta(gt=0, le=1_000_000_000)],
        about(
            "Requests in each `per`. Whole numbers for windows and logs; a log holds at most 100000.",
            examples=[100],
            also=["limit", "requests", "max", "count", "average", "requests_per_unit"],
        ),
    ]
    per: Annotated[
        Annotated[float, Meta(ge=0.001, le=366 * 86400, extra={"kind": "duration"})],
        about(
            "The span that `rate` is for, a millisecond to 366 days.",
            also=["window", "period", "interval", "unit", "time_window"],
        ),
    ] = 1.0
    burst: Annotated[
        Positive | None,
        about(
            "How many a token bucket lets through at one instant after a pause. Absent: `rate`, rounded up.",
            examples=[200],
            also=["capacity", "bucket_size", "size"],
        ),
    ] = None
    key: Annotated[
        LimitKeys,
        about(
            "What is counted apart: `client_ip`, `route`, `global`, `header:NAME`, `cookie:NAME`, `param:NAME` (of the "
            "path), or a list of them for each combination. Requests without the field share one count. Clients choose "
            "their header fields and cookies, so that a limit by these alone can be evaded.",
            single=True,
            also=["by", "keys", "limit_by", "policy", "key_type"],
        ),
    ] = field(default_factory=lambda: ["client_ip"])
    legacy_headers: Annotated[
        bool, about("Send `X-RateLimit-Limit`, `-Remaining` and `-Reset` too.", also=["headers", "x_ratelimit"])
    ] = False
    dry_run: Annotated[
        bool, about("Count, log and measure, and refuse nothing.", also=["shadow", "log_only", "limit_req_dry_run"])
    ] = False
    name: Annotated[
        LimitName,
        about(
            "What `RateLimit-Policy` calls the limit. Absent: `default`, or its position where there are several.",
            examples=["burst"],
            also=["id"],
        ),
    ] = ""

    @property
    def at_once(self) -> int:
        """How many are admitted at one instant after a pause."""
        return self.burst if self.burst is not None else math.ceil(self.rate)

    def faults(self) -> Iterator[tuple[PathKeys, str]]:
        """See `Table.faults`."""
        if self.algorithm in ("fixed_window", "sliding_window_log"):
            if self.rate > 0 and self.rate % 1:
                yield ("rate",), f"must be a whole number for {self.algorithm}, got {self.rate:g}"
            if self.burst:
                yield ("burst",), f"is for token_bucket only: {self.algorithm} admits its rate at once"
        if self.algorithm == "sliding_window_log" and self.rate > LONGEST_LOG:
            yield ("rate",), f"must be at most {LONGEST_LOG} for sliding_window_log, which keeps a time stamp of each"


def limit_names(limits: Sequence[RateLimit]) -> list[str]:
    """What `RateLimit-Policy` calls each limit of a route."""
    if len(limits) == 1:
        return [limits[0].name or "default"]
    return [limit.name or str(position) for position, limit in enumerate(limits, 1)]


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
