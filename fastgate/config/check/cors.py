"""What is said of rules of CORS."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from fastgate.config.check.findings import Finding, policy_tables
from fastgate.config.errors import PathKeys
from fastgate.config.schema.cors import CORS
from fastgate.config.schema.root import Root
from fastgate.config.schema.routes import PolicyKeys, Route

_ESCAPED = re.compile(r"\\.|\[[^]]*\]")

_ANY_CHARACTER = re.compile(r"\.(?![*+?{])")


def cors_warnings(config: Root, data: Mapping[str, Any]) -> Iterator[Finding]:
    """About rules of CORS, each said once: where it is written."""
    for keys, table, raw in policy_tables(config, data):
        if "cors" in raw and table.cors is not None:
            yield from _cors_warnings(table.cors, table, (*keys, "cors"))


def _cors_warnings(cors: CORS, table: PolicyKeys, keys: PathKeys) -> Iterator[Finding]:
    if cors.opaque_with_credentials():
        yield (
            (*keys, "origins"),
            'every site can make a page whose origin is "null", and that page could read the data of users',
        )
    for number, origin in enumerate(cors.origins):
        if origin.startswith("~") and _ANY_CHARACTER.search(_ESCAPED.sub("", origin)):
            yield (
                (*keys, "origins", number),
                '"." matches any character, so names that others can register may match too: write "[.]"',
            )
    if isinstance(table, Route) and table.methods:
        taken = {*table.methods, *(["HEAD"] if "GET" in table.methods else [])}
        others = [method for method in cors.methods if method != "*" and method not in taken]
        if others:
            yield (*keys, "methods"), f"the route does not accept {', '.join(others)}"
