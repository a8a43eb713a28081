"""What is said of who answers a route: redirects, keys that are for upstreams only."""

from collections.abc import Iterator, Mapping
from typing import Any

from fastgate.config.check.findings import Finding
from fastgate.config.errors import PathKeys
from fastgate.config.schema.root import Root
from fastgate.config.schema.routes import Route
from fastgate.config.syntax.templates import Variable, parse_redirect

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


def answer_warnings(config: Root, data: Mapping[str, Any]) -> Iterator[Finding]:
    """About who answers a route: redirects, keys that are for upstreams only."""
    for number, (route, raw) in enumerate(zip(config.routes, data.get("routes", ()), strict=False)):
        keys = ("routes", number)
        if not route.upstreams():
            for name in UPSTREAM_ONLY:
                if raw.get(name, False) is not False:
                    yield (*keys, name), "has no effect: this route has no upstream"
        if route.redirect:
            yield from _redirect_warnings(route, (*keys, "redirect", "to"))


def _redirect_warnings(route: Route, keys: PathKeys) -> Iterator[Finding]:
    assert route.redirect
    to = route.redirect.to
    parts = parse_redirect(to)
    if to.lower() in ("https://{path}", "http://{path}") or to in ("{path}", route.path):
        yield keys, "redirects the client to the same URL"
    if any(isinstance(part, Variable) and part.name == "param" for part in _host_of(parts)):
        yield keys, "open redirect: the author of the link chooses the host"


def _host_of(parts: tuple[str | Variable, ...]) -> Iterator[str | Variable]:
    """The parts of a URL that its host is made of, or may go on in: until a slash ends it."""
    first = parts[0]
    if not isinstance(first, str) or "://" not in first:
        return
    for part in (first.partition("://")[2], *parts[1:]):
        if (isinstance(part, str) and set(part) & set("/?#")) or part == Variable("path"):
            return
        yield part
