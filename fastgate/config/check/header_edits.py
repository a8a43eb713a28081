"""What is said of edits of header fields, and of the variables in them."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fastgate.config.check.findings import Finding, items, policy_tables
from fastgate.config.check.routes import parameter_faults, parameters_of
from fastgate.config.errors import PathKeys, quote
from fastgate.config.schema.header_edits import HeaderEdits
from fastgate.config.schema.root import Root
from fastgate.config.schema.routes import PolicyKeys
from fastgate.config.schema.security_headers import SECURITY_HEADERS
from fastgate.config.syntax.headers import meaning_of
from fastgate.config.syntax.patterns import path_parameters

SECRET_FIELDS = ("authorization", "proxy-authorization", "x-api-key", "api-key", "x-auth-token", "cookie")


def header_edit_warnings(config: Root, data: Mapping[str, Any]) -> Iterator[Finding]:
    """About edits of fields that another policy sends, each said once: where it is written."""
    for keys, table, raw in policy_tables(config, data):
        if "response_headers" in raw:
            yield from _edit_warnings(table, (*keys, "response_headers"))


def _edit_warnings(table: PolicyKeys, keys: PathKeys) -> Iterator[Finding]:
    edits = table.response_headers
    if edits is None:
        return
    owned: dict[str, str] = {}
    headers = table.security_headers
    if headers is not None and headers.override:
        owned = {SECURITY_HEADERS[key].lower(): "security_headers" for key in SECURITY_HEADERS if getattr(headers, key)}
    for action in ("set", "add"):
        for name in getattr(edits, action):
            lower = name.lower()
            by = "cors" if table.cors is not None and lower.startswith("access-control-") else owned.get(lower)
            if by:
                yield (*keys, action, name), f"is never sent, because {quote(by)} sets this field"


def secrets_in_clear(data: Mapping[str, Any]) -> Iterator[Finding]:
    """Fields with secrets that stand in the file."""
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
                        'contains a secret in clear text: use "${NAME}" or { file = "path" }',
                    )


def proxy_faults(edits: Any, keys: PathKeys) -> Iterator[Finding]:
    """No edit sends Proxy."""
    for action, fields in (("set", edits.set), ("add", edits.add)):
        for field in fields if isinstance(fields, dict) else ():
            if field.lower() == "proxy":
                yield (*keys, action, field), f"Proxy {meaning_of(field)}"


def template_faults(route: Any, keys: PathKeys, defaults: Any) -> Iterator[Finding]:
    """``{param.NAME}`` must be a parameter of this route's path, in edits of header fields and in a redirect."""
    if not isinstance(route.path, str):
        return
    known: tuple[str, ...] | None = None
    to = route.redirect.to if route.redirect else ""
    if isinstance(to, str) and "{param." in to:
        known = path_parameters(route.path)
        for argument in parameters_of(to):
            yield from parameter_faults(
                f"{{param.{argument}}}", argument, known, route, (*keys, "redirect", "to"), False
            )
    for name in ("request_headers", "response_headers"):
        edits = getattr(route, name)
        if not isinstance(edits, HeaderEdits):
            continue
        inherited = edits is getattr(defaults, name)
        if name == "request_headers" and not inherited:
            yield from proxy_faults(edits, (*keys, name))
        for where, text in edited_values(edits):
            if "{param." not in text:
                continue
            known = path_parameters(route.path) if known is None else known
            place = ("defaults", name, *where) if inherited else (*keys, name, *where)
            for argument in parameters_of(text):
                yield from parameter_faults(f"{{param.{argument}}}", argument, known, route, place, inherited)


def edited_values(edits: Any) -> Iterable[tuple[PathKeys, str]]:
    """The values that edits of header fields write, each with its place."""
    for name, value in edits.set.items() if isinstance(edits.set, dict) else ():
        if isinstance(value, str):
            yield ("set", name), value
    for name, values in edits.add.items() if isinstance(edits.add, dict) else ():
        if isinstance(values, str):
            yield ("add", name), values
        for number, value in enumerate(items(values)):
            if isinstance(value, str):
                yield ("add", name, number), value
