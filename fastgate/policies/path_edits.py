"""Path transforms: ``strip_prefix``, ``add_prefix`` and ``rewrite``, in this order, on the normalised path."""

from collections.abc import Callable
from urllib.parse import quote

from fastgate._core.routing.expressions import compile_expression
from fastgate._core.routing.router import normalized
from fastgate.config import Rewrite, Route
from fastgate.config.syntax.patterns import parse_replacement
from fastgate.gateway.additions import Additions, RouteContext

_SAFE = "/%:@!$&'()*+,;=-._~"


def compile_path_edits(route: Route, context: RouteContext) -> Additions | None:
    """What makes the path to forward; None for a route that leaves it as it is."""
    transform = path_transform(route)
    if transform is None:
        return None
    from fastgate._core.policies.path_edits import PathEdit  # on use: a route without it does not load it

    return Additions(edits=[PathEdit(transform)])


def path_transform(route: Route) -> Callable[[bytes], bytes | None] | None:
    """What makes the path to forward of the path that was matched; None where a route leaves it as it is.

    The function answers None for a result that would have to be normalised again: the request is refused, because what
    reaches the upstream must be what the rules saw.
    """
    strip = route.strip_prefix.rstrip("/")
    add = route.add_prefix.rstrip("/")
    backslash = route.encoded_backslash == "keep"
    rewrite = compile_rewrite(route.rewrite) if route.rewrite is not None else None
    if not strip and not add and rewrite is None:
        return None

    def transform(matched: bytes) -> bytes | None:
        path = matched.decode("ascii")
        if strip and path.startswith(strip) and path[len(strip) : len(strip) + 1] in ("", "/"):
            path = path[len(strip) :] or "/"
        if add:
            path = add + path
        if rewrite is not None:
            path = quote(rewrite(path), safe=_SAFE)
        if not path.startswith("/"):
            path = "/" + path
        try:
            settled = normalized(path, merge_slashes=False, encoded_backslash=backslash) == path
        except ValueError:
            return None
        return path.encode("ascii") if settled else None

    return transform


def compile_rewrite(rewrite: Rewrite) -> Callable[[str], str]:
    """What puts the new text in the place of the first match in a path; a group that took no part is empty."""
    expression = compile_expression(rewrite.pattern)
    pieces, _ = parse_replacement(rewrite.to, expression)

    def rewritten(path: str) -> str:
        spans = expression.search(path.encode("ascii"))
        if spans is None:
            return path
        groups = [path[start:end] if start >= 0 else "" for start, end in spans]
        made = [piece if isinstance(piece, str) else groups[piece] for piece in pieces]
        return "".join((path[: spans[0][0]], *made, path[spans[0][1] :]))

    return rewritten
