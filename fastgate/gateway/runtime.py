"""From a configuration to what the core runs on: router, routes with everything bound, pools.

This is the only place where names of the configuration meet names of the core.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from fastgate._core.balancer import RoundRobin
from fastgate._core.engine import Engine
from fastgate._core.route import Route as CoreRoute
from fastgate._core.route import Runtime
from fastgate._core.router import Router
from fastgate._core.upstream import Pool, Target
from fastgate.config import ConfigError, GatewayConfig, Problem, Route, Upstream
from fastgate.config import Target as TargetConfig
from fastgate.gateway.networks import Networks
from fastgate.gateway.policy import Policy, defines
from fastgate.policies.headers import compile_edits
from fastgate.policies.paths import compile_path
from fastgate.upstreams.tls import client_context, server_name


class Compiled(NamedTuple):
    """A runtime and the pools that it made."""

    runtime: Runtime
    pools: list[Pool]


def compile_runtime(config: GatewayConfig, engine: Engine, slots: int, policies: Mapping[str, Policy]) -> Compiled:
    """Raises ConfigError with all that only shows now: patterns the router refuses, files that cannot be read."""
    problems: list[Problem] = []
    gateway = config.gateway
    pools: dict[str, Pool] = {}
    number = 0
    for name, upstream in config.upstreams.items():
        try:
            pools[name] = _pool(engine, name, upstream, slots, number)
        except ConfigError as error:
            problems.extend(error.problems)
        number += len(upstream.targets)
    router = Router(merge_slashes=gateway.merge_slashes)
    for index, route in enumerate(config.routes):
        if route.upstream not in pools:
            continue
        try:
            _add(router, route, _route(config, route, pools[route.upstream], policies))
        except ValueError as error:
            problems.append(Problem(f"routes[{index}]", str(error)))
    if problems:
        raise ConfigError(problems)
    trusted = Networks(gateway.trusted_proxies)
    runtime = Runtime(
        router=router,
        methods=_methods(config.routes),
        merge_slashes=gateway.merge_slashes,
        underscore_headers=gateway.underscore_headers,
        max_headers=gateway.max_headers,
        max_header_bytes=gateway.max_header_bytes,
        keepalive=gateway.keepalive,
        header_timeout=gateway.header_timeout,
        body_timeout=gateway.body_timeout,
        forwarded=gateway.forwarded,
        via=gateway.via,
        request_id=gateway.request_id,
        error_format=gateway.error_format,
        server_header=gateway.server_header,
        health_path=gateway.health_path,
        trusted=trusted.__contains__ if trusted else None,
        check_server_name=gateway.tls is not None and gateway.tls.client_auth != "none",
    )
    return Compiled(runtime, list(pools.values()))


def _methods(routes: Iterable[Route]) -> list[str]:
    """What ``OPTIONS *`` answers: every method that some route names; the usual ones where a route takes all."""
    methods = {"OPTIONS"}
    for route in routes:
        methods.update(route.methods or ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"))
        if "GET" in route.methods:
            methods.add("HEAD")
    return sorted(methods)


def _add(router: Router, route: Route, compiled: CoreRoute) -> None:
    router.add(
        route.path,
        compiled,
        methods=route.methods or None,
        hosts=route.hosts or None,
        headers=route.headers or None,
        query=route.query or None,
        priority=route.priority,
        name=route.name,
    )


def _route(config: GatewayConfig, route: Route, pool: Pool, policies: Mapping[str, Policy]) -> CoreRoute:
    used = [policies[each.use] for each in route.policies]
    with_request = [policy for policy in used if defines(policy, "on_request")]
    with_response = [policy for policy in reversed(used) if defines(policy, "on_response")]
    timeouts = route.timeouts
    return CoreRoute(
        name=route.name,
        upstream=pool,
        on_request=[policy.on_request for policy in with_request],
        on_response=[policy.on_response for policy in with_response],
        on_error=[policy.on_error for policy in reversed(used) if defines(policy, "on_error")],
        buffer_request=route.buffer_request or any(policy.body == "full" for policy in with_request),
        read_request=any(policy.body != "none" for policy in with_request),
        buffer_response=any(policy.body == "full" for policy in with_response),
        rewrite=compile_path(route),
        request_edits=compile_edits(route.request_headers),
        response_edits=compile_edits(route.response_headers),
        host_header=route.host_header,
        names_trace="TRACE" in route.methods,
        upgrades=route.upgrades,
        max_body=config.gateway.max_body if route.max_body is None else route.max_body,
        connect_timeout=timeouts.connect,
        read_timeout=timeouts.read,
        write_timeout=timeouts.write,
        idle_timeout=timeouts.idle,
        total_timeout=timeouts.total,
    )


def _pool(engine: Engine, name: str, upstream: Upstream, slots: int, number: int) -> Pool:
    targets = [
        _target(engine, name, index, each, upstream, number + index) for index, each in enumerate(upstream.targets)
    ]
    pool = upstream.pool
    return Pool(
        engine,
        name,
        targets,
        RoundRobin(targets, engine.slot),
        max_connections=_share(pool.max_connections, slots),
        max_idle=_share(pool.max_idle, slots),
        queue=_share(pool.queue, slots),
        queue_timeout=pool.queue_timeout,
        idle_timeout=pool.idle_timeout,
        max_requests=pool.max_requests,
    )


def _share(total: int, slots: int) -> int:
    """What one of ``slots`` workers gets of a number for the host: never nothing, unless there is nothing."""
    return -(-total // slots)


def _target(
    engine: Engine, upstream_name: str, index: int, target: TargetConfig, upstream: Upstream, number: int
) -> Target:
    context = client_context(upstream.tls, f"upstreams.{upstream_name}.tls") if target.tls else None
    if target.unix:
        return Target(
            engine, name=f"unix:{target.unix}", path=target.unix, authority="localhost", tls=context, number=number,
            server_name=server_name(upstream.tls, "localhost") if context else "",
        )
    host = f"[{target.host}]" if ":" in target.host else target.host
    default_port = 443 if target.tls else 80
    return Target(
        engine,
        name=f"{host}:{target.port}",
        host=target.host,
        port=target.port,
        authority=host if target.port == default_port else f"{host}:{target.port}",
        tls=context,
        server_name=server_name(upstream.tls, target.host) if context else "",
        number=number,
    )
