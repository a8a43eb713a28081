"""From ``[auth]`` and a route's ``auth`` to the gate that finds out who asks.

A method is made once for a configuration and shared by the routes that name it.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from fastgate._core.auth.gate import Authentication, Method
from fastgate._core.delivery.pool import Pool
from fastgate._core.exchange.worker import Engine
from fastgate.config import ConfigError, GatewayConfig, Problem, Route
from fastgate.config.schema.forward_auth import CREDENTIALS
from fastgate.gateway.duties.dispatch import Subscribers

Methods = Mapping[str, Method]
"""By the names of their tables in ``[auth]``."""


class BuildContext(NamedTuple):
    """What a method may be made of."""

    config: GatewayConfig
    engine: Engine
    pools: Mapping[str, Pool]
    subscribers: Subscribers


# Modules are imported on use: a gateway pays for the methods that it has.


def _jwt(given: BuildContext) -> Method:
    from fastgate.gateway.duties.jwt import PublishedKeys
    from fastgate.policies.jwt.method import compile_jwt

    assert given.config.auth.jwt is not None
    return compile_jwt(given.config.auth.jwt, given.subscribers.of(PublishedKeys).key_sets)


def _key(given: BuildContext) -> Method:
    from fastgate.policies.api_keys import compile_api_keys

    return compile_api_keys(given.config)


def _basic(given: BuildContext) -> Method:
    from fastgate.policies.basic import compile_basic

    assert given.config.auth.basic is not None
    return compile_basic(given.config.auth.basic)


def _certificate(given: BuildContext) -> Method:
    from fastgate.policies.client_certificates import compile_client_certificates

    assert given.config.auth.certificate is not None
    return compile_client_certificates(given.config.auth.certificate)


def _forward(given: BuildContext) -> Method:
    from fastgate.policies.forward_auth import compile_forward_auth

    assert given.config.auth.forward is not None
    return compile_forward_auth(given.config.auth.forward)


_BUILDERS: dict[str, Callable[[BuildContext], Method]] = {
    "key": _key,
    "jwt": _jwt,
    "basic": _basic,
    "certificate": _certificate,
    "forward": _forward,
}


def compile_methods(given: BuildContext, problems: list[Problem]) -> Methods:
    """Each configured method by its name.

    What is wrong with the files of one is added to the problems; in its place stands a method that lets nobody in.
    """
    auth = given.config.auth
    named = {name for route in given.config.routes if route.auth is not None for name in route.auth.names()}
    methods: dict[str, Method] = {}
    for name, make in _BUILDERS.items():
        # [auth.key] is there without being written.
        if name in named or (name != "key" and getattr(auth, name) is not None):
            try:
                methods[name] = make(given)
            except ConfigError as error:
                methods[name] = Method()
                problems += error.problems
    return methods


def authentication(route: Route, config: GatewayConfig, methods: Methods) -> Authentication | None:
    """The gate of a route; None for one that lets everybody pass with every field."""
    own = own_fields(route, config, methods)
    if own is None:
        return None
    owned, late = own
    if route.public or route.auth is None:
        return Authentication([], owned=owned, late=late) if owned or late else None
    asked = [methods[name] for name in route.auth.names()]
    return Authentication(asked, all=bool(route.auth.all), owned=owned, late=late)


def own_fields(route: Route, config: GatewayConfig, methods: Methods) -> tuple[set[str], set[str]] | None:
    """Names of fields that are the gateway's own on a route; None for one that lets everybody pass with every field.

    It removes the first ones at once, the others after authentication, because a method reads them.

    Fields that any method sends upstream are the gateway's own on every route that authenticates, by whatever method,
    and on those that are public, also by ``auth = false``: a client cannot assert its own identity there.
    """
    if route.auth is None and not route.public and config.defaults.auth is None:
        return None
    owned = {name.decode() for method in methods.values() for name in method.owned or ()}
    late = {name.decode() for method in methods.values() for name in method.replaced or ()} - {*CREDENTIALS}
    return owned, late


def secret_parameters(config: GatewayConfig) -> list[str]:
    """Parameters of queries in which credentials come: no log may have them."""
    sources = [] if config.auth.jwt is None else [source.partition(":") for source in config.auth.jwt.sources]
    named = [name for kind, _, name in sources if kind == "query"]
    return [config.auth.key.query, *named] if config.auth.key.query else named
