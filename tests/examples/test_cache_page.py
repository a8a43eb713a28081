"""``docs/cache.md``: its configuration loads, its commands are there, its plugin purges, its lines are those shown."""

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fastgate import Policy
from fastgate.cli.cache import lines_of, purge
from fastgate.config import GatewayConfig
from fastgate.gateway import Gateway
from fastgate.gateway.cache import GatewayCache
from fastgate.state.cache_memory import CacheMemory
from fastgate.state.cache_purge import PurgeRequest
from fastgate.testing import RawClient, RecordingUpstream, proxy_config

TEXT = (Path(__file__).parents[2] / "docs" / "cache.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"(?m)^fastgate cache purge (.*?)(?:  +#.*)?$", TEXT)
PLUGIN = next(block for block in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL) if "(Policy)" in block)


@pytest.mark.parametrize("text", re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL))
def test_what_is_configured_loads(text: str) -> None:
    assert GatewayConfig.from_dict(tomllib.loads(text)) != GatewayConfig()


@pytest.mark.parametrize("line", COMMANDS)
def test_what_is_purged_can_be(line: str) -> None:
    given = purge.make_context("purge", shlex.split(line)).params
    given = {name: value for name, value in given.items() if name in PurgeRequest.__struct_fields__}
    assert sum(value not in (None, False) for name, value in given.items() if name != "soft") == 1


def test_every_way_to_purge_is_shown() -> None:
    options = {word for parameter in purge.params for word in parameter.opts if word.startswith("--")}
    assert options - set(re.findall(r"--\w+", " ".join(COMMANDS))) == {"--pid", "--timeout"}
    assert len(COMMANDS) > len(options) - 2


def test_every_method_for_plugins_is_named() -> None:
    methods = {name for name in vars(GatewayCache) if not name.startswith("_")}
    assert methods - set(re.findall(r"\w+", TEXT)) == set()


def test_every_line_of_stats_is_explained() -> None:
    memory = CacheMemory.private()
    shown = lines_of(msgspec.to_builtins(memory.stats()))
    memory.close()
    (table,) = re.findall(r"(?m)\| line \| meaning \|\n((?:\|.*\n)+)", TEXT)
    explained = {word for row in table.splitlines() for word in re.findall(r"`([\w ]+)`", row.split("|")[1])}
    # Behind these stands a line for each route.
    assert explained == {*shown, "route NAME"}


async def test_the_plugin_purges() -> None:
    names: dict[str, Any] = {}
    exec(PLUGIN, names)
    kind = names["PurgeOnChange"]
    assert issubclass(kind, Policy)
    async with RecordingUpstream() as upstream:
        data = proxy_config(upstream.port, route={"path": "/products/{id}", "policies": [{"use": "purge"}]})
        data["plugins"] = [{"name": "purge", "use": "page:PurgeOnChange"}]
        async with Gateway(GatewayConfig.from_dict(data), policies={"purge": kind(None)}) as gateway:
            async with RawClient(gateway.port) as client:
                for method, purges in (("GET", 0), ("PUT", 1)):
                    head = f"{method} /products/42 HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 0\r\n\r\n"
                    assert (await client.request(head.encode())).status == 200
                    assert gateway.cache.stats().purges.tag == purges
