"""What is said of rate limits."""

from collections.abc import Iterator, Mapping
from typing import Any

from fastgate.config.check.findings import Finding, is_list, policy_tables
from fastgate.config.check.request_key import CHOSEN
from fastgate.config.errors import PathKeys
from fastgate.config.schema.rate_limit import RateLimit
from fastgate.config.schema.root import Root
from fastgate.config.syntax.request_key import parse_limit_key

FEW_CLIENTS = 100
"""Fewer clients than that a sliding log should not have to do with."""


def rate_limit_warnings(config: Root, data: Mapping[str, Any]) -> Iterator[Finding]:
    """About rate limits, each said once: where it is written."""
    for keys, table, raw in policy_tables(config, data):
        if "rate_limit" in raw:
            for number, limit in enumerate(table.rate_limit):
                place = (*keys, "rate_limit", number) if is_list(raw, ("rate_limit",)) else (*keys, "rate_limit")
                yield from _of_rate_limit(limit, table.rate_limit, place, config)


def _of_rate_limit(
    limit: RateLimit, limits: list[RateLimit], keys: PathKeys, config: Root
) -> Iterator[Finding]:
    if _evadable(limit) and all(_evadable(other) for other in limits):
        chosen = " and ".join(key for key in limit.key if parse_limit_key(key).kind in CHOSEN)
        yield (
            (*keys, "key"),
            f"clients choose {chosen} freely and can evade this limit; add a limit by client_ip or route",
        )
    if limit.algorithm == "sliding_window_log":
        room = int(config.state.rate_limit_stamps // limit.rate)
        several = not {"route", "global"}.issuperset(limit.key)
        if room < (FEW_CLIENTS if several else 1):
            found = f"state.rate_limit_stamps has room for {room or 'none'}"
            yield (*keys, "rate"), f"keeps {limit.rate:g} time stamps of each client: {found}"


def _evadable(limit: RateLimit) -> bool:
    return any(parse_limit_key(key).kind in CHOSEN for key in limit.key)
