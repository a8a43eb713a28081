"""What is allowed and suspicious in limits, retries, splits, and in how targets are chosen and left out."""

import ipaddress
import os
from collections.abc import Iterator, Mapping
from typing import Any

from fastgate.config.checks import is_list
from fastgate.config.errors import PathKeys, quote
from fastgate.config.limits import RateLimit
from fastgate.config.patterns import path_parameters
from fastgate.config.routes import PolicyKeys, Retry
from fastgate.config.schema import GatewayConfig, Route, Target, Upstream
from fastgate.config.templates import Variable, parse_redirect
from fastgate.config.units import format_duration
from fastgate.config.words import parse_limit_key, parse_statuses

Finding = tuple[PathKeys, str]

MENDABLE = frozenset((408, 425, 429))
"""Statuses below 500 that are no mistake of the client, and may be gone at the next try."""
UPSTREAM_ONLY = (
    "strip_prefix",
    "add_prefix",
    "rewrite",
    "host_header",
    "request_headers",
    "retry",
    "timeouts",
    "buffer_request",
    "upgrades",
)
"""Policy keys that are about what is sent to an upstream."""
CHOSEN = ("header", "cookie")
"""Kinds of keys that a client can send anything in."""
SHARED = ("route", "global")
"""Kinds of keys that many clients have in common."""
FEW_CLIENTS = 100
"""Fewer clients than that a sliding log should not have to do with."""


def rate_limit_warnings(config: GatewayConfig, data: Mapping[str, Any]) -> Iterator[Finding]:
    """About rate limits, each said once: where it is written."""
    for keys, table, raw in policy_tables(config, data):
        if "rate_limit" in raw:
            for number, limit in enumerate(table.rate_limit):
                place = (*keys, "rate_limit", number) if is_list(raw, ("rate_limit",)) else (*keys, "rate_limit")
                yield from _of_rate_limit(limit, table.rate_limit, place, config)


def retry_warnings(config: GatewayConfig, data: Mapping[str, Any]) -> Iterator[Finding]:
    """About retries, each said once: where it is written."""
    for keys, table, raw in policy_tables(config, data):
        if isinstance(raw.get("retry"), Mapping):
            yield from _of_retry(table, (*keys, "retry"), raw["retry"])


def policy_tables(
    config: GatewayConfig, data: Mapping[str, Any]
) -> Iterator[tuple[PathKeys, PolicyKeys, Mapping[str, Any]]]:
    """`[defaults]` and the routes, each as it was read and as it is written."""
    if isinstance(data.get("defaults"), Mapping):
        yield ("defaults",), config.defaults, data["defaults"]
    for number, (route, raw) in enumerate(zip(config.routes, data.get("routes", ()), strict=False)):
        yield ("routes", number), route, raw


