"""The key ``retry`` of a route."""

from collections.abc import Iterator
from typing import Annotated, Literal

from msgspec import Meta, field

from fastgate.config.errors import PathKeys
from fastgate.config.schema.kinds import Cause, Duration, Wait, about
from fastgate.config.schema.table import Table


class Hedge(Table, frozen=True, kw_only=True):
    """A second try beside a slow one. The first answer is used, and the gateway drops the other."""

    delay: Annotated[
        Wait,
        about(
            "How long the first try may be without an answer before the gateway sends a second one.",
            examples=["200ms"],
            also=["after"],
        ),
    ]


class Retry(Table, frozen=True, kw_only=True):
    """Repeats failed tries, each time on another target.

    The gateway retries only before it has answered, and only if it can send the request body again: there is no body,
    or it is buffered.
    """

    attempts: Annotated[
        Annotated[int, Meta(ge=1, le=10)],
        about(
            "The most tries, including the first. Without a `retry` table: 2, on `connect` and `reset`; with `retry = "
            "false`: 1.",
            also=["retries", "max_retries", "max", "num_retries", "tries", "count"],
        ),
    ] = 3
    on: Annotated[
        Annotated[list[Cause], Meta(min_length=1)],
        about(
            "What is retried: `connect` (no connection; any method), and for idempotent methods `reset` (the "
            "connection ended before a response head), `timeout` (no head in time), `5xx`, `4xx`, or a status such as "
            '`"503"`.',
            examples=[["connect", "reset", "5xx"]],
            also=["retry_on", "when", "conditions", "statuses", "proxy_next_upstream"],
        ),
    ] = field(default_factory=lambda: ["connect", "reset"])
    backoff: Annotated[
        Duration,
        about("The length of the first wait; each further wait is twice as long.", also=["delay", "base_interval"]),
    ] = 0.025
    max_backoff: Annotated[Duration, about("The longest wait.", also=["max_interval", "max_delay"])] = 1.0
    jitter: Annotated[
        Literal["full", "none"],
        about(
            "`full`: each wait is a random part of its length, so that clients that failed together do not retry "
            "together."
        ),
    ] = "full"
    budget: Annotated[
        Annotated[float, Meta(ge=0, le=10)],
        about(
            "How much of a retry each first try pays for, counted for the whole upstream over all workers: 0.2 allows "
            "one retry for five first tries. Three retries are available at the start. The budget keeps retries from "
            "multiplying the load of an upstream in trouble.",
            also=["retry_budget", "budget_percent", "ratio"],
        ),
    ] = 0.2
    per_try_timeout: Annotated[
        Duration,
        about("How long one try may wait for a response head. 0: only `timeouts.read` applies.", also=["try_timeout"]),
    ] = 0.0
    non_idempotent: Annotated[
        bool,
        about(
            "Also retry methods that are not idempotent, such as POST, although the upstream may have processed the "
            "request already.",
            also=["retry_non_idempotent", "all_methods"],
        ),
    ] = False
    hedge: Annotated[
        Hedge | None,
        about(
            "For idempotent methods: a second try beside a slow one. It uses the budget as a retry does.",
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
        "Which tries are repeated. Absent: those that fail with `connect` or `reset`, once. `false`: none.",
        examples=[{"attempts": 3, "on": ["connect", "reset", "5xx"]}],
        policy=True,
        off={"attempts": 1},
        also=["retries", "retry_policy", "proxy_next_upstream"],
    ),
]
