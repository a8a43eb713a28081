"""``docs/policies.md``: every block of it runs, and does what the page says."""

import asyncio
import re
import sys
import tomllib
import types
from pathlib import Path

import pytest

from fastgate.config import GatewayConfig
from fastgate.config.read.options import read_options
from fastgate.testing import Play, RawClient, RecordingUpstream, proxy_config, start_gateway

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "policies.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """All Python of the page, as ``mypackage.versions``."""
    module = types.ModuleType("mypackage.versions")
    monkeypatch.setitem(sys.modules, "mypackage", types.ModuleType("mypackage"))
    monkeypatch.setitem(sys.modules, "mypackage.versions", module)
    for block in blocks("python"):
        exec(compile(block, "docs/policies.md", "exec"), module.__dict__)
    return module


@pytest.mark.parametrize("text", blocks("toml"))
def test_every_configuration_loads(text: str) -> None:
    assert GatewayConfig.from_dict(tomllib.loads(text)).routes


async def test_the_tests_of_the_page_pass(module: types.ModuleType) -> None:
    await module.test_old_versions_are_refused()
    await module.test_a_gateway()


def test_the_play_of_the_page_passes(module: types.ModuleType) -> None:
    module.test_a_play()


def test_the_options_of_the_page(module: types.ModuleType) -> None:
    made = read_options(module.LookUpOptions, {"timeout": "1s", "cache": "2MB", "token": "t"})
    assert made == module.LookUpOptions(timeout=1.0, cache=2 << 20, token="t")


def test_every_step_of_a_play_is_in_the_table() -> None:
    steps = {name for name in vars(Play) if not name.startswith("_")} | set(Play.__annotations__)
    assert [step for step in steps if not re.search(rf"`{step}\b", PAGE)] == []


@pytest.mark.parametrize("target", re.findall(r"\]\((?!https?:)([^)]+)\)", PAGE))
def test_every_link_leads_somewhere(target: str) -> None:
    file, _, heading = target.partition("#")
    page = DOCS / file if file else DOCS / "policies.md"
    assert page.exists()
    if heading:
        headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert heading in [re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings]


async def ask(module: types.ModuleType, policy: str, request: bytes) -> int:
    async with RecordingUpstream() as upstream:
        config = proxy_config(upstream.port, route={"policies": [{"use": "it"}]})
        config["plugins"] = [{"name": "it", "use": f"{module.__name__}:{policy}"}]
        async with start_gateway(config) as gateway, RawClient(gateway.port) as client:
            return (await client.request(request)).status


@pytest.mark.parametrize(
    ("policy", "request_bytes", "status"),
    [
        ("ApiVersion", b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", 200),
        ("Known", b"GET / HTTP/1.1\r\nhost: x\r\ncookie: user=ada\r\n\r\n", 200),
        ("Known", b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", 403),
        ("NoScripts", b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello", 200),
        ("NoScripts", b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 8\r\n\r\n<script>", 422),
    ],
)
async def test_the_policies_of_the_page(
    module: types.ModuleType, policy: str, request_bytes: bytes, status: int
) -> None:
    assert await asyncio.wait_for(ask(module, policy, request_bytes), 10) == status
