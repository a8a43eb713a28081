"""The names of ``import fastgate``: all there, and each loads no more than it must."""

import subprocess
import sys

import pytest

import fastgate

NAMES = [
    "FixedWindow",
    "Gateway",
    "GatewayConfig",
    "GatewayServer",
    "Policy",
    "Request",
    "Response",
    "Router",
    "SlidingWindowLog",
    "TokenBucket",
]
HEAVY = {"asyncio", "uvloop", "httptools", "msgspec", "click", "rich", "ssl"}


def modules_after(statement: str) -> set[str]:
    """The modules that a fresh interpreter has loaded because of a statement."""
    program = f"import sys; before = set(sys.modules); {statement}; print(*(set(sys.modules) - before))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def rooms_after(statement: str) -> set[str]:
    """The rooms of the package, its direct children, among them."""
    return {name.split(".")[1] for name in modules_after(statement) if name.startswith("fastgate.")}


def test_the_public_names_are_these() -> None:
    assert sorted(fastgate.__all__) == NAMES
    assert set(NAMES) <= set(dir(fastgate))


@pytest.mark.parametrize("name", NAMES)
def test_each_name_resolves_to_what_it_says(name: str) -> None:
    assert getattr(fastgate, name).__name__ == name


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Gatewy'"):
        _ = fastgate.Gatewy


def test_importing_the_package_loads_nothing_of_it() -> None:
    assert {name for name in modules_after("import fastgate") if name.startswith("fastgate")} == {"fastgate"}


def test_importing_the_router_loads_the_router_alone() -> None:
    loaded = modules_after("from fastgate import Router")
    assert {name for name in loaded if name.startswith("fastgate")} == {
        "fastgate",
        "fastgate._core",
        "fastgate._core.routing",
        "fastgate._core.routing.router",
    }
    others = {name.partition(".")[0] for name in loaded}
    assert not others & HEAVY


@pytest.mark.parametrize("name", ["TokenBucket", "FixedWindow", "SlidingWindowLog"])
def test_importing_a_limit_loads_what_limits_need(name: str) -> None:
    loaded = modules_after(f"from fastgate import {name}; {name}(5).take('a')")
    core = {"limits", "limits.rate", "memory", "memory.region", "memory.store"}
    assert {each for each in loaded if each.startswith("fastgate")} <= {
        "fastgate", "fastgate._core", *(f"fastgate._core.{each}" for each in core)
    }
    assert not {each.partition(".")[0] for each in loaded} & HEAVY


def test_importing_the_balancers_loads_the_balancers_alone() -> None:
    loaded = modules_after("from fastgate.balancing import LeastConnections; LeastConnections('ab').choose()")
    assert {each for each in loaded if each.startswith("fastgate")} == {
        "fastgate", "fastgate.balancing", "fastgate._core",
        *(f"fastgate._core.delivery{each}" for each in ("", ".balancer", ".ring")),
    }
    assert not {each.partition(".")[0] for each in loaded} & HEAVY


def test_a_worker_loads_no_feature_before_a_route_uses_it() -> None:
    loaded = modules_after("import fastgate.server.worker, fastgate.gateway.gateway")
    policies = {each for each in loaded if each.startswith("fastgate._core.policies.")}
    assert policies == {"fastgate._core.policies.header_edits"}
    deliveries = {f"fastgate._core.delivery.{each}" for each in ("fallback", "hedge", "mirror", "ring", "split")}
    assert not loaded & {*deliveries, "fastgate._core.limits.gates"}


def test_importing_the_caches_loads_what_caches_need() -> None:
    loaded = modules_after("from fastgate.cache import LRUCache; LRUCache(5).put('a', 1)")
    core = {"memory", "memory.cache", "memory.region"}
    parts = ("cache_counts", "cache_file", "cache_store", "flights", "lru", "purges", "shared_cache")
    core |= {f"memory.cache.{each}" for each in parts}
    assert {each for each in loaded if each.startswith("fastgate")} <= {
        "fastgate", "fastgate.cache", "fastgate._core", *(f"fastgate._core.{each}" for each in core)
    }
    assert not {each.partition(".")[0] for each in loaded} & HEAVY


def test_every_balancer_of_the_configuration_is_there() -> None:
    from fastgate import balancing
    from fastgate._core.delivery.balancer import Balancer

    kinds = {each for each in vars(balancing).values() if isinstance(each, type) and issubclass(each, Balancer)}
    assert {each.__name__ for each in kinds} == set(balancing.__all__)
    assert len(kinds) == 1 + 7


def test_importing_the_configuration_starts_no_loop_and_no_server() -> None:
    assert rooms_after("from fastgate import GatewayConfig") <= {"config", "_core"}
    assert not {"uvloop", "asyncio"} & modules_after("from fastgate import GatewayConfig")


def test_importing_the_server_loads_no_policy_and_no_command_line() -> None:
    assert not rooms_after("from fastgate import GatewayServer") & {"policies", "cli", "testing"}
