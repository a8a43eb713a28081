"""A gateway in the test's own process."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastgate.gateway import Gateway

__all__ = ["gateway_to", "proxy_config", "start_gateway"]


def proxy_config(
    *targets: int | str | Mapping[str, Any],
    gateway: Mapping[str, Any] | None = None,
    route: Mapping[str, Any] | None = None,
    upstream: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The configuration of a gateway on a free port that passes every path to the targets.

    ``targets`` are ports of 127.0.0.1, or values as in ``targets`` of an upstream; the other three are added to
    ``[gateway]``, to the only route and to the only upstream (``backend``). The access log is off.
    """
    listed = [{"host": "127.0.0.1", "port": target} if isinstance(target, int) else target for target in targets]
    return {
        "gateway": {"host": "127.0.0.1", "port": 0, "access_log": {"path": ""}, **(gateway or {})},
        "routes": [{"name": "all", "path": "/*", "upstream": "backend", **(route or {})}],
        "upstreams": {"backend": {"targets": listed, **(upstream or {})}},
    }


@asynccontextmanager
async def start_gateway(config: Mapping[str, Any]) -> "AsyncIterator[Gateway]":
    """Runs a gateway with that configuration in the current event loop, during the ``async with`` block.

    Raises :class:`~fastgate.config.ConfigError` if the configuration is invalid.
    """
    # Clients, upstreams and faults are of use without the gateway, so it is loaded here.
    from fastgate.config import GatewayConfig
    from fastgate.gateway import Gateway

    async with Gateway(GatewayConfig.from_dict(dict(config))) as gateway:
        yield gateway


@asynccontextmanager
async def gateway_to(
    *targets: int | str | Mapping[str, Any],
    gateway: Mapping[str, Any] | None = None,
    route: Mapping[str, Any] | None = None,
    upstream: Mapping[str, Any] | None = None,
) -> "AsyncIterator[Gateway]":
    """Runs a gateway with :func:`proxy_config`.

    async with RecordingUpstream() as upstream, gateway_to(upstream.port, route={"add_prefix": "/v2"}) as gateway:
        async with RawClient(gateway.port) as client: ...
    """
    async with start_gateway(proxy_config(*targets, gateway=gateway, route=route, upstream=upstream)) as running:
        yield running
