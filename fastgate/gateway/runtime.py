"""From a configuration to what the core runs on: router and routes with everything bound.

This is the only place where names of the configuration meet names of the core.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from fastgate._core.delivery.copies import Mirror
from fastgate._core.delivery.retry import RetryRule
from fastgate._core.delivery.split import Split
from fastgate._core.exchange.chain import Hook
from fastgate._core.exchange.exchange import BodyRule, Gate, Stamp
from fastgate._core.exchange.filters import HookFilter, HookRule
from fastgate._core.exchange.request_key import RequestKey
from fastgate._core.exchange.route import Route as CoreRoute
from fastgate._core.exchange.route import Runtime
from fastgate._core.exchange.worker import Engine
from fastgate._core.limits.gates import ConcurrencyGate, QuotaStamp, RateLimits
from fastgate._core.memory.plugin_times import Meter
from fastgate._core.policies.cors import CrossOrigin, PreflightGate
from fastgate._core.routing.router import Router
from fastgate._core.wire.h1.upstream import Pool
from fastgate.config import GatewayConfig, Problem, Retry, Route
from fastgate.gateway.authentication import (
    BuildContext,
    Methods,
    authentication,
    compile_methods,
    secret_parameters,
)
from fastgate.gateway.cooperative import Cooperative
from fastgate.gateway.duties.dispatch import Subscribers
from fastgate.gateway.policy import Policy, defines
from fastgate.gateway.trust import TrustedPeers
from fastgate.policies.access import compile_content_types, compile_ip, compile_maintenance
from fastgate.policies.answers import compile_answer
from fastgate.policies.body_schema import compile_body_schema
from fastgate.policies.compression import compile_compression
from fastgate.policies.cors import compile_cors
from fastgate.policies.envelope import compile_envelope, with_plain_answers
from fastgate.policies.headers import compile_edits
from fastgate.policies.limits import by_identity, compile_concurrency, compile_limits
from fastgate.policies.paths import compile_path
from fastgate.policies.security import compile_security

Pools = Mapping[str, Pool]


class Compiled(NamedTuple):
    """A runtime, and the routes in it: both are let go in slices."""

    runtime: Runtime
    routes: list[CoreRoute]
    auth: Methods
    """The ways to find out who asks; their threads and connections end with them."""


class _Given(NamedTuple):
    """What routes are made of, beside what stands in them."""

    config: GatewayConfig
    engine: Engine
    pools: Pools
    policies: Mapping[str, Policy]
    meters: Mapping[str, Meter]
    auth: Methods


async def compile_runtime(
    config: GatewayConfig,
    engine: Engine,
    pools: Pools,
    policies: Mapping[str, Policy],
    subscribers: Subscribers,
    cooperative: Cooperative,
    problems: list[Problem],
) -> Compiled:
    """Adds all to the problems that only shows now. With one the runtime is not whole and must not be used."""
    gateway = config.gateway
    routes: list[CoreRoute] = []
    router = Router(merge_slashes=gateway.merge_slashes)
    methods = {"OPTIONS"}
    given = _Given(
        config,
        engine,
        pools,
        policies,
        {each.name: Meter(engine.segment, engine.slot, each.name, each.budget) for each in config.plugins},
        compile_methods(BuildContext(config, engine, pools, subscribers), problems),
    )
    for index, route in enumerate(config.routes):
        try:
            routes.append(_route(route, given))
            _add(router, route, routes[-1])
            methods.update(_methods(route))
        except ValueError as error:
            problems.append(_problem(index, str(error)))
        await cooperative.give_way()
    trusted = TrustedPeers(gateway.trusted_proxies)
    runtime = Runtime(
        router=router,
        methods=sorted(methods),
        merge_slashes=gateway.merge_slashes,
        field_names=gateway.field_names,
        max_headers=gateway.max_headers,
        max_header_bytes=gateway.max_header_bytes,
        keepalive=gateway.keepalive,
        header_timeout=gateway.header_timeout,
        body_timeout=gateway.body_timeout,
        min_rate=gateway.min_rate,
        forwarded=gateway.forwarded,
        via=gateway.via,
        request_id=gateway.request_id,
        error_format=gateway.error_format,
        server_header=gateway.server_header,
        health_path=gateway.health_path,
        trusted=trusted.__contains__ if trusted else None,
        check_server_name=gateway.tls is not None and gateway.tls.client_auth != "none",
        unlogged=secret_parameters(config),
    )
    return Compiled(runtime, routes, given.auth)


def _problem(index: int, message: str) -> Problem:
    """What is wrong with a route; a message may begin with the key that it is about."""
    key, _, rest = message.partition(": ")
    if rest and key in Route.__struct_fields__:
        return Problem(f"routes[{index}].{key}", rest)
    return Problem(f"routes[{index}]", message)


def _methods(route: Route) -> Iterable[str]:
    """What a route adds to the answer to ``OPTIONS *``: the methods that it names, or the usual ones."""
    if "GET" in route.methods:
        return [*route.methods, "HEAD"]
    return route.methods or ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


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


def _route(route: Route, given: _Given) -> CoreRoute:
    config, engine, pools, policies, meters, auth = given
    used = [(meters[each.use], policies[each.use]) for each in route.policies]
    with_request = [policy for _, policy in used if defines(policy, "on_request")]
    with_response = [policy for _, policy in used if defines(policy, "on_response")]
    timeouts = route.timeouts
    cors = compile_cors(route)
    return CoreRoute(
        name=route.name,
        upstream=pools[route.upstream] if route.upstream else None,
        split=_split(route, pools) if route.split else None,
        mirror=_mirror(route, pools),
        fixed=compile_answer(route),
        retry=_retry(route.retry),
        gates=_gates(route, config, auth, cors, engine),
        on_request=_hooks(used, "on_request"),
        on_response=_hooks(reversed(used), "on_response"),
        on_error=_hooks(reversed(used), "on_error"),
        buffer_request=route.buffer_request
        or route.body_schema is not None
        or any(policy.body == "full" for policy in with_request),
        read_request=any(policy.body != "none" for policy in with_request),
        buffer_response=any(policy.body == "full" for policy in with_response),
        request_filters=[HookFilter(hook, of_request=True) for hook in _hooks(used, "on_request_body")],
        response_filters=_response_filters(route, _hooks(reversed(used), "on_response_body")),
        rewrite=compile_path(route),
        request_edits=compile_edits(with_plain_answers(route), config.gateway.request_id),
        response_edits=compile_edits(route.response_headers, config.gateway.request_id),
        stamps=_stamps(route, cors),
        answers_preflights=cors is not None,
        host_header=route.host_header,
        names_trace="TRACE" in route.methods,
        encoded_backslash=route.encoded_backslash,
        upgrades=route.upgrades,
        half_close=route.half_close,
        min_rate=config.gateway.min_rate if route.min_rate is None else route.min_rate,
        max_body=route.body_limit(config.gateway.max_body),
        connect_timeout=timeouts.connect,
        read_timeout=timeouts.read,
        write_timeout=timeouts.write,
        idle_timeout=timeouts.idle,
        total_timeout=timeouts.total,
    )


def _hooks(used: Iterable[tuple[Meter, Policy]], hook: str) -> list[Hook]:
    return [Hook(getattr(policy, hook), meter) for meter, policy in used if defines(policy, hook)]


def _gates(
    route: Route, config: GatewayConfig, auth: Methods, cors: CrossOrigin | None, engine: Engine
) -> list[Gate]:
    """The built-in policies of a route, in the one order that they have."""
    late = [by_identity(limit.key) for limit in route.rate_limit]
    limits = compile_limits(route, engine.segment)
    concurrency = compile_concurrency(route, engine.segment, engine.slot)
    last = route.concurrency is not None and by_identity(route.concurrency.key)
    gates = [*compile_maintenance(route), *compile_ip(route)]
    if cors is not None:
        gates.append(PreflightGate(cors))
    if False in late:
        gates.append(RateLimits(limits, 0, late.count(False)))
    if concurrency is not None and not last:
        gates.append(ConcurrencyGate(concurrency))
    if (authenticated := authentication(route, config, auth)) is not None:
        gates.append(authenticated)
    if True in late:
        gates.append(RateLimits(limits, late.count(False), len(late)))
    if concurrency is not None and last:
        gates.append(ConcurrencyGate(concurrency))
    gates += [*compile_content_types(route), *compile_body_schema(route)]
    return gates


def _response_filters(route: Route, hooks: list[Hook]) -> list[BodyRule]:
    """What is done to the response bodies of a route, in the one order that it has."""
    filters: list[BodyRule] = [HookRule(hook) for hook in hooks]
    if route.envelope is not None:
        filters.append(compile_envelope(route.envelope))
    if route.compression is not None:
        filters.append(compile_compression(route.compression))
    return filters


def _stamps(route: Route, cors: CrossOrigin | None) -> list[Stamp]:
    """The fields of every answer of a route, in the order in which they are put."""
    stamps: list[Stamp | None] = [cors, compile_security(route), QuotaStamp() if route.rate_limit else None]
    return [stamp for stamp in stamps if stamp is not None]


def _split(route: Route, pools: Pools) -> Split:
    sticky = route.sticky()
    return Split(
        [pools[each.upstream] for each in route.split],
        [each.weight for each in route.split],
        RequestKey(sticky) if sticky else None,
    )


def _mirror(route: Route, pools: Pools) -> Mirror | None:
    mirror = route.mirror
    return Mirror(pools[mirror.upstream], sample=mirror.sample, timeout=mirror.timeout) if mirror is not None else None


def _retry(retry: Retry) -> RetryRule | None:
    if retry.attempts == 1 and retry.hedge is None and not retry.per_try_timeout:
        return None
    return RetryRule(
        attempts=retry.attempts,
        on=retry.on,
        backoff=retry.backoff,
        max_backoff=retry.max_backoff,
        jitter=retry.jitter == "full",
        budget=retry.budget,
        try_timeout=retry.per_try_timeout,
        non_idempotent=retry.non_idempotent,
        hedge_delay=retry.hedge.delay if retry.hedge is not None else 0.0,
    )
