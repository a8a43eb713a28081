"""What is said of retries."""

from collections.abc import Iterator, Mapping
from typing import Any

from fastgate.config.check.findings import Finding, policy_tables
from fastgate.config.errors import PathKeys, quote
from fastgate.config.schema.retry import Retry
from fastgate.config.schema.root import Root
from fastgate.config.schema.routes import PolicyKeys
from fastgate.config.syntax.statuses import parse_statuses
from fastgate.config.syntax.units import format_duration

MENDABLE = frozenset((408, 425, 429))
"""Statuses below 500 that are no mistake of the client, and may be gone at the next try."""


def retry_warnings(config: Root, data: Mapping[str, Any]) -> Iterator[Finding]:
    """About retries, each said once: where it is written."""
    for keys, table, raw in policy_tables(config, data):
        if isinstance(raw.get("retry"), Mapping):
            yield from _of_retry(table, (*keys, "retry"), raw["retry"])


def _of_retry(table: PolicyKeys, keys: PathKeys, raw: Mapping[str, Any]) -> Iterator[Finding]:
    retry = table.retry
    if retry.attempts == 1:
        unused = [name for name in ("on", "backoff", "max_backoff", "jitter", "non_idempotent") if name in raw]
        if unused:
            yield (*keys, "attempts"), f"1 means only the first try, so these keys have no effect: {', '.join(unused)}"
    for number, word in enumerate(retry.on):
        if is_clients_fault(word):
            place = (*keys, "on", number)
            yield place, f"{quote(word)} is mostly a mistake of the request, and another try does not help"
    yield from _never_reached(retry, table.timeouts.read, keys)


def _never_reached(retry: Retry, read: float, keys: PathKeys) -> Iterator[Finding]:
    if retry.per_try_timeout and retry.attempts > 1 and "timeout" not in retry.on:
        yield (*keys, "per_try_timeout"), 'ends a try, but no other try follows: "timeout" is not in on'
    if retry.per_try_timeout >= read:
        yield (*keys, "per_try_timeout"), f"has no effect: timeouts.read is {format_duration(read)}"
    slowest = min(read, retry.per_try_timeout or read)
    if retry.hedge and retry.hedge.delay >= slowest:
        yield (*keys, "hedge", "delay"), f"has no effect: a try ends after {format_duration(slowest)}"


def is_clients_fault(word: str) -> bool:
    """Whether a cause of failures is mostly a mistake of the client."""
    return word[0] == "4" and bool(parse_statuses([word]) - MENDABLE)
