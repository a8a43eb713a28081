"""From a configuration to what the core runs on: router and routes with everything bound.

What the built-in policies of a route add to it stands in their table, `fastgate.policies.chain`.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from fastgate._core.delivery.pool import Pool
from fastgate._core.exchange.exchange import Gate, Hook
from fastgate._core.exchange.problems import HtmlPages, ProblemDetails
from fastgate._core.exchange.route import Route as CoreRoute
from fastgate._core.exchange.route import Runtime
from fastgate._core.exchange.worker import Engine
from fastgate._core.memory.plugin_times import PluginTimes
from fastgate._core.memory.region import Region
from fastgate._core.policies.header_edits import RequestEdits, ResponseEdits
from fastgate._core.routing.router import Router
from fastgate.config import GatewayConfig, Problem, Route
from fastgate.gateway.additions import RouteContext
from fastgate.gateway.answers import compile_answer
from fastgate.gateway.authentication import BuildContext, Methods, compile_methods, secret_parameters
from fastgate.gateway.cooperative import Cooperative
from fastgate.gateway.delivery import compile_delivery
from fastgate.gateway.duties.dispatch import Subscribers
from fastgate.gateway.policy import Policy
from fastgate.gateway.trust import TrustedPeers
from fastgate.policies.chain import compile_policies
from fastgate.policies.header_edits import edits_of
from fastgate.state.store import Store

if TYPE_CHECKING:
    from fastgate._core.delivery.cache.worker_cache import WorkerCache


class Compiled(NamedTuple):
    """A runtime, and the routes in it: both are let go in slices."""

    runtime: Runtime
    routes: list[CoreRoute]
    auth: Methods
    """The ways to find out who asks; their threads and connections end with them."""


async def compile_runtime(
    config: GatewayConfig,
    engine: Engine,
    store: Store,
    times: Region,
    pools: Mapping[str, Pool],
    policies: Mapping[str, Policy],
    subscribers: Subscribers,
    cache: "Callable[[], WorkerCache]",
    cooperative: Cooperative,
    problems: list[Problem],
) -> Compiled:
    """Adds all to the problems that only shows now. With one the runtime is not whole and must not be used.

    ``times`` is the region ``plugins``, where the times of plugins are written; ``cache`` opens the response cache.
    """
    gateway = config.gateway
    routes: list[CoreRoute] = []
    router = Router(merge_slashes=gateway.merge_slashes)
    methods = {"OPTIONS"}
    context = RouteContext(
        config,
        engine,
        store,
        pools,
        policies,
        {each.name: PluginTimes(times, engine.slot, each.name, each.budget) for each in config.plugins},
        compile_methods(BuildContext(config, engine, pools, subscribers), problems),
        cache,
    )
    for index, route in enumerate(config.routes):
        try:
            routes.append(_route(route, context))
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
        server_header=gateway.server_header,
        health_path=gateway.health_path,
        trusted=trusted.__contains__ if trusted else None,
        check_server_name=gateway.tls is not None and gateway.tls.client_auth != "none",
        unlogged=secret_parameters(config),
        problems=[HtmlPages(), ProblemDetails()] if gateway.error_format == "html" else [ProblemDetails()],
    )
    return Compiled(runtime, routes, context.auth)


def _problem(index: int, message: str) -> Problem:
    """What is wrong with a route; a message may begin with the key that it is about."""
    key, _, rest = message.partition(": ")
    if rest and key.partition(".")[0] in Route.__struct_fields__:
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


def _route(route: Route, context: RouteContext) -> CoreRoute:
    gateway, timeouts = context.config.gateway, route.timeouts
    added = compile_policies(route, context)
    requests = edits_of(added.request_headers, gateway.request_id)
    answers = edits_of(added.response_headers, gateway.request_id)
    steps: list[Gate | Hook] = [*added.gates, *added.on_request]
    fixed = compile_answer(route)
    if fixed is None:
        # An answer of the route itself has no use for a request that is edited.
        steps += [*added.edits, *([RequestEdits(requests)] if requests is not None else [])]
    return CoreRoute(
        name=route.name,
        delivery=fixed or compile_delivery(route, context.pools, added.around, added.within, added.changes),
        on_request=steps,
        on_response=added.on_response,
        on_error=added.on_error,
        buffer_request=route.buffer_request or added.buffer_request,
        read_request=added.read_request,
        buffer_response=added.buffer_response,
        request_filters=added.request_filters if fixed is None else (),
        response_filters=added.response_filters,
        edits=ResponseEdits(answers) if answers is not None else None,
        stamps=added.stamps,
        answers_preflights=added.answers_preflights,
        problems=added.problems,
        host_header=route.host_header,
        names_trace="TRACE" in route.methods,
        encoded_backslash=route.encoded_backslash,
        upgrades=route.upgrades,
        half_close=route.half_close,
        trailers=route.trailers,
        min_rate=gateway.min_rate if route.min_rate is None else route.min_rate,
        max_body=route.body_limit(gateway.max_body),
        read_timeout=timeouts.read,
        write_timeout=timeouts.write,
        idle_timeout=timeouts.idle,
        total_timeout=timeouts.total,
    )
