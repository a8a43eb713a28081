"""Everything that a configuration has opened, read and compiled before a request meets it.

One function does it for a start, for a reload and for ``fastgate check``, so that what one of them takes the others
take too: certificates with their keys, authorities, files of users, schemas and keys, optional libraries, plugins,
routes. Only what cannot be tried beside a running gateway is left to the start: listening addresses, the constructors
of plugins and their ``on_startup``. It goes on after an error, so that all of them are told at once.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from fastgate._core.exchange.worker import Engine
from fastgate._core.memory.region import Region
from fastgate._core.memory.segment import Segment
from fastgate.config import ConfigError, GatewayConfig, Plugin, Problem
from fastgate.config.errors import PathKeys, render_path
from fastgate.gateway import duties
from fastgate.gateway.cooperative import Cooperative
from fastgate.gateway.duties.dispatch import Subscribers
from fastgate.gateway.plugins import Plugins
from fastgate.gateway.pools import Plan, Pools
from fastgate.gateway.runtime import Compiled, compile_runtime
from fastgate.state.cache_memory import CacheMemory
from fastgate.state.shared_memory import SharedMemoryStore
from fastgate.state.store import Store
from fastgate.upstreams.lookup import require_dnspython
from fastgate.upstreams.members import question_of

if TYPE_CHECKING:
    from fastgate._core.delivery.cache.worker_cache import WorkerCache
    from fastgate._core.exchange.worker import Log
    from fastgate.gateway.tls import ServerTLS

Renew = Callable[[Sequence[Plugin], list[Problem]], Plugins]
"""Makes the plugins of a configuration, and adds to a list what is wrong with them."""


class Built(NamedTuple):
    """What a gateway uses from the next request on."""

    config: GatewayConfig
    plugins: Plugins
    plan: Plan
    compiled: Compiled
    tls: "ServerTLS | None"


async def build(
    config: GatewayConfig,
    engine: Engine,
    store: Store,
    times: Region,
    pools: Pools,
    subscribers: Subscribers,
    cache: "Callable[[], WorkerCache]",
    renew: Renew,
    cooperative: Cooperative,
) -> Built:
    """Opens and compiles everything. Raises ConfigError with all that is wrong; nothing of it stays then.

    ``cache`` opens the response cache, for routes that use it.
    """
    problems: list[Problem] = []
    plugins = renew(config.plugins, problems)
    tls = _server_tls(config, problems)
    _check_lookups(config, problems)
    _check_key_sets(config, problems)
    plan = await pools.plan(config.upstreams, cooperative, problems)
    try:
        compiled = await compile_runtime(
            config, engine, store, times, plan.pools, plugins.policies, subscribers, cache, cooperative, problems
        )
        if problems:
            close(compiled)
            raise ConfigError(dict.fromkeys(problems))
    except BaseException:
        pools.forget(plan)
        raise
    return Built(config, plugins, plan, compiled, tls)


def close(compiled: Compiled) -> None:
    """Ends what was opened for the routes: threads and connections of the ways to authenticate."""
    for method in compiled.auth.values():
        method.close()


def make_engine(loop: asyncio.AbstractEventLoop, segment: Segment, slot: int, log: "Log") -> Engine:
    """The engine of the worker of this slot."""
    return Engine(
        loop,
        slot,
        log,
        workers=segment.region("workers"),
        counters=segment.region("counters"),
        rows=segment.rows,
    )


async def find_problems(config: GatewayConfig) -> list[Problem]:
    """What would keep a gateway from starting with this configuration, or from taking it over."""
    from fastgate.state.memory import make_segment  # on use: workers have a supervisor that does this

    segment = make_segment(config, 1)
    engine = make_engine(asyncio.get_running_loop(), segment, 0, lambda *_: None)
    store = SharedMemoryStore(segment, 0)
    pools = Pools(engine, store, segment.region("events"), 1, {})
    subscribers = Subscribers(duties.DUTIES, lambda *_: None)
    memory = CacheMemory.private()
    try:
        built = await build(
            config,
            engine,
            store,
            segment.region("plugins"),
            pools,
            subscribers,
            lambda: memory.open(0),
            Plugins().outlined,
            Cooperative(),
        )
        close(built.compiled)
        pools.forget(built.plan)
    except ConfigError as error:
        return error.problems
    finally:
        memory.close()
    return []


def _server_tls(config: GatewayConfig, problems: list[Problem]) -> "ServerTLS | None":
    if config.gateway.tls is None:
        return None
    from fastgate.gateway.tls import ServerTLS  # on use: most gateways behind a load balancer have none

    try:
        return ServerTLS(config.gateway.tls)
    except ConfigError as error:
        problems += error.problems
        return None


def _check_lookups(config: GatewayConfig, problems: list[Problem]) -> None:
    """The control plane resolves names; it has no other way to SRV records and to DNS servers than dnspython."""
    for name, upstream in config.upstreams.items():
        places: list[PathKeys] = [("targets", number) for number, target in enumerate(upstream.targets) if target.srv]
        if upstream.dns.server and any(question_of(target, upstream.dns) for target in upstream.targets):
            places.append(("dns", "server"))
        for place in places:
            try:
                require_dnspython(render_path(("upstreams", name, *place)))
            except ConfigError as error:
                problems += error.problems


def _check_key_sets(config: GatewayConfig, problems: list[Problem]) -> None:
    """The control plane fetches published keys, from servers that these authorities vouch for."""
    if config.auth.jwt is None or not config.auth.jwt.ca:
        return
    from fastgate.policies.jwt.fetching import authorities

    try:
        authorities(config.auth.jwt.ca)
    except ConfigError as error:
        problems += error.problems
