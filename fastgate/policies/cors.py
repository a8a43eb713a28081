"""CORS: which pages of other origins may read a route's answers, compiled into the lines that say so."""

from fastgate._core.browser import CrossOrigin
from fastgate.config import Route
from fastgate.config.origins import ANY, compile_origin


def compile_cors(route: Route) -> CrossOrigin | None:
    """The rules of a route; None where it has none."""
    cors = route.cors
    if cors is None:
        return None
    patterns = [compile_origin(origin) for origin in cors.origins]
    methods = None if "*" in cors.methods else {*cors.methods, *(["HEAD"] if "GET" in cors.methods else [])}
    return CrossOrigin(
        origins=[origin for origin, pattern in zip(cors.origins, patterns, strict=True) if pattern is None],
        patterns=[pattern for pattern in patterns if pattern is not None],
        any_origin=ANY in cors.origins,
        methods=methods,
        headers=None if "*" in cors.headers else cors.headers,
        expose=cors.expose,
        expose_all="*" in cors.expose,
        credentials=cors.credentials,
        max_age=int(cors.max_age),
        private_network=cors.private_network,
    )
