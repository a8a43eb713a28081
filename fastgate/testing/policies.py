"""Policies in a gateway of the test's own process: classes or objects as they are, no module path, no package."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from fastgate.testing.client import RawClient
from fastgate.testing.clock import FakeClock
from fastgate.testing.compose import Headers, compose_request
from fastgate.testing.gateway import proxy_config
from fastgate.testing.http_messages import RecordedResponse
from fastgate.testing.upstream import RecordingUpstream

if TYPE_CHECKING:
    from fastgate.gateway import Gateway, Policy

__all__ = ["PolicyGateway", "UsedPolicy", "make_policy", "run"]

UsedPolicy: TypeAlias = "type[Policy] | Policy"
"""A policy class, from which an object is made as in a gateway, or a policy object."""


def make_policy(kind: type[Policy], options: Mapping[str, Any] | None = None) -> Policy:
    """The object that a ``[[plugins]]`` entry with these options would give.

    Raises :class:`~fastgate.config.ConfigError` for options that do not fit the class, PluginError for a
    class that a gateway would reject, and any exception of the constructor.
    """
    from fastgate.config import ConfigError, Problem
    from fastgate.config.errors import render_path
    from fastgate.config.read.options import OptionsError
    from fastgate.gateway.plugins import check_class, given_options

    check_class(kind)
    try:
        given = given_options(kind, dict(options or {}))
    except OptionsError as error:
        raise ConfigError(Problem(render_path(("options", *keys)), said) for keys, said in error.found) from None
    return kind(given)


def made(policies: Sequence[UsedPolicy], options: Mapping[str, Any] | None, clock: FakeClock) -> dict[str, Policy]:
    """The objects by the names that routes use. ``options`` are those of the first, which must be a class then."""
    named: dict[str, Policy] = {}
    for position, used in enumerate(policies):
        its_options = options if position == 0 else None
        if isinstance(used, type):
            policy = make_policy(used, its_options)
        elif its_options is not None:
            raise TypeError("options need a policy class; a policy object already has its options")
        else:
            policy = used
        if hasattr(type(policy), "clock"):
            setattr(policy, "clock", clock)  # noqa: B010 (not every policy has one)
        name = type(policy).__name__
        named[name if name not in named else f"{name}-{position}"] = policy
    return named


def policy_config(config: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The configuration with these policies on its only route; their objects are given to the gateway."""
    used = [{"use": name} for name in names]
    # The place is never looked at: objects are given for these names.
    plugins = [{"name": name, "use": "fastgate:Policy"} for name in names]
    return {**config, "routes": [{**config["routes"][0], "policies": used}], "plugins": plugins}


class PolicyGateway:
    """A gateway that runs policies, the upstream behind it, and a client: what :func:`run` gives.

    Attributes:
        gateway: The gateway itself.
        upstream: The upstream behind it: ``upstream.requests`` are the forwarded requests, ``upstream.script`` sets the
            answers.
        policies: The policy objects, in the order of the route.
        clock: The clock of policies whose class has an attribute ``clock``.
    """

    def __init__(self, gateway: Gateway, upstream: RecordingUpstream, policies: list[Policy], clock: FakeClock) -> None:
        self.gateway = gateway
        self.upstream = upstream
        self.policies = policies
        self.clock = clock

    @property
    def port(self) -> int:
        """Where the gateway listens: for a :class:`RawClient`."""
        return self.gateway.port

    async def request(
        self,
        method: str,
        target: str = "/",
        *,
        headers: Headers | None = None,
        body: bytes | str = b"",
        json: object = None,
        timeout: float = 5.0,
    ) -> RecordedResponse:
        """The answer to one request, on a connection of its own. TimeoutError after ``timeout`` seconds."""
        data = compose_request(method, target, headers=headers, body=body, json=json)
        async with RawClient(self.port, timeout=timeout) as client:
            return await client.request(data)

    async def get(self, target: str = "/", *, headers: Headers | None = None) -> RecordedResponse:
        """The answer to a GET."""
        return await self.request("GET", target, headers=headers)

    async def head(self, target: str = "/", *, headers: Headers | None = None) -> RecordedResponse:
        """The answer to a HEAD."""
        return await self.request("HEAD", target, headers=headers)

    async def delete(self, target: str = "/", *, headers: Headers | None = None) -> RecordedResponse:
        """The answer to a DELETE."""
        return await self.request("DELETE", target, headers=headers)

    async def options(self, target: str = "/", *, headers: Headers | None = None) -> RecordedResponse:
        """The answer to an OPTIONS."""
        return await self.request("OPTIONS", target, headers=headers)

    async def post(
        self, target: str = "/", *, headers: Headers | None = None, body: bytes | str = b"", json: object = None
    ) -> RecordedResponse:
        """The answer to a POST."""
        return await self.request("POST", target, headers=headers, body=body, json=json)

    async def put(
        self, target: str = "/", *, headers: Headers | None = None, body: bytes | str = b"", json: object = None
    ) -> RecordedResponse:
        """The answer to a PUT."""
        return await self.request("PUT", target, headers=headers, body=body, json=json)

    async def patch(
        self, target: str = "/", *, headers: Headers | None = None, body: bytes | str = b"", json: object = None
    ) -> RecordedResponse:
        """The answer to a PATCH."""
        return await self.request("PATCH", target, headers=headers, body=body, json=json)


@asynccontextmanager
async def run(
    *policies: UsedPolicy,
    options: Mapping[str, Any] | None = None,
    gateway: Mapping[str, Any] | None = None,
    route: Mapping[str, Any] | None = None,
    upstream: Mapping[str, Any] | None = None,
) -> AsyncIterator[PolicyGateway]:
    """Runs a gateway with these policies on its route, during the ``async with`` block.

        async with testing.run(TenantPolicy, options={"tenants": ["acme"]}) as gateway:
            response = await gateway.get("/x", headers={"x-tenant": "ACME"})
            assert response.status == 200
            assert gateway.upstream.requests[-1].headers["x-tenant"] == "acme"

    ``options`` are those of the first policy, as a configuration file has them. The three tables are added to
    ``[gateway]``, to the only route (which has every path) and to the only upstream, as in :func:`gateway_to`. The
    policies live as they do in a worker: made, ``on_startup``, hooks, ``on_shutdown``.
    """
    from fastgate.config import GatewayConfig
    from fastgate.gateway import Gateway

    clock = FakeClock()
    objects = made(policies, options, clock)
    async with RecordingUpstream() as behind:
        config = policy_config(proxy_config(behind.port, gateway=gateway, route=route, upstream=upstream), [*objects])
        async with Gateway(GatewayConfig.from_dict(config), policies=objects) as running:
            yield PolicyGateway(running, behind, [*objects.values()], clock)
