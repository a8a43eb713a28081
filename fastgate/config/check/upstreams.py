"""What is said of upstreams: their names, how their targets are chosen and left out, their connections."""

import ipaddress
import os
import re
from collections.abc import Iterator
from typing import Any

from fastgate.config.check.findings import Finding, items
from fastgate.config.check.request_key import CHOSEN, SHARED
from fastgate.config.check.retry import is_clients_fault
from fastgate.config.errors import PathKeys, quote
from fastgate.config.schema.root import Root
from fastgate.config.schema.routes import Route
from fastgate.config.schema.upstreams import Target, Upstream
from fastgate.config.suggest import did_you_mean
from fastgate.config.syntax.addresses import normalize_host
from fastgate.config.syntax.patterns import path_parameters
from fastgate.config.syntax.request_key import parse_limit_key


def upstream_warnings(name: str, upstream: Upstream, routes: list[Route]) -> Iterator[Finding]:
    """About one upstream's balancer, health and breaker."""
    keys = ("upstreams", name)
    plain = Upstream(targets=upstream.targets)
    hashing = upstream.balancer in ("ip_hash", "consistent_hash")
    if upstream.balancer == "round_robin" and len({target.weight for target in upstream.targets}) > 1:
        number = next(number for number, target in enumerate(upstream.targets) if target.weight != 1)
        yield (
            (*keys, "targets", number),
            'round_robin ignores weights; use balancer = "weighted_round_robin"',
        )
    if not hashing and upstream.hash_key != plain.hash_key:
        yield (*keys, "hash_key"), f"has no effect: {upstream.balancer} does not hash"
    if upstream.balancer != "consistent_hash" and upstream.load_bound != plain.load_bound:
        yield (*keys, "load_bound"), "is only used with consistent_hash"
    if hashing:
        yield from _hash_key_warnings(name, upstream, routes)
    if upstream.dns != plain.dns and not any(_has_name(target) for target in upstream.targets):
        yield (*keys, "dns"), "has no effect: no target has a name"
    yield from _health_warnings(upstream, keys, plain)


def pool_warnings(name: str, upstream: Upstream, config: Root) -> Iterator[Finding]:
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
        message = f"one client that sends or reads slowly can hold all {bound} connections"
        mend = f"add concurrency by client_ip to {which}, or remove this key (0 means no limit)"
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
                f'"tcp" only connects, so these keys have no effect: {", ".join(unused)}',
            )
    if passive:
        count = len(upstream.targets)
        if not any(_has_name(target) for target in upstream.targets) and int(passive.max_ejected * count + 1e-9) == 0:
            share = f"{passive.max_ejected:g} of {count} target{'s' if count > 1 else ''}"
            yield (
                (*keys, "health", "passive", "max_ejected"),
                f"{share} is less than one target, so no target is ever ejected",
            )
    for table, words in (("health", passive.on if passive else []), ("breaker", breaker.on if breaker else [])):
        place = (*keys, "health", "passive", "on") if table == "health" else (*keys, "breaker", "on")
        for number, word in enumerate(words):
            if is_clients_fault(word):
                what = "targets" if table == "health" else "the upstream"
                yield (*place, number), f"bad requests of one client can make {what} unavailable for all clients"
    if upstream.panic_threshold != plain.panic_threshold and not active and not passive:
        yield (*keys, "panic_threshold"), "has no effect: without health no target is ever unusable"
    if upstream.panic_over_probes and not active:
        yield (*keys, "panic_over_probes"), "has no effect: without health.active no target is probed"
    elif upstream.panic_over_probes and upstream.panic_threshold == 0:
        yield (*keys, "panic_over_probes"), "has no effect: panic_threshold is 0"


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


def upstreams_warnings(config: Root) -> Iterator[Finding]:
    """About all upstreams: those without a route, how they are spoken to, and each by itself."""
    used = {name for route in config.routes for name in route.upstreams()}
    used.update(route.mirror.upstream for route in config.routes if route.mirror)
    for name, upstream in config.upstreams.items():
        if name not in used:
            yield ("upstreams", name), "no route uses this upstream"
        if upstream.tls is not None:
            if not upstream.tls.verify:
                yield ("upstreams", name, "tls", "verify"), "false accepts any server that answers at these addresses"
            if not any(target.tls for target in upstream.targets):
                yield ("upstreams", name, "tls"), "has no effect: every target is written with http://"
        yield from upstream_warnings(name, upstream, config.routes)
        yield from pool_warnings(name, upstream, config)


def upstream_name_faults(route: Any, keys: PathKeys, known: set[str]) -> Iterator[Finding]:
    """The upstreams that a route names are there."""
    if route.upstream != "":
        yield from _upstream_name_faults(route.upstream, (*keys, "upstream"), known)
    for number, part in enumerate(items(route.split)):
        yield from _upstream_name_faults(part.upstream, (*keys, "split", number, "upstream"), known)
    if route.mirror:
        yield from _upstream_name_faults(route.mirror.upstream, (*keys, "mirror", "upstream"), known)


def _upstream_name_faults(name: object, keys: PathKeys, known: set[str]) -> Iterator[Finding]:
    if not isinstance(name, str) or name in known:
        return
    if "://" in name or re.fullmatch(r"[\w.-]+:[0-9]+", name):
        hint = f": write targets = [{quote(name)}] in an [upstreams.NAME] table, and its NAME here"
    elif known:
        hint = did_you_mean(name, known) or f" ({_listed(known)})"
    else:
        hint = f": add [upstreams.{name}] with its targets"
    yield keys, f"unknown upstream {quote(name)}{hint}"


def _listed(names: set[str]) -> str:
    shown = sorted(names)[:5]
    more = ", …" if len(names) > 5 else ""
    return f"there {'is' if len(names) == 1 else 'are'} {', '.join(shown)}{more}"


def upstream_faults(config: Any) -> Iterator[Finding]:
    """No upstream has a target twice."""
    if not isinstance(config.upstreams, dict):
        return
    for name, upstream in config.upstreams.items():
        if not isinstance(upstream, Upstream):
            continue
        keys = ("upstreams", name)
        seen = set()
        for number, target in enumerate(items(upstream.targets)):
            place = tuple(getattr(target, name, None) for name in ("host", "port", "unix", "srv"))
            if all(isinstance(part, str | int) for part in place):
                host, *others = place
                place = (normalize_host(host), *others) if isinstance(host, str) else place
                if place in seen:
                    yield (*keys, "targets", number), "is the same target as an earlier one"
                seen.add(place)
        tls = upstream.tls
        if tls is not None:
            yield from key_pair_faults(tls, (*keys, "tls"))


def key_pair_faults(tls: Any, keys: PathKeys) -> Iterator[Finding]:
    """A certificate has its key, and a key its certificate."""
    if tls.cert and tls.key == "":
        yield (*keys, "key"), "is missing: cert needs its private key"
    if tls.key and tls.cert == "":
        yield (*keys, "cert"), "is missing: key needs its certificate"
