"""What is said of bodies of requests: the memory and the time that they may take."""

from collections.abc import Iterator, Mapping
from typing import Any

from fastgate.config.check.findings import Finding
from fastgate.config.errors import PathKeys
from fastgate.config.schema.request_body import CHECKED_BODY
from fastgate.config.schema.root import Root
from fastgate.config.syntax.units import format_size

MANY_VALUES = 1_000_000
"""Values of a body whose check takes tenths of a second, for which the interpreter lock is held."""


def request_body_warnings(config: Root, data: Mapping[str, Any]) -> Iterator[Finding]:
    """What request bodies may take of memory and time."""
    for number, route in enumerate(config.routes):
        keys = ("routes", number)
        limit = route.body_limit(config.gateway.max_body)
        if route.buffer_request or (route.body_schema and limit > CHECKED_BODY):
            yield (
                (*keys, "buffer_request" if route.buffer_request else "body_schema"),
                f"keeps up to {format_size(limit)} in memory for each request"
                + ("; set a smaller max_body on the route" if route.max_body is None else ""),
            )
        if route.body_schema and route.body_schema.max_values > MANY_VALUES:
            yield (
                (*keys, "body_schema", "max_values"),
                "while the gateway checks a body with so many values, its worker answers no other request",
            )


def buffering_faults(route: Any, keys: PathKeys, config: Any) -> Iterator[Finding]:
    """What is kept whole has a bound."""
    general = config.gateway.max_body
    if not isinstance(general, int) or not isinstance(route.max_body, int | None):
        return
    limit = route.body_limit(general)
    for key, asked in (("buffer_request", route.buffer_request is True), ("body_schema", bool(route.body_schema))):
        if asked and limit == 0:
            yield (*keys, key), "needs a max_body other than 0, because the gateway keeps the whole body in memory"
