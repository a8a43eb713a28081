"""The table of the built-in policies: everything that has an order has the table's."""

import asyncio
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from policies.compiling import compile_routes

from fastgate import Policy
from fastgate._core.delivery.mirror import Mirrored
from fastgate.config import GatewayConfig, HeaderEdits, Route
from fastgate.config.schema.routes import PolicyKeys
from fastgate.gateway.additions import Additions, over, together
from fastgate.gateway.authentication import BuildContext, compile_methods
from fastgate.gateway.building import make_engine
from fastgate.gateway.cooperative import Cooperative
from fastgate.gateway.delivery import compile_delivery, compile_upstreams
from fastgate.gateway.duties import DUTIES
from fastgate.gateway.duties.dispatch import Subscribers
from fastgate.gateway.pools import Pools
from fastgate.gateway.runtime import compile_runtime
from fastgate.policies import chain
from fastgate.policies.chain import CHAIN, Row, keys_in_order, render_order, tell_policies
from fastgate.state.cache_memory import CacheMemory
from fastgate.state.memory import make_segment
from fastgate.state.shared_memory import SharedMemoryStore

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
EVERYTHING: dict[str, Any] = {
    "maintenance": {"enabled": True},
    "ip": {"allow": ["10.0.0.0/8"]},
    "cors": {"origins": ["https://app.example"]},
    "rate_limit": [{"rate": 1}, {"rate": 2, "key": "key"}],
    "concurrency": {"max": 3},
    "auth": {"any": ["key"]},
    "content_types": ["application/json"],
    "policies": [{"use": "plugin"}],
    "strip_prefix": "/a",
    "add_prefix": "/b",
    "rewrite": {"pattern": "c", "to": "d"},
    "request_headers": {"remove": ["x-a"]},
    "response_headers": {"remove": ["x-b"]},
    "cache": {"ttl": "60s"},
    "mirror": {"upstream": "b"},
    "envelope": True,
    "compression": {"encodings": ["gzip"]},
    "security_headers": True,
}


class Plugin(Policy):
    def on_request(self, request: Any) -> None: ...

    def on_response_body(self, request: Any, response: Any, piece: bytes, last: bool) -> None: ...


def configured(**keys: Any) -> GatewayConfig:
    route = {"name": "r", "path": "/a", "upstream": "b", **keys}
    plugins = [{"name": "plugin", "use": "m:C"}]
    return GatewayConfig.from_dict({"routes": [route], "upstreams": {"b": {"targets": ["b:1"]}}, "plugins": plugins})


async def compiled(**keys: Any) -> Any:
    """The compiled route of a configuration."""
    return (await compile_routes(configured(**keys), Plugin))[0]


def names(parts: Any) -> list[str]:
    return [type(part).__name__ for part in parts or ()]


GATES = [
    "Maintenance", "IpRules", "PreflightGate", "RateLimitGate", "ConcurrencyGate", "Authentication", "RateLimitGate",
]  # fmt: skip
GATES += ["ContentTypes", "Hook", "PathEdit", "RequestEdits"]


async def test_the_runtime_asks_in_this_order() -> None:
    route = await compiled(**EVERYTHING)
    assert names(route.on_request) == GATES
    assert names(route.response_filters) == ["HookRule", "Envelope", "Compression"]
    assert names(route.stamps) == ["CrossOrigin", "SecurityFields", "QuotaStamp"]


async def test_limits_by_identity_are_asked_after_authentication() -> None:
    keys = {"auth": {"any": ["key"]}, "rate_limit": {"rate": 1, "key": "key"}}
    route = await compiled(**keys, concurrency={"max": 1, "key": "key"})
    assert names(route.on_request) == ["Authentication", "RateLimitGate", "ConcurrencyGate"]


def swapped(first: str, second: str) -> tuple[Row, ...]:
    """The table with two of its rows in each other's place."""
    rows = list(CHAIN)
    one, other = (next(place for place, row in enumerate(rows) if row.policy == name) for name in (first, second))
    rows[one], rows[other] = rows[other], rows[one]
    return tuple(rows)


async def test_another_order_of_the_table_is_another_order_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    page, keys, told = render_order(), keys_in_order(), tell_policies(configured(**EVERYTHING).routes[0])
    monkeypatch.setattr(chain, "CHAIN", swapped("maintenance", "ip"))
    route = await compiled(**EVERYTHING)
    assert names(route.on_request)[:2] == ["IpRules", "Maintenance"]
    assert render_order().startswith("request id → ip → maintenance →")
    assert render_order() != page
    assert keys_in_order() == ["ip", "maintenance", *keys[2:]]
    assert tell_policies(configured(**EVERYTHING).routes[0]) == ["ip", "closed", *told[2:]]


def test_routes_tells_in_this_order() -> None:
    assert tell_policies(configured(**EVERYTHING).routes[0]) == [
        "closed", "ip", "cors", "auth key", "1 in 1s by client_ip", "2 in 1s by key", "3 at once by route",
        "content_types", "plugin", "strip /a", "add /b", "rewrite", "request_headers", "response_headers",
        "cache 60s", "plugins run on every hit", "mirror to b", "envelope", "compression", "security_headers",
    ]  # fmt: skip


def test_the_page_shows_this_order() -> None:
    assert f"```\n{render_order()}```\n" in PAGE
    assert re.findall(r"(?m)^\| `(\w+)` \| .+ \| \[.+\]\(.+\) \|$", PAGE) == keys_in_order()


