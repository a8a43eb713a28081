"""The response cache in a gateway of one process: who opens it, when it is told something, what plugins see of it."""

import os
from collections.abc import Callable
from typing import Any

import pytest
from server.cache_keeper import Told, key_of, store
from waiting import until

from fastgate import Policy
from fastgate._core.delivery.cache.worker_cache import WorkerCache
from fastgate._core.probes import flight_probe
from fastgate._core.probes.cache_probe import Seen
from fastgate.config import ConfigError, GatewayConfig
from fastgate.gateway import Gateway, building, runtime
from fastgate.gateway.additions import Additions, RouteContext
from fastgate.testing import proxy_config

opened: list[WorkerCache] = []


@pytest.fixture(autouse=True)
def _caching(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every route opens the cache."""
    opened.clear()
    compile_policies: Callable[..., Additions] = runtime.compile_policies

    def opening(route: Any, context: RouteContext) -> Additions:
        if route.name != "none":
            opened.append(context.cache())
        return compile_policies(route, context)

    monkeypatch.setattr(runtime, "compile_policies", opening)


def settings(**more: Any) -> GatewayConfig:
    return GatewayConfig.from_dict({**proxy_config(1, **more), "cache": {"max_bytes": "2MB"}})


def given_up(cache: WorkerCache) -> Told:
    """Who follows a flight that has just been given up, and has not heard of it."""
    _, ticket = flight_probe.enter(cache.flights, 5)
    follower = Told(cache.flights, flight_probe.enter(cache.flights, 5)[1])
    follower.heard = []
    follower.look()
    assert follower.wait()
    flight_probe.give_up(cache.flights, ticket)
    return follower


async def test_all_routes_share_what_the_first_one_opens_and_a_reload_too() -> None:
    routes = [{"name": name, "path": f"/{name}", "respond": {}} for name in ("a", "b")]
    config = GatewayConfig.from_dict({**proxy_config(1), "routes": routes})
    async with Gateway(config) as gateway:
        await gateway.reload(config)
        first, *others = opened
        assert len(others) == 3
        assert all(each is first for each in others)
        assert store(first, b"/a")
    assert first.memory.slot is None


async def test_it_is_told_of_fetches_while_the_gateway_runs() -> None:
    async with Gateway(settings()) as gateway:
        (cache,) = opened
        assert gateway._control is not None
        (waker,) = gateway._control.cache.wakers
        follower = given_up(cache)
        await until(lambda: follower.heard == ["given up"])
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(waker)


async def test_a_wake_up_that_is_lost_is_made_good(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastgate.gateway.gateway._TEND_CACHE", 0.02)
    async with Gateway(settings()) as gateway:
        (cache,) = opened
        assert gateway._control is not None
        (waker,) = gateway._control.cache.wakers
        follower = given_up(cache)
        os.eventfd_read(waker)
        await until(lambda: follower.heard == ["given up"])


async def test_a_gateway_whose_routes_do_not_cache_opens_nothing() -> None:
    async with Gateway(settings(route={"name": "none"})) as gateway:
        assert opened == []
        assert gateway._control is not None
        assert gateway._control.cache._file is None


async def test_a_start_that_fails_gives_the_slot_back() -> None:
    broken = GatewayConfig.from_dict(
        {**proxy_config(1), "gateway": {"port": 0, "tls": {"certificates": [{"cert": "/no.pem", "key": "/no.key"}]}}}
    )
    gateway = Gateway(broken)
    with pytest.raises(ConfigError):
        await gateway.start()
    assert [cache.memory.slot for cache in opened] == [None]
    assert gateway._control is not None
    assert gateway._control.cache._wakers == ()


async def test_what_is_pinned_at_the_end_is_no_error() -> None:
    async with Gateway(settings()):
        (cache,) = opened
        assert store(cache, b"/a")
        seen = Seen.of(cache.memory, key_of(b"/a"))
        assert seen is not None
        assert seen.pin()
    assert cache.memory.slot == 0
    seen.unpin()


async def test_check_compiles_routes_that_cache_without_a_supervisor() -> None:
    assert await building.find_problems(settings()) == []
    (cache,) = opened
    assert cache.memory.slot is None


class Purging(Policy):
    async def on_startup(self, gateway: Any) -> None:
        gateway.cache.purge_url("http://shop.example/a")
        gateway.cache.purge_tag("news", soft=True)
        gateway.cache.purge_prefix("/a")
        gateway.cache.purge_route("all")
        gateway.cache.purge_everything()
        with pytest.raises(ValueError, match="unknown route"):
            gateway.cache.purge_route("nowhere")


async def test_plugins_purge() -> None:
    config = GatewayConfig.from_dict({**proxy_config(1), "plugins": [{"name": "p", "use": "gateway:Purging"}]})
    async with Gateway(config, policies={"p": Purging(None)}) as gateway:
        purges = gateway.cache.stats().purges
        assert (purges.tag, purges.prefix, purges.everything) == (3, 1, 1)
    with pytest.raises(RuntimeError, match="does not run"):
        Gateway(config).cache.purge_everything()
