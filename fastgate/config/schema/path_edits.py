"""Keys of a route that change the path: ``strip_prefix``, ``add_prefix``, ``rewrite``."""

from typing import Annotated

from fastgate.config.schema.kinds import Expression, PathPrefix, about
from fastgate.config.schema.table import Table


class Rewrite(Table, frozen=True, kw_only=True):
    """Replaces a part of the path by a regular expression."""

    pattern: Annotated[
        Expression,
        about(
            "A regular expression. The gateway searches the percent-encoded path, as it was matched, and replaces the "
            "first match. Without a match the path stays as it is.",
            examples=["^/old/(.*)"],
            also=["regex", "match", "from"],
        ),
    ]
    to: Annotated[
        str,
        about(
            "The replacement; `\\1` and `\\g<name>` are groups of the pattern.",
            examples=["/new/\\1"],
            also=["replacement", "substitution", "replace"],
        ),
    ]


StripPrefixKey = Annotated[
    PathPrefix,
    about(
        "Removed from the front of the path, on a segment border, before the request is forwarded.",
        examples=["/api"],
        policy=True,
        also=["strip_path", "prefix_rewrite", "stripprefix"],
    ),
]


AddPrefixKey = Annotated[PathPrefix, about("Put before the path, after `strip_prefix`.", examples=["/v2"], policy=True)]


RewriteKey = Annotated[
    Rewrite | None,
    about(
        "Replaces a part of the path by a regular expression, after `strip_prefix` and `add_prefix`.",
        examples=[{"pattern": "^/old/(.*)", "to": "/new/\\1"}],
        policy=True,
        also=["regex_rewrite", "uri_rewrite"],
    ),
]
