"""``README.md``: what it shows runs, what it names is there."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from fastgate import GatewayConfig, Policy, Response
from fastgate.policies.chain import find_warnings

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "README.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
TOML = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)


def block(part: str) -> str:
    """The one Python block that has this in it."""
    (found,) = [text for text in PYTHON if part in text]
    return found


@pytest.mark.parametrize("target", re.findall(r"\]\((?!https?:)([^)#]+)\)", PAGE))
def test_every_link_leads_somewhere(target: str) -> None:
    assert (ROOT / target).exists()


@pytest.mark.parametrize("habit", sorted(set(re.findall(r"(?m)(?:^|`)make (\w+)", PAGE))))
def test_every_habit_is_in_the_makefile(habit: str) -> None:
    assert re.search(rf"^{habit}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_the_rooms_are_those_of_the_package() -> None:
    rooms = {path.name for path in (ROOT / "fastgate").iterdir() if (path / "__init__.py").exists()}
    assert set(re.findall(r"`fastgate/(\w+)/`", PAGE)) == rooms


def test_the_file_says_the_same_as_the_python() -> None:
    names: dict[str, object] = {}
    exec(block("GatewayServer(config)").replace("GatewayServer(config).start()", ""), names)
    assert names["config"] == GatewayConfig.from_dict(tomllib.loads(TOML[0]))


def test_the_policy_is_one_and_its_configuration_loads() -> None:
    names: dict[str, object] = {}
    exec(block("(Policy)"), names)
    assert isinstance(names["Tenant"], type)
    assert issubclass(names["Tenant"], Policy)
    assert Response(400, body="which tenant?").status == 400
    assert GatewayConfig.from_dict(tomllib.loads(TOML[0].split("[[routes]]")[0] + policy_toml())).plugins


def test_the_traffic_configuration_loads_and_is_not_suspicious() -> None:
    (text,) = [each for each in TOML if "balancer" in each]
    data = tomllib.loads(text)
    assert find_warnings(GatewayConfig.from_dict(data), data) == []


def test_the_limit_and_the_balancer_answer_as_shown() -> None:
    names: dict[str, Any] = {}
    exec(block("TokenBucket(rate"), names)
    decision = names["decision"]
    assert (decision.admitted, decision.remaining, decision.retry_after) == (True, 199, 0.0)
    exec(block("servers.taken"), names)
    assert names["server"] == "big"
    assert names["servers"].in_flight("big") == 0


def test_a_limit_made_before_a_fork_is_one_for_all() -> None:
    program = """
import os
from fastgate import TokenBucket
bucket = TokenBucket(rate=5, per=3600)
if os.fork() == 0:
    bucket.take("ada"), bucket.take("ada")
    os._exit(0)
os.wait()
print(bucket.take("ada").remaining)
"""
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "2\n"


def policy_toml() -> str:
    (text,) = [each for each in TOML if "[[plugins]]" in each]
    return text


def test_the_router_answers_as_shown() -> None:
    names: dict[str, object] = {}
    exec(block("router.match"), names)
    router, match = names["router"], names["match"]
    assert (match.value, match.params) == ("show user", {"id": "42"})  # type: ignore[attr-defined]
    assert router.match("GET", "/nowhere") is None  # type: ignore[attr-defined]
    assert router.allowed("/users/42") == {"GET", "HEAD"}  # type: ignore[attr-defined]


def test_the_cache_answers_as_shown() -> None:
    names: dict[str, Any] = {}
    exec(block("LRUCache("), names)
    assert names["pages"].get("/") == b"<html>"
    assert names["pages"].stats().hits == 2


def test_the_benchmarks_have_their_place() -> None:
    assert PAGE.count("<!-- benchmarks:begin -->") == PAGE.count("<!-- benchmarks:end -->") == 1


def test_the_cache_says_what_is_shown() -> None:
    names: dict[str, Any] = {}
    exec(block("SharedCache"), names)
    cache = names["cache"]
    assert cache.get(b"key") == b"value"
    assert cache.stats()["objects"] == 1
    with cache.pin(b"key") as value:
        assert memoryview(value)[:3].tobytes() == b"val"
