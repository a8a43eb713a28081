"""What is said of copies of requests."""

from collections.abc import Iterator, Mapping
from typing import Any

from fastgate.config.check.findings import Finding
from fastgate.config.schema.root import Root


def mirror_warnings(config: Root, data: Mapping[str, Any]) -> Iterator[Finding]:
    """About copies of requests."""
    for number, route in enumerate(config.routes):
        if route.mirror:
            keys = ("routes", number, "mirror")
            if route.mirror.upstream in route.upstreams():
                yield (*keys, "upstream"), "also answers this route, so it gets these requests twice"
            if route.mirror.sample == 0:
                yield (*keys, "sample"), "0 copies nothing"