def test_the_schema_has_this_order() -> None:
    keys = [key for key in keys_in_order() if key in PolicyKeys.__struct_fields__]
    assert list(PolicyKeys.__struct_fields__[: len(keys)]) == keys


def test_each_row_is_about_keys_of_a_route_and_has_a_module_of_its_name() -> None:
    for row in CHAIN:
        assert row.keys
        assert set(row.keys) <= set(Route.__struct_fields__)
        assert row.compile.__module__ == f"fastgate.policies.{row.policy}"
        assert row.compile.__name__.startswith(f"compile_{row.policy}")
        if row.warnings:
            assert callable(getattr(import_module(f"fastgate.config.check.{row.policy}"), row.warnings))


METHODS = {"api_keys", "basic", "jwt", "client_certificates", "forward_auth"}
ELSEWHERE = {row.policy: row.page for row in CHAIN if row.page}
SMALL = re.findall(r"(?m)^class (\w+)\(", (ROOT / "fastgate/config/schema/routes.py").read_text(encoding="utf-8"))
"""Tables that stand beside the keys of a route, not in a module of their own."""


@pytest.mark.parametrize("name", sorted({row.policy for row in CHAIN} | METHODS))
def test_a_policy_has_one_name_in_all_rooms(name: str) -> None:
    package, docs = ROOT / "fastgate", ROOT / "docs"
    assert (package / "config" / "schema" / f"{name}.py").exists() or name.title().replace("_", "") in SMALL
    assert (package / "policies" / f"{name}.py").exists() or (package / "policies" / name / "__init__.py").exists()
    assert (docs / ELSEWHERE.get(name, f"policies/{name}.md")).exists()
    # Mirrors are tested with splits.
    assert name == "mirror" or [*(ROOT / "tests").glob(f"*/test_{name}*.py")]


async def test_a_route_without_policies_has_nothing() -> None:
    route = await compiled()
    assert (route.on_request, route.response_filters, route.stamps) == (None, None, None)
    assert tell_policies(configured().routes[0]) == []


async def test_what_cannot_be_compiled_is_told_with_its_key(tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text("7")
    config = configured(body_schema=str(schema))
    segment = make_segment(config, 1)
    engine = make_engine(asyncio.get_running_loop(), segment, 0, lambda *_: None)
    store, times = SharedMemoryStore(segment, 0), segment.region("plugins")
    pools, problems = Pools(engine, store, segment.region("events"), 1, {}), []
    plan = await pools.plan(config.upstreams, Cooperative(), problems)
    subscribers = Subscribers(DUTIES, lambda topic, data: None)
    rest = (subscribers, CacheMemory.private, Cooperative(), problems)
    await compile_runtime(config, engine, store, times, plan.pools, {}, *rest)
    assert [each.path for each in problems] == ["routes[0].body_schema"]
    assert compile_methods(BuildContext(config, engine, plan.pools, subscribers), problems) == {}
    pools.forget(plan)


# -- what policies add, together


def test_sequences_are_joined_and_flags_hold_once_they_are_set() -> None:
    first: Any = Additions(gates=[1], buffer_request=True)
    second: Any = Additions(gates=[2, 3], stamps=[4], read_request=True)
    made: Any = together([first, Additions(), second])
    assert (made.gates, made.stamps) == ([1, 2, 3], [4])
    assert (made.buffer_request, made.read_request, made.buffer_response) == (True, True, False)
    assert first.gates == [1]


async def test_the_first_delivery_around_that_of_a_route_is_the_outermost() -> None:
    def mirrored(sample: float, told: Any = None) -> Any:
        def enclose(inner: Any, *upstream: Any) -> Any:
            if told is not None:
                told.append((sample, *upstream))
            return Mirrored(inner, compile_upstreams(config.routes[0], plan.pools["b"]), sample=sample)

        return enclose

    told: list[Any] = []
    parts = [Additions(around=[mirrored(0.1)]), Additions(within=[mirrored(0.3, told)], around=[mirrored(0.2)])]
    made = together([*parts, Additions(within=[mirrored(0.4, told)])])
    config = configured()
    segment = make_segment(config, 1)
    engine = make_engine(asyncio.get_running_loop(), segment, 0, lambda *_: None)
    pools = Pools(engine, SharedMemoryStore(segment, 0), segment.region("events"), 1, {})
    plan = await pools.plan(config.upstreams, Cooperative(), [])
    delivery: Any = compile_delivery(config.routes[0], plan.pools, made.around, made.within)
    samples = []
    while hasattr(delivery, "sample"):
        samples.append(delivery.sample)
        delivery = delivery.inner
    assert (samples, names([delivery])) == ([0.1, 0.2, 0.3, 0.4], ["Upstreams"])
    assert told == [(0.4, None), (0.3, None)]
    pools.forget(plan)


def test_the_later_edit_of_a_field_is_the_one_that_holds() -> None:
    first = HeaderEdits(set={"Accept-Encoding": "br", "a": "1"}, add={"ACCEPT-encoding": "x", "b": "2"}, remove=["c"])
    second = HeaderEdits(set={"accept-encoding": "identity"})
    made = HeaderEdits(set={"a": "1", "accept-encoding": "identity"}, add={"b": "2"}, remove=["c"])
    assert over(first, second) == made
    assert together([Additions(request_headers=first), Additions(request_headers=second)]).request_headers == made


def test_the_order_can_be_printed() -> None:
    command = [sys.executable, "-m", "fastgate", "schema", "--reference"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert f"```\n{render_order()}```\n" in done.stdout
