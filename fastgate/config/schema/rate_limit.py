"""The key ``rate_limit`` of a route: how many requests in a span of time."""

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Annotated, Literal

from msgspec import Meta, field

from fastgate.config.errors import PathKeys
from fastgate.config.schema.kinds import LimitName, Positive, about
from fastgate.config.schema.request_key import LimitKeys
from fastgate.config.schema.table import Table

LONGEST_LOG = 100_000
"""The most time stamps that a sliding log keeps of one client."""

SHORTEST_WINDOW = 0.05
"""Seconds; what counts windows does so in units of some milliseconds."""

LONGEST_WINDOW = 366 * 86400.0

LONGEST_FILL = 3660 * 86400.0
"""Seconds in which a token bucket must be full again."""

MOST_IN_WINDOW = (1 << 28) - 1

MOST_IN_SECOND = 1_000_000_000


class RateLimit(Table, frozen=True, kw_only=True):
    """The most requests in a span of time, over all workers. A request above the limit gets 429 with `Retry-After`.

    Answers carry `RateLimit` and `RateLimit-Policy`. If there are several limits, each must let a request pass; a
    refused request counts in none of them.
    """

    algorithm: Annotated[
        Literal["token_bucket", "fixed_window", "sliding_window_log"],
        about(
            "`token_bucket` lets `burst` requests through at once, then `rate` in each `per`, evenly spaced. "
            "`fixed_window` counts from one multiple of `per` to the next, so twice the rate may pass around a border. "
            "`sliding_window_log` lets at most `rate` requests pass in any span of `per`, and keeps a time stamp of "
            "each request.",
            also=["type", "strategy", "policy"],
        ),
    ] = "token_bucket"
    rate: Annotated[
        Annotated[float, Meta(gt=0, le=1_000_000_000)],
        about(
            "Requests in each `per`. A whole number for windows and logs; a log holds at most 100000.",
            examples=[100],
            also=["limit", "requests", "max", "count", "average", "requests_per_unit"],
        ),
    ]
    per: Annotated[
        Annotated[float, Meta(ge=0.001, le=366 * 86400, extra={"kind": "duration"})],
        about(
            "The time that `rate` is for, 1 ms to 366 days.",
            also=["window", "period", "interval", "unit", "time_window"],
        ),
    ] = 1.0
    burst: Annotated[
        Positive | None,
        about(
            "How many requests a token bucket lets through at once after a pause. Absent: `rate`, rounded up.",
            examples=[200],
            also=["capacity", "bucket_size", "size"],
        ),
    ] = None
    key: Annotated[
        LimitKeys,
        about(
            "What is counted separately: `client_ip`, `key` (the authenticated client), `claim:NAME`, `route`, "
            "`global`, `header:NAME`, `cookie:NAME`, `param:NAME` (of the path), or a list of them for each "
            "combination. Requests without the field share one count. Clients choose their header fields and cookies, "
            "so they can evade a limit that has only these.",
            single=True,
            also=["by", "keys", "limit_by", "policy", "key_type"],
        ),
    ] = field(default_factory=lambda: ["client_ip"])
    legacy_headers: Annotated[
        bool, about("Also send `X-RateLimit-Limit`, `-Remaining` and `-Reset`.", also=["headers", "x_ratelimit"])
    ] = False
    dry_run: Annotated[
        bool, about("Count, log and measure, but refuse no request.", also=["shadow", "log_only", "limit_req_dry_run"])
    ] = False
    name: Annotated[
        LimitName,
        about(
            "The name of the limit in `RateLimit-Policy`. Absent: `default`, or its position if there are several.",
            examples=["burst"],
            also=["id"],
        ),
    ] = ""

    @property
    def at_once(self) -> int:
        """How many are admitted at one instant after a pause."""
        return self.burst if self.burst is not None else math.ceil(self.rate)

    def whole(self) -> tuple[int, float]:
        """The same limit with a whole number: how many, in how many seconds. Half a request a second is 1 in 2."""
        if self.rate >= 1:
            rate = Fraction(self.rate).limit_denominator(max(1, min(1000, (1 << 31) // math.ceil(self.rate) - 1)))
        else:
            rate = 1 / Fraction(1 / self.rate).limit_denominator(1000)
        return rate.numerator, self.per * rate.denominator

    def faults(self) -> Iterator[tuple[PathKeys, str]]:
        """See `Table.faults`."""
        if self.algorithm in ("fixed_window", "sliding_window_log"):
            if self.rate > 0 and self.rate % 1:
                yield ("rate",), f"must be a whole number for {self.algorithm}, got {self.rate:g}"
            if self.burst:
                yield (
                    ("burst",),
                    f"can only be used with token_bucket; {self.algorithm} lets its whole rate through at once",
                )
        yield from self._uncountable()
        if self.algorithm == "sliding_window_log" and self.rate > LONGEST_LOG:
            yield ("rate",), f"must be at most {LONGEST_LOG} for sliding_window_log, which keeps a time stamp of each"

    def _uncountable(self) -> Iterator[tuple[PathKeys, str]]:
        if not (self.rate > 0 and self.per > 0 and (self.burst is None or self.burst > 0)):  # said already
            return
        rate, per = self.whole()
        if per > LONGEST_WINDOW:
            yield ("rate",), f"must be at least one request in 366 days, got 1 in {per / 86400:.0f} days"
        elif rate > MOST_IN_SECOND * per:
            yield ("rate",), "must be at most one request per nanosecond"
        elif self.algorithm == "token_bucket" and self.at_once * per > LONGEST_FILL * rate:
            yield (
                ("burst",),
                f"must fill within 10 years at this rate, got {self.at_once * per / rate / (366 * 86400):.0f} years",
            )
        elif self.algorithm == "fixed_window" and self.per < SHORTEST_WINDOW:
            yield ("per",), f"must be at least {SHORTEST_WINDOW:g} s for fixed_window"
        elif self.algorithm == "fixed_window" and self.rate > MOST_IN_WINDOW:
            yield ("rate",), f"must be at most {MOST_IN_WINDOW} for fixed_window"


def limit_names(limits: Sequence[RateLimit]) -> list[str]:
    """What `RateLimit-Policy` calls each limit of a route."""
    if len(limits) == 1:
        return [limits[0].name or "default"]
    return [limit.name or str(position) for position, limit in enumerate(limits, 1)]


RateLimitKey = Annotated[
    Annotated[list[RateLimit], Meta(min_length=1, max_length=8)],
    about(
        "The most requests in a span of time: a table, or a list of limits that must all let a request pass.",
        examples=[{"rate": 100, "per": "1s", "burst": 200, "key": "client_ip"}],
        policy=True,
        single=True,
        also=["rate_limits", "ratelimit", "limit_req", "limits", "rate_limiting", "throttle", "limit"],
    ),
]
