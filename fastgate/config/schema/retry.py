"""The key ``retry`` of a route."""

from collections.abc import Iterator
from typing import Annotated, Literal

from msgspec import Meta, field

from fastgate.config.errors import PathKeys
from fastgate.config.schema.kinds import Cause, Duration, Wait, about
from fastgate.config.schema.table import Table


class Hedge(Table, frozen=True, kw_only=True):
    """A second try beside a slow one; the first answer wins and the other is dropped."""

    delay: Annotated[
        Wait,
        about("How long a try may be without an answer before another is sent.", examples=["200ms"], also=["after"]),
    ]


class Retry(Table, frozen=True, kw_only=True):
    """What is tried again, each time on another target.

    Only while nothing has been answered and the request's body can be sent once more: there is none, or it is buffered.
    """

    attempts: Annotated[
        Annotated[int, Meta(ge=1, le=10)],
        about(
            "Tries in all, the first among them. Without a `retry` table: 2, on `connect` and `reset`; with "
            "`retry = false`: 1.",
            also=["retries", "max_retries", "max", "num_retries", "tries", "count"],
        ),
    ] = 3
    on: Annotated[
        Annotated[list[Cause], Meta(min_length=1)],
        about(
            "What is tried again: `connect` (no connection; any method), and for idempotent methods `reset` (it ended "
            'before a response head), `timeout` (no head in time), `5xx`, `4xx`, or a status such as `"503"`.',
            examples=[["connect", "reset", "5xx"]],
            also=["retry_on", "when", "conditions", "statuses", "proxy_next_upstream"],
        ),
    ] = field(default_factory=lambda: ["connect", "reset"])
    backoff: Annotated[
        Duration,
        about("How long the first wait is; each one after it is twice as long.", also=["delay", "base_interval"]),
    ] = 0.025
    max_backoff: Annotated[Duration, about("The longest wait.", also=["max_interval", "max_delay"])] = 1.0
    jitter: Annotated[
        Literal["full", "none"],
        about("`full`: each wait is a random part of its length, so that clients that failed together come apart."),
    ] = "full"
    budget: Annotated[
        Annotated[float, Meta(ge=0, le=10)],
        about(
            "How much of a retry each first try pays for, counted for the whole upstream over all workers: 0.2 is one "
            "in five. Three are there to begin with. Keeps retries from multiplying what an upstream in trouble gets.",
            also=["retry_budget", "budget_percent", "ratio"],
        ),
    ] = 0.2
    per_try_timeout: Annotated[
        Duration,
        about("How long one try may be without a response head. 0: `timeouts.read` alone.", also=["try_timeout"]),
    ] = 0.0
    non_idempotent: Annotated[
        bool,
        about(
            "Try POST and the like again too, although the upstream may have done it already.",
            also=["retry_non_idempotent", "all_methods"],
        ),
    ] = False
    hedge: Annotated[
        Hedge | None,
        about(
            "For idempotent methods: a second try beside a slow one. Pays from the budget as a retry does.",
            examples=[{"delay": "200ms"}],
            also=["hedging", "hedge_policy"],
        ),
    ] = None

    def faults(self) -> Iterator[tuple[PathKeys, str]]:
        """See `Table.faults`."""
        if self.max_backoff < self.backoff:
            yield ("max_backoff",), "is shorter than backoff"


RetryKey = Annotated[
    Retry,
    about(
        "What is tried again. Absent: `connect` and `reset`, once. `false`: nothing is.",
        examples=[{"attempts": 3, "on": ["connect", "reset", "5xx"]}],
        policy=True,
        off={"attempts": 1},
        also=["retries", "retry_policy", "proxy_next_upstream"],
    ),
]
