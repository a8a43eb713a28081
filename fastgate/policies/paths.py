"""Path transforms: ``strip_prefix``, ``add_prefix`` and ``rewrite``, in this order, on the normalised path."""

import re
from collections.abc import Callable
from urllib.parse import quote

from fastgate._core.router import normalized
from fastgate.config import Route

_SAFE = "/%:@!$&'()*+,;=-._~"


def compile_path(route: Route) -> Callable[[bytes], bytes | None] | None:
    """What makes the path to forward of the path that was matched; None where a route leaves it as it is.

    The function answers None for a result that would have to be normalised again: the request is refused, because what
    reaches the upstream must be what the rules saw.
    """
    strip = route.strip_prefix.rstrip("/")
    add = route.add_prefix.rstrip("/")
    pattern = re.compile(route.rewrite.pattern) if route.rewrite is not None else None
    to = route.rewrite.to if route.rewrite is not None else ""
    if not strip and not add and pattern is None:
        return None

    def transform(matched: bytes) -> bytes | None:
        path = matched.decode("ascii")
        if strip and path.startswith(strip) and path[len(strip) : len(strip) + 1] in ("", "/"):
            path = path[len(strip) :] or "/"
        if add:
            path = add + path
        if pattern is not None:
            path = quote(pattern.sub(to, path, count=1), safe=_SAFE)
        if not path.startswith("/"):
            path = "/" + path
        try:
            settled = normalized(path, merge_slashes=False) == path
        except ValueError:
            return None
        return path.encode("ascii") if settled else None

    return transform
