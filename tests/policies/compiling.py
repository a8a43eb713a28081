"""The compiled routes of a configuration, without a gateway that serves them."""

import asyncio
from typing import Any

from fastgate import Policy
from fastgate.config import GatewayConfig
from fastgate.gateway.building import close, make_engine
from fastgate.gateway.cooperative import Cooperative
from fastgate.gateway.duties import DUTIES
from fastgate.gateway.duties.dispatch import Subscribers
from fastgate.gateway.pools import Pools
from fastgate.gateway.runtime import compile_runtime
from fastgate.state.cache_memory import CacheMemory
from fastgate.state.memory import make_segment
from fastgate.state.shared_memory import SharedMemoryStore


async def compile_routes(config: GatewayConfig, plugin: type[Policy]) -> list[Any]:
    """All routes; each plugin of the configuration is a ``plugin``."""
    segment = make_segment(config, 1)
    engine = make_engine(asyncio.get_running_loop(), segment, 0, lambda *_: None)
    store, times = SharedMemoryStore(segment, 0), segment.region("plugins")
    pools, problems, cache = Pools(engine, store, segment.region("events"), 1, {}), [], CacheMemory.private()
    plan = await pools.plan(config.upstreams, Cooperative(), problems)
    plugins = {each.name: plugin(each.options) for each in config.plugins}
    subscribers = Subscribers(DUTIES, lambda topic, data: None)
    rest = (subscribers, lambda: cache.open(0), Cooperative(), problems)
    made = await compile_runtime(config, engine, store, times, plan.pools, plugins, *rest)
    cache.close()
    assert problems == []
    close(made)
    pools.forget(plan)
    return list(made.routes)