def _of_rate_limit(
    limit: RateLimit, limits: list[RateLimit], keys: PathKeys, config: GatewayConfig
) -> Iterator[Finding]:
    if _evadable(limit) and all(_evadable(other) for other in limits):
        chosen = " and ".join(key for key in limit.key if parse_limit_key(key).kind in CHOSEN)
        yield (*keys, "key"), f"clients choose {chosen} freely and can evade it: add a limit by client_ip or route"
    if limit.algorithm == "sliding_window_log":
        room = int(config.state.rate_limit_stamps // limit.rate)
        several = not {"route", "global"}.issuperset(limit.key)
        if room < (FEW_CLIENTS if several else 1):
            found = f"state.rate_limit_stamps has room for {room or 'none'}"
            yield (*keys, "rate"), f"keeps {limit.rate:g} time stamps of each client: {found}"


def _evadable(limit: RateLimit) -> bool:
    return any(parse_limit_key(key).kind in CHOSEN for key in limit.key)


def _of_retry(table: PolicyKeys, keys: PathKeys, raw: Mapping[str, Any]) -> Iterator[Finding]:
    retry = table.retry
    if retry.attempts == 1:
        unused = [name for name in ("on", "backoff", "max_backoff", "jitter", "non_idempotent") if name in raw]
        if unused:
            yield (*keys, "attempts"), f"1 is the first try alone: no use of {', '.join(unused)}"
    for number, word in enumerate(retry.on):
        if _is_clients_fault(word):
            place = (*keys, "on", number)
            yield place, f"{quote(word)} is mostly the request's own mistake, which another try does not mend"
    yield from _never_reached(retry, table.timeouts.read, keys)


def _never_reached(retry: Retry, read: float, keys: PathKeys) -> Iterator[Finding]:
    if retry.per_try_timeout and retry.attempts > 1 and "timeout" not in retry.on:
        yield (*keys, "per_try_timeout"), 'ends a try without another: "timeout" is not in on'
    if retry.per_try_timeout >= read:
        yield (*keys, "per_try_timeout"), f"never passes: timeouts.read is {format_duration(read)}"
    slowest = min(read, retry.per_try_timeout or read)
    if retry.hedge and retry.hedge.delay >= slowest:
        yield (*keys, "hedge", "delay"), f"never passes: a try ends after {format_duration(slowest)}"


def _is_clients_fault(word: str) -> bool:
    return word[0] == "4" and bool(parse_statuses([word]) - MENDABLE)


def answer_warnings(config: GatewayConfig, data: Mapping[str, Any]) -> Iterator[Finding]:
    """About who answers a route: redirects, keys that are for upstreams only."""
    for number, (route, raw) in enumerate(zip(config.routes, data.get("routes", ()), strict=False)):
        keys = ("routes", number)
        if not route.upstreams():
            for name in UPSTREAM_ONLY:
                if raw.get(name, False) is not False:
                    yield (*keys, name), "is not used: this route has no upstream"
        if route.redirect:
            yield from _redirect_warnings(route, (*keys, "redirect", "to"))


def mirror_warnings(config: GatewayConfig, data: Mapping[str, Any]) -> Iterator[Finding]:
    """About copies of requests."""
    for number, route in enumerate(config.routes):
        if route.mirror:
            keys = ("routes", number, "mirror")
            if route.mirror.upstream in route.upstreams():
                yield (*keys, "upstream"), "answers this route too: it gets these requests twice"
            if route.mirror.sample == 0:
                yield (*keys, "sample"), "0 copies nothing"


def _redirect_warnings(route: Route, keys: PathKeys) -> Iterator[Finding]:
    assert route.redirect
    to = route.redirect.to
    parts = parse_redirect(to)
    if to.lower() in ("https://{path}", "http://{path}") or to in ("{path}", route.path):
        yield keys, "sends the client to where it came from"
    if any(isinstance(part, Variable) and part.name == "param" for part in _host_of(parts)):
        yield keys, "lets whoever makes a link choose the site that clients are sent to"


def _host_of(parts: tuple[str | Variable, ...]) -> Iterator[str | Variable]:
    """The parts of a URL that its host is made of, or may go on in: until a slash ends it."""
    first = parts[0]
    if not isinstance(first, str) or "://" not in first:
        return
    for part in (first.partition("://")[2], *parts[1:]):
        if (isinstance(part, str) and set(part) & set("/?#")) or part == Variable("path"):
            return
        yield part


def upstream_warnings(name: str, upstream: Upstream, routes: list[Route]) -> Iterator[Finding]:
    """About one upstream's balancer, health and breaker."""
    keys = ("upstreams", name)
    plain = Upstream(targets=upstream.targets)
    hashing = upstream.balancer in ("ip_hash", "consistent_hash")
    if upstream.balancer == "round_robin" and len({target.weight for target in upstream.targets}) > 1:
        number = next(number for number, target in enumerate(upstream.targets) if target.weight != 1)
        yield (
            (*keys, "targets", number),
            'round_robin ignores weights; balancer = "weighted_round_robin" goes by them',
        )
    if not hashing and upstream.hash_key != plain.hash_key:
        yield (*keys, "hash_key"), f"is not used: {upstream.balancer} does not hash"
    if upstream.balancer != "consistent_hash" and upstream.load_bound != plain.load_bound:
        yield (*keys, "load_bound"), "is used with consistent_hash only"
    if hashing:
        yield from _hash_key_warnings(name, upstream, routes)
    if upstream.dns != plain.dns and not any(_has_name(target) for target in upstream.targets):
        yield (*keys, "dns"), "is not used: no target has a name"
    yield from _health_warnings(upstream, keys, plain)


def pool_warnings(name: str, upstream: Upstream, config: GatewayConfig) -> Iterator[Finding]:
    """About connections that run out."""
    bound = upstream.pool.max_connections
    routes = [route for route in config.routes if name in route.upstreams()]
    gateway = config.gateway
    workers = gateway.workers if isinstance(gateway.workers, int) else os.cpu_count() or 1
    if 0 < gateway.max_connections_per_client * workers < bound:
        return
    open_to_one = [route.name for route in routes if not _bounds_a_client(route, bound)]
    if bound and open_to_one:
        which = f"route {quote(open_to_one[0])}" + (f" and {len(open_to_one) - 1} more" if open_to_one[1:] else "")
        message = f"one client that sends or reads slowly can hold all {bound}"
        mend = f"add concurrency by client_ip to {which}, or leave it out (0 is no bound)"
        yield ("upstreams", name, "pool", "max_connections"), f"{message}: {mend}"


def _bounds_a_client(route: Route, connections: int) -> bool:
    """Whether each client has fewer requests under way than there are connections."""
    limit = route.concurrency
    if limit is None or limit.max >= connections:
        return False
    return all(parse_limit_key(key).kind not in (*CHOSEN, *SHARED, "param") for key in limit.key)


def _hash_key_warnings(name: str, upstream: Upstream, routes: list[Route]) -> Iterator[Finding]:
    for key in upstream.hash_key:
        parts = parse_limit_key(key)
        if parts.kind in ("global", "route"):
            yield ("upstreams", name, "hash_key"), f"{quote(key)} sends every request of a route to the same target"
        for route in routes:
            if parts.kind == "param" and name in route.upstreams() and parts.name not in path_parameters(route.path):
                yield ("upstreams", name, "hash_key"), f"the path of route {quote(route.name)} has no {{{parts.name}}}"


def _health_warnings(upstream: Upstream, keys: PathKeys, plain: Upstream) -> Iterator[Finding]:
    active, passive, breaker = upstream.health.active, upstream.health.passive, upstream.breaker
    if active and active.type == "tcp":
        unused = [name for name in ("path", "status", "body", "host", "headers") if _differs(active, name)]
        if unused:
            yield (
                (*keys, "health", "active", "type"),
                f'"tcp" only connects: no use of {", ".join(unused)}',
            )
    if passive:
        count = len(upstream.targets)
        if not any(_has_name(target) for target in upstream.targets) and int(passive.max_ejected * count + 1e-9) == 0:
            share = f"{passive.max_ejected:g} of {count} target{'s' if count > 1 else ''}"
            yield (*keys, "health", "passive", "max_ejected"), f"{share} is less than one: none is ever ejected"
    for table, words in (("health", passive.on if passive else []), ("breaker", breaker.on if breaker else [])):
        place = (*keys, "health", "passive", "on") if table == "health" else (*keys, "breaker", "on")
        for number, word in enumerate(words):
            if _is_clients_fault(word):
                yield (
                    (*place, number),
                    f"lets one client's bad requests take {'targets' if table == 'health' else 'it'} away from all",
                )
    if upstream.panic_threshold != plain.panic_threshold and not active and not passive:
        yield (*keys, "panic_threshold"), "is not used: without health nothing finds a target unusable"
    if upstream.panic_over_probes and not active:
        yield (*keys, "panic_over_probes"), "is not used: without health.active no target is probed"
    elif upstream.panic_over_probes and upstream.panic_threshold == 0:
        yield (*keys, "panic_over_probes"), "is not used: panic_threshold is 0"


def _differs(table: Any, name: str) -> bool:
    return bool(getattr(table, name) != getattr(type(table)(), name))


def _has_name(target: Target) -> bool:
    """Whether a name stands for the target, and with it any number of addresses."""
    if target.unix:
        return False
    try:
        ipaddress.ip_address(target.host)
    except ValueError:
        return True
    return False
