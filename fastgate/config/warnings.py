"""What is allowed and suspicious: routes that no request reaches, memory that buffers may take, secrets in clear."""

import ipaddress
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from fastgate.config.errors import PathKeys, quote
from fastgate.config.overlap import covers
from fastgate.config.routes import CHECKED_BODY
from fastgate.config.schema import GatewayConfig, Route
from fastgate.config.suggest import nearest
from fastgate.config.traffic_warnings import Finding, answer_warnings, pool_warnings, retry_warnings, upstream_warnings
from fastgate.config.units import format_size

MANY_VALUES = 1_000_000
"""Values of a body whose check takes tenths of a second, for which the interpreter lock is held."""
SECRET_FIELDS = ("authorization", "proxy-authorization", "x-api-key", "api-key", "x-auth-token", "cookie")


def general_warnings(config: GatewayConfig, data: Mapping[str, Any]) -> list[Finding]:
    """Those about a valid configuration that belong to no policy; ``data`` is what it was read from."""
    return [
        *_gateway_warnings(config),
        *_host_warnings(config),
        *answer_warnings(config, data),
        *retry_warnings(config, data),
        *_upstream_warnings(config),
        *unreachable_routes(config.routes),
        *_secrets_in_clear(data),
    ]


def _gateway_warnings(config: GatewayConfig) -> Iterator[Finding]:
    gateway = config.gateway
    for number, network in enumerate(gateway.trusted_proxies):
        if not network.startswith("unix:") and ipaddress.ip_network(network).prefixlen == 0:
            yield (
                ("gateway", "trusted_proxies", number),
                f"{network} believes everybody: any client can claim any address",
            )
    if gateway.proxy_protocol and not gateway.trusted_proxies:
        yield ("gateway", "proxy_protocol"), "closes every connection: trusted_proxies is empty"
    if gateway.max_body == 0:
        yield ("gateway", "max_body"), "0 lets clients send bodies without end"
    if gateway.field_names == "pass":
        yield (
            ("gateway", "field_names"),
            "many applications cannot tell x_user and x.user from x-user, so clients may forge fields",
        )
    if not config.routes:
        yield ("routes",), "there are none: every request is answered 404"


def plugin_warnings(config: GatewayConfig, data: Mapping[str, Any]) -> Iterator[Finding]:
    """Plugins without a route."""
    used = {policy.use for route in config.routes for policy in route.policies}
    for number, plugin in enumerate(config.plugins):
        if plugin.name not in used:
            yield ("plugins", number), f"no route uses the plugin {quote(plugin.name)}"


def request_body_warnings(config: GatewayConfig, data: Mapping[str, Any]) -> Iterator[Finding]:
    """What request bodies may take of memory and time."""
    for number, route in enumerate(config.routes):
        keys = ("routes", number)
        limit = route.body_limit(config.gateway.max_body)
        if route.buffer_request or (route.body_schema and limit > CHECKED_BODY):
            yield (
                (*keys, "buffer_request" if route.buffer_request else "body_schema"),
                f"keeps up to {format_size(limit)} in memory for each request"
                + (": a max_body of the route says less" if route.max_body is None else ""),
            )
        if route.body_schema and route.body_schema.max_values > MANY_VALUES:
            yield (
                (*keys, "body_schema", "max_values"),
                "while a body with so many values is checked, its worker answers no other request",
            )


def path_edit_warnings(config: GatewayConfig, data: Mapping[str, Any]) -> Iterator[Finding]:
    """Edits of paths that cannot apply."""
    for number, route in enumerate(config.routes):
        if route.strip_prefix and not route.path.startswith("~") and not _under(route.path, route.strip_prefix):
            where = ("routes", number, "strip_prefix")
            yield where, f"{quote(route.strip_prefix)} is no prefix of the path {quote(route.path)}"


def _host_warnings(config: GatewayConfig) -> Iterator[Finding]:
    for number, route in enumerate(config.routes):
        literal = route.host_header
        if literal not in ("upstream", "client") and "." not in literal and ":" not in literal:
            meant = nearest(literal, ("upstream", "client"))
            if meant:
                yield ("routes", number, "host_header"), f'{quote(literal)} is sent as it is; did you mean "{meant}"?'


def _under(path: str, prefix: str) -> bool:
    segments, wanted = path.split("/"), prefix.split("/")
    return len(segments) >= len(wanted) and all(
        one == other or one.startswith("{") for one, other in zip(segments, wanted, strict=False)
    )


def _upstream_warnings(config: GatewayConfig) -> Iterator[Finding]:
    used = {name for route in config.routes for name in route.upstreams()}
    used.update(route.mirror.upstream for route in config.routes if route.mirror)
    for name, upstream in config.upstreams.items():
        if name not in used:
            yield ("upstreams", name), "no route uses it"
        if upstream.tls is not None:
            if not upstream.tls.verify:
                yield ("upstreams", name, "tls", "verify"), "false accepts any server that answers at these addresses"
            if not any(target.tls for target in upstream.targets):
                yield ("upstreams", name, "tls"), "is never used: every target is written with http://"
        yield from upstream_warnings(name, upstream, config.routes)
        yield from pool_warnings(name, upstream, config)


def unreachable_routes(routes: list[Route]) -> Iterator[Finding]:
    """Routes all of whose requests go to another one.

    A route that covers another is the less specific of the two, so it wins only by a higher priority, or, where the two
    say the same, by standing first in the file.
    """
    same: dict[Any, int] = {}
    by_priority: dict[int, list[int]] = defaultdict(list)
    for number, route in enumerate(routes):
        by_priority[route.priority].append(number)
    ladder = sorted(by_priority, reverse=True)
    for number, route in enumerate(routes):
        first = same.setdefault(criteria(route), number)
        winner: int | None = first if first != number else None
        for priority in ladder:
            if priority <= route.priority or winner is not None:
                break
            winner = next((other for other in by_priority[priority] if covers(routes[other], route)), None)
        if winner is not None:
            by = routes[winner]
            why = f"priority {by.priority}" if by.priority != route.priority else "the same conditions, and comes first"
            yield ("routes", number), f"no request reaches it: routes[{winner}] {quote(by.name)} has {why}"


def criteria(route: Route) -> Any:
    """What decides which requests match; equal for routes that match the same ones with the same rank."""
    path = route.path
    if not path.startswith("~"):
        path = "/".join(
            segment if not segment.startswith("{") else "{*}" if segment.endswith("*}") else "{}"
            for segment in path.split("/")
        )
    return (
        route.priority,
        path,
        frozenset(route.methods),
        frozenset(route.hosts),
        frozenset(route.headers.items()),
        frozenset(route.query.items()),
    )


def _secrets_in_clear(data: Mapping[str, Any]) -> Iterator[Finding]:
    tables: list[tuple[PathKeys, Any]] = [(("defaults",), data.get("defaults"))]
    routes = data.get("routes")
    tables += [(("routes", number), route) for number, route in enumerate(routes if isinstance(routes, list) else [])]
    for keys, table in tables:
        edits = table.get("request_headers") if isinstance(table, Mapping) else None
        for action in ("set", "add"):
            fields = edits.get(action) if isinstance(edits, Mapping) else None
            for name, value in fields.items() if isinstance(fields, Mapping) else ():
                if name.lower() in SECRET_FIELDS and isinstance(value, str) and "{" not in value:
                    yield (
                        (*keys, "request_headers", action, name),
                        'a secret in clear: use "${NAME}" or { file = "path" }',
                    )
