"""Which methods of authentication a configuration needs, and which of them each route asks."""

from collections.abc import Mapping

from fastgate._core.auth import Authentication, Method
from fastgate.config import GatewayConfig, Route
from fastgate.policies.keys import compile_key


def compile_methods(config: GatewayConfig) -> dict[str, Method]:
    """The methods that some route names, by their names."""
    named = {name for route in config.routes if route.auth and not route.public for name in route.auth.names()}
    return {"key": compile_key(config)} if "key" in named else {}


def authentication(route: Route, methods: Mapping[str, Method]) -> Authentication | None:
    """What a route asks of its clients; None where it is open."""
    if route.auth is None or route.public:
        return None
    return Authentication([methods[name] for name in route.auth.names()], all=bool(route.auth.all))
