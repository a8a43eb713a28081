"""CORS: which pages of other origins may read a route's answers, compiled into the lines that say so."""

from typing import TYPE_CHECKING

from fastgate._core.routing.expressions import compile_expression
from fastgate.config import Route
from fastgate.config.syntax.origins import ANY, wildcard_ends
from fastgate.gateway.additions import Additions, RouteContext

if TYPE_CHECKING:
    from fastgate._core.policies.cors import CrossOrigin


def compile_cors(route: Route, context: RouteContext) -> Additions | None:
    """The gate that answers preflights, and the fields of every answer; None for a route without rules."""
    rules = cross_origin(route)
    if rules is None:
        return None
    from fastgate._core.policies.cors import PreflightGate  # on use: a route without it does not load it

    return Additions(gates=[PreflightGate(rules)], stamps=[rules], answers_preflights=True)


def cross_origin(route: Route) -> "CrossOrigin | None":
    """The rules of a route; None where it has none."""
    cors = route.cors
    if cors is None:
        return None
    from fastgate._core.policies.cors import CrossOrigin

    expressions = [origin for origin in cors.origins if origin.startswith("~")]
    wildcards = {origin: ends for origin in cors.origins if (ends := wildcard_ends(origin)) is not None}
    methods = None if "*" in cors.methods else {*cors.methods, *(["HEAD"] if "GET" in cors.methods else [])}
    return CrossOrigin(
        origins=[origin for origin in cors.origins if origin not in expressions and origin not in wildcards],
        wildcards=list(wildcards.values()),
        expressions=[compile_expression(origin[1:], captures="none").fullmatch for origin in expressions],
        any_origin=ANY in cors.origins,
        methods=methods,
        headers=None if "*" in cors.headers else cors.headers,
        expose=cors.expose,
        expose_all="*" in cors.expose,
        credentials=cors.credentials,
        max_age=int(cors.max_age),
        private_network=cors.private_network,
    )
