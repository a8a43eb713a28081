"""The ways to find out who asks, as they are configured, and what a route makes of them."""

from collections.abc import Mapping

from fastgate._core.auth import Authentication, Method
from fastgate.config import GatewayConfig, Route

# What a method needs is imported where it is configured.


def compile_methods(config: GatewayConfig) -> dict[str, Method]:
    """Each configured method by its name. Raises ConfigError for files that cannot be used."""
    auth = config.auth
    methods: dict[str, Method] = {}
    if auth.basic is not None:
        from fastgate.policies.basic import compile_basic

        methods["basic"] = compile_basic(auth.basic)
    if auth.certificate is not None:
        from fastgate.policies.certificates import compile_certificates

        methods["certificate"] = compile_certificates(auth.certificate)
    if auth.forward is not None:
        from fastgate.policies.forward_auth import compile_forward_auth

        methods["forward"] = compile_forward_auth(auth.forward)
    return methods


def authentication(route: Route, methods: Mapping[str, Method]) -> Authentication | None:
    """The gate of a route. Fields that any method sends upstream are the gateway's own on every such route."""
    owned = [name.decode("ascii") for method in methods.values() for name in method.owned or ()]
    if route.auth is not None and not route.public:
        names = route.auth.names()
        return Authentication([methods[name] for name in names], all=bool(route.auth.all), owned=owned)
    return Authentication([], owned=owned) if route.public and owned else None
