"""What is said of edits of paths."""

from collections.abc import Iterator, Mapping
from typing import Any

from fastgate.config.check.findings import Finding
from fastgate.config.errors import PathKeys, quote
from fastgate.config.schema.root import Root
from fastgate.config.syntax.patterns import check_expression, parse_replacement


def path_edit_warnings(config: Root, data: Mapping[str, Any]) -> Iterator[Finding]:
    """Edits of paths that cannot apply."""
    for number, route in enumerate(config.routes):
        if route.strip_prefix and not route.path.startswith("~") and not _under(route.path, route.strip_prefix):
            where = ("routes", number, "strip_prefix")
            yield where, f"{quote(route.strip_prefix)} is not a prefix of the path {quote(route.path)}"


def _under(path: str, prefix: str) -> bool:
    segments, wanted = path.split("/"), prefix.split("/")
    return len(segments) >= len(wanted) and all(
        one == other or one.startswith("{") for one, other in zip(segments, wanted, strict=False)
    )


def rewrite_faults(pattern: object, to: object, keys: PathKeys) -> Iterator[Finding]:
    """A replacement uses groups of its pattern only."""
    if not isinstance(pattern, str) or not isinstance(to, str):
        return
    for fault in parse_replacement(to, check_expression(pattern))[1]:
        yield keys, fault
