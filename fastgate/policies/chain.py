"""The built-in policies as one table: the order of its rows is the order in which a request meets them.

The runtime compiles routes by it, ``fastgate routes`` and ``fastgate check`` tell of them by it, and the list in
docs/configuration.md and the keys of a route in the schema follow it. How to add a row: CONTRIBUTING.md.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from fastgate.config import GatewayConfig, Route
from fastgate.config.check.findings import Finding
from fastgate.config.syntax.units import format_duration
from fastgate.gateway.additions import Additions, RouteContext, together
from fastgate.policies.auth import compile_auth
from fastgate.policies.cache import compile_cache
from fastgate.policies.compression import compile_compression
from fastgate.policies.concurrency import compile_concurrency, compile_concurrency_by_identity
from fastgate.policies.cors import compile_cors
from fastgate.policies.deprecation import compile_deprecation
from fastgate.policies.envelope import compile_envelope
from fastgate.policies.fallback import compile_fallback
from fastgate.policies.fault_injection import compile_fault_injection
from fastgate.policies.header_edits import compile_header_edits
from fastgate.policies.ip import compile_ip
from fastgate.policies.maintenance import compile_maintenance
from fastgate.policies.mirror import compile_mirror
from fastgate.policies.path_edits import compile_path_edits
from fastgate.policies.plugin_hooks import compile_plugin_hooks
from fastgate.policies.rate_limit import (
    compile_rate_limit,
    compile_rate_limit_by_identity,
    compile_rate_limit_fields,
)
from fastgate.policies.request_body import compile_request_body
from fastgate.policies.security_headers import compile_security_headers

Compile = Callable[[Route, RouteContext], Additions | None]
"""What a policy adds to a route; None where the route does not use it. ValueError for what cannot be compiled."""
Tell = Callable[[Route], Iterable[str]]
"""What ``fastgate routes`` says of it, in few words; nothing for a route that does not use it."""
Warn = Callable[[GatewayConfig, Mapping[str, Any]], Iterator[Finding]]
"""What is allowed and suspicious; of a configuration, and of what it was read from."""


class Row(NamedTuple):
    """One place of a built-in policy in the chain of a route. A policy may have several."""

    policy: str
    """Its name: that of its modules."""
    keys: tuple[str, ...]
    """Its keys of a route."""
    compile: Compile
    going: str = ""
    """What the page of the order calls this place on the way to the upstream; empty: it is not there."""
    coming: str = ""
    """The same on the way back to the client, which goes through the table from its plugins on."""
    tell: Tell = lambda route: ()
    warnings: str = ""
    """Its function in ``config/check/POLICY.py``, a `Warn`. No worker asks for warnings, so none loads the modules."""
    page: str = ""
    """Its page below docs/; empty: ``policies/POLICY.md``."""


def _named(*keys: str) -> Tell:
    """The names of those keys that a route uses."""
    return lambda route: [key for key in keys if getattr(route, key)]


def _maintenance(route: Route) -> Iterable[str]:
    return ["closed"] if route.maintenance is not None and route.maintenance.enabled else []


def _auth(route: Route) -> Iterable[str]:
    if route.public:
        return ["public"]
    return [] if route.auth is None else [f"auth {(' or ' if route.auth.any else ' and ').join(route.auth.names())}"]


def _rate_limit(route: Route) -> Iterable[str]:
    for limit in route.rate_limit:
        words = f"{limit.rate:g} in {format_duration(limit.per)} by {'+'.join(limit.key)}"
        yield f"{words} (dry run)" if limit.dry_run else words


def _concurrency(route: Route) -> Iterable[str]:
    limit = route.concurrency
    return [f"{limit.max} at once by {'+'.join(limit.key)}"] if limit is not None else []


def _fault_injection(route: Route) -> Iterable[str]:
    fault = route.fault_injection
    if fault is None:
        return []
    what = [format_duration(fault.delay)] if fault.delay else []
    what += [str(fault.abort)] if fault.abort is not None else []
    return [f"injects {' and '.join(what)} into {fault.percent:g}%"]


def _path_edits(route: Route) -> Iterable[str]:
    if route.strip_prefix:
        yield f"strip {route.strip_prefix}"
    if route.add_prefix:
        yield f"add {route.add_prefix}"
    if route.rewrite:
        yield "rewrite"


def _fallback(route: Route) -> Iterable[str]:
    answer = route.fallback
    return [f"{answer.status} instead of {', '.join(answer.on)}"] if answer is not None and route.upstreams() else []


def _cache(route: Route) -> Iterable[str]:
    cache = route.cache
    if cache is None or not route.upstreams():
        return
    if isinstance(cache.ttl, dict):
        how = ", ".join(f"{status} {format_duration(seconds)}" for status, seconds in cache.ttl.items())
        yield f"cache {how}, else by upstream"
    else:
        yield "cache by upstream" if cache.ttl is None else f"cache {format_duration(cache.ttl)}"
    if cache.private:
        yield "cache for each client"
    if cache.shared:
        yield "cache shared by all clients"
    if cache.stale_while_revalidate:
        yield f"stale {format_duration(cache.stale_while_revalidate)} while it is renewed"
    if cache.stale_if_error:
        yield f"stale {format_duration(cache.stale_if_error)} if it fails"
    if route.policies:
        yield "plugins run on every hit"


def _deprecation(route: Route) -> Iterable[str]:
    ending = route.deprecation
    if ending is None:
        return []
    return [f"deprecated since {ending.since}{f', ends on {ending.sunset}' if ending.sunset else ''}"]


EARLY, LATE, EDITS = "limits that need no identity", "limits by identity", "path and header edits"
STAMPS = "cors, security headers, rate limits"

CHAIN: tuple[Row, ...] = (
    Row("maintenance", ("maintenance",), compile_maintenance, "maintenance", tell=_maintenance),
    Row("ip", ("ip",), compile_ip, "ip", tell=_named("ip")),
    Row(
        "cors",
        ("cors",),
        compile_cors,
        "cors (a preflight is answered here)",
        tell=_named("cors"),
        warnings="cors_warnings",
    ),
    Row(
        "rate_limit",
        ("rate_limit",),
        compile_rate_limit,
        EARLY,
        warnings="rate_limit_warnings",
        page="traffic.md",
    ),
    Row("concurrency", ("concurrency",), compile_concurrency, EARLY, page="traffic.md"),
    Row("auth", ("auth", "public"), compile_auth, "authentication", tell=_auth, warnings="auth_warnings"),
    # The limits of a route are told together, those that need no identity too.
    Row("rate_limit", ("rate_limit",), compile_rate_limit_by_identity, LATE, tell=_rate_limit),
    Row("concurrency", ("concurrency",), compile_concurrency_by_identity, LATE, tell=_concurrency),
    Row(
        "fault_injection",
        ("fault_injection",),
        compile_fault_injection,
        "injected faults",
        tell=_fault_injection,
    ),
    Row(
        "request_body",
        ("content_types", "body_schema"),
        compile_request_body,
        "request bodies",
        tell=_named("content_types", "body_schema"),
        warnings="request_body_warnings",
    ),
    Row(
        "plugin_hooks",
        ("policies",),
        compile_plugin_hooks,
        "plugins",
        "plugins",
        tell=lambda route: [each.use for each in route.policies],
        warnings="plugin_warnings",
        page="policies.md",
    ),
    Row(
        "path_edits",
        ("strip_prefix", "add_prefix", "rewrite"),
        compile_path_edits,
        EDITS,
        tell=_path_edits,
        warnings="path_edit_warnings",
    ),
    Row(
        "header_edits",
        ("request_headers", "response_headers"),
        compile_header_edits,
        EDITS,
        "response_headers",
        tell=_named("request_headers", "response_headers"),
        warnings="header_edit_warnings",
    ),
    Row("fallback", ("fallback",), compile_fallback, "fallback", tell=_fallback),
    Row("cache", ("cache",), compile_cache, "cache", tell=_cache, warnings="cache_warnings"),
    Row(
        "mirror",
        ("mirror",),
        compile_mirror,
        tell=lambda route: [f"mirror to {route.mirror.upstream}"] if route.mirror else [],
        warnings="mirror_warnings",
        page="traffic.md",
    ),
    Row("envelope", ("envelope",), compile_envelope, coming="envelope", tell=_named("envelope")),
    Row("compression", ("compression",), compile_compression, coming="compression", tell=_named("compression")),
    Row("deprecation", ("deprecation",), compile_deprecation, coming="deprecation", tell=_deprecation),
    Row(
        "security_headers",
        ("security_headers",),
        compile_security_headers,
        coming=STAMPS,
        tell=_named("security_headers"),
        warnings="security_header_warnings",
    ),
    Row("rate_limit", ("rate_limit",), compile_rate_limit_fields, coming=STAMPS),
)


def compile_policies(route: Route, context: RouteContext) -> Additions:
    """What all policies together add to a route. Raises ValueError for what cannot be compiled."""
    return together(part for row in CHAIN if (part := row.compile(route, context)) is not None)


def tell_policies(route: Route) -> list[str]:
    """What a request passes, in the order in which it does; then what becomes of the answer."""
    return [words for row in CHAIN for words in row.tell(route)]


def keys_in_order() -> list[str]:
    """The keys of all policies, each at its first place."""
    return list(dict.fromkeys(key for row in CHAIN for key in row.keys))


def find_warnings(config: GatewayConfig, data: Mapping[str, Any]) -> list[Finding]:
    """Every warning about a valid configuration; ``data`` is what it was read from."""
    from fastgate.config.check.warnings import general_warnings

    found = general_warnings(config, data)
    for row in CHAIN:
        if row.warnings:
            warn: Warn = getattr(import_module(f"fastgate.config.check.{row.policy}"), row.warnings)
            found += warn(config, data)
    return found


def render_policies() -> str:
    """The list of policies and their order, as docs/configuration.md shows them."""
    from fastgate.config.schema.described import description, struct_fields

    meanings = {field.name: description(field) for field in struct_fields(Route)}
    lines = ["### The policies of a route", "", "In the order in which a request meets them:", ""]
    lines += ["| key | what it does | page |", "|---|---|---|"]
    shown: set[str] = set()
    for row in CHAIN:
        page = row.page or f"policies/{row.policy}.md"
        for key in row.keys:
            if key not in shown:
                shown.add(key)
                said = meanings[key].partition(". ")[0].rstrip(".")
                lines.append(f"| `{key}` | {said}. | [{PurePosixPath(page).stem.replace('_', ' ')}]({page}) |")
    return "\n".join([*lines, "", "The way of a request, and of its answer:", "", "```", f"{render_order()}```", ""])


def render_order() -> str:
    """What a request meets on its way to the upstream, and the answer on its way back."""
    going = ["request id", *dict.fromkeys(row.going for row in CHAIN if row.going), "upstream"]
    coming = ["client", *reversed(dict.fromkeys(row.coming for row in CHAIN if row.coming))]
    first, second, third = going[:4], going[4:8], going[8:]
    lines = [" → ".join(first), *(f"  → {' → '.join(part)}" for part in (second, third)), f"{' ← '.join(coming)} ←┘"]
    return "\n".join(lines) + "\n"
