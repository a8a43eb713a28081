"""A route that is to end: what its answers say of that, compiled into the lines that are sent."""

from fastgate.config import Route
from fastgate.config.syntax.units import parse_day
from fastgate.gateway.additions import Additions, RouteContext


def compile_deprecation(route: Route, context: RouteContext) -> Additions | None:
    """The fields of every answer; None for a route that is not to end."""
    ending = route.deprecation
    if ending is None:
        return None
    from email.utils import formatdate  # on use: a tenth of a start

    from fastgate._core.policies.deprecation import DeprecationFields

    dated = [("Deprecation", f"@{parse_day(ending.since):.0f}")]
    relations = ["deprecation"]
    if ending.sunset:
        dated.append(("Sunset", formatdate(parse_day(ending.sunset), usegmt=True)))
        relations.append("sunset")
    link = ", ".join(f'<{ending.link}>; rel="{relation}"' for relation in relations) if ending.link else ""
    return Additions(stamps=[DeprecationFields(dated, link=link)])
