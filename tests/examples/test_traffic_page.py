"""``docs/traffic.md``: every block of it loads, its policy works, and its words are those of the code."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from fastgate._core.exchange.causes import SENTENCES
from fastgate._core.memory.events import KINDS, STATES
from fastgate.config import GatewayConfig
from fastgate.config.check.changes import SETTLED_AT_START
from fastgate.config.schema.answers import Redirect, Respond
from fastgate.config.schema.concurrency import Concurrency
from fastgate.config.schema.mirror import Mirror
from fastgate.config.schema.rate_limit import RateLimit
from fastgate.config.schema.retry import Hedge, Retry
from fastgate.config.schema.split import Split
from fastgate.config.schema.upstreams import DNS, ActiveHealth, Breaker, PassiveHealth, Upstream
from fastgate.gateway.policy import HealthChange
from fastgate.policies.chain import find_warnings
from fastgate.testing import RawClient, RecordingUpstream, gateway_to

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "traffic.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def words_of(column: str) -> set[str]:
    return set(re.findall(r"`([a-z_]+)`", column))


@pytest.mark.parametrize("text", blocks("toml"))
def test_every_configuration_loads_and_nothing_in_it_is_suspicious(text: str) -> None:
    data = tomllib.loads(text)
    config = GatewayConfig.from_dict(data)
    assert config.routes
    assert find_warnings(config, data) == []


@pytest.mark.parametrize(
    ("title", "tables"),
    [
        ("Balancing", [Upstream]),
        ("Health", [ActiveHealth, PassiveHealth, Upstream]),
        ("Breakers", [Breaker]),
        ("Retries", [Retry, Hedge]),
        ("Rate limits", [RateLimit]),
        ("Concurrency limits", [Concurrency]),
        ("Splits", [Split]),
        ("Mirrors", [Mirror]),
        ("Fixed answers and redirects", [Respond, Redirect]),
        ("Names", [DNS]),
    ],
)
def test_every_key_is_spoken_of(title: str, tables: list[Any]) -> None:
    elsewhere = {"tls", "pool", "dns", "health", "breaker", "host", "port", "headers", "path", "name"}
    if title == "Health":
        elsewhere |= {"balancer", "hash_key", "load_bound", "slow_start"}
    if title == "Balancing":
        elsewhere |= {"panic_threshold", "panic_over_probes"}
    text = section(title)
    keys = {key for table in tables for key in table.__struct_fields__} - elsewhere
    assert {key for key in keys if not re.search(rf"\b{key}\b", text)} == set()


async def test_the_fields_of_an_answer_look_as_shown() -> None:
    limits = tomllib.loads(next(text for text in blocks("toml") if "tenant" in text))
    route = {"rate_limit": limits["routes"][0]["rate_limit"]}
    async with RecordingUpstream() as upstream, gateway_to(upstream.port, route=route) as gateway:
        async with RawClient(gateway.port) as client:
            answer = await client.request(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    policy, limit = re.findall(r"^(?:RateLimit-Policy|RateLimit): (.*)$", PAGE, re.MULTILINE)
    assert answer.fields.get("ratelimit-policy") == policy
    assert re.sub(r"t=\d+", "t=N", answer.fields.get("ratelimit") or "") == re.sub(r"t=\d+", "t=N", limit)


def test_the_policy_of_the_page_is_told() -> None:
    names: dict[str, Any] = {}
    exec(compile(blocks("python")[0], "docs/traffic.md", "exec"), names)
    pager = names["Pager"]({})
    pager.on_health_change(HealthChange("backend", "", "breaker", "closed", "open", 1))
    pager.on_health_change(HealthChange("backend", "a:1", "ejected", "up", "ejected", 30000))
    pager.on_health_change(HealthChange("backend", "a:1", "returned", "ejected", "up", 1))
    assert pager.told == ["backend is not asked any more", "a:1 of backend is out for 30 s"]


def test_every_kind_of_change_is_explained() -> None:
    rows = [row.split("|") for row in section("Health").splitlines() if row.startswith("| `")]
    assert {word for row in rows for word in words_of(row[1])} >= set(KINDS) - {""}
    told = {word for row in rows[1:] for word in re.findall(r"`([a-z-]+)`", row[2])}
    assert told == set(STATES) - {"drained"}


def test_the_words_of_the_access_log_are_words_of_the_code() -> None:
    rows = [row.split("|") for row in section("In the access log").splitlines() if row.startswith("| `")]
    known = set(SENTENCES)
    said = {word for row in rows for word in words_of(row[1]) if word != "end"}
    assert said <= known
    upstreams = re.compile(r"connect|tls_failed|upstream_|pool_|read_|try_|no_target|breaker")
    assert {word for word in known if upstreams.match(word)} <= said


def test_every_key_that_needs_a_restart_is_in_the_table() -> None:
    text = section("Reload")
    assert [keys for keys in SETTLED_AT_START if not re.search(rf"[`.]{keys[-1]}`", text)] == []


async def test_the_counters_are_those_of_a_gateway() -> None:
    named = words_of(section("In the access log").rpartition("has the sums")[2])
    async with RecordingUpstream() as upstream, gateway_to(upstream.port) as gateway:
        assert named
        assert named <= set(gateway.metrics())


@pytest.mark.parametrize("target", re.findall(r"\]\((?!https?:)([^)#]+)\)", PAGE))
def test_every_link_leads_somewhere(target: str) -> None:
    assert (ROOT / "docs" / target).exists()
