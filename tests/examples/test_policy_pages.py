"""``docs/policies/``: what stands there loads, is linked, and speaks of every key and cause."""

import re
import tomllib
from pathlib import Path

import pytest

from fastgate._core.exchange.causes import cause_of
from fastgate.config import GatewayConfig
from fastgate.config.schema.routes import Route
from fastgate.policies.chain import find_warnings

FOLDER = Path(__file__).parents[2] / "docs" / "policies"
TEXTS = {page.name: page.read_text(encoding="utf-8") for page in sorted(FOLDER.glob("*.md"))}
LIST = re.findall(
    r"(?m)^\| `(\w+)` \| .+ \| \[.+\]\((.+)\) \|$", (FOLDER.parent / "configuration.md").read_text(encoding="utf-8")
)
"""Keys of policies and their pages."""
BLOCKS = [
    pytest.param(name, block, id=f"{name}-{number}")
    for name, text in TEXTS.items()
    for number, block in enumerate(re.findall(r"```toml\n(.*?)```", text, re.DOTALL))
]


@pytest.mark.parametrize("name", TEXTS)
def test_every_link_leads_somewhere(name: str) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", TEXTS[name]):
        assert (FOLDER / target).exists(), target


def test_every_page_is_on_the_first_one() -> None:
    linked = {page.removeprefix("policies/") for _, page in LIST if page.startswith("policies/")}
    linked |= set(re.findall(r"\]\((\w+\.md)\)", TEXTS["README.md"]))
    assert linked == set(TEXTS) - {"README.md"}


def test_the_causes_are_those_of_the_log() -> None:
    for words in re.findall(r"(?m)^\| [0-9]{3} \| (.*?) \|", TEXTS["README.md"]):
        for word in re.findall(r"`(\w+)`", words):
            assert cause_of(word)


def test_the_keys_are_those_of_a_route() -> None:
    keys = [key for key, _ in LIST]
    assert len(keys) > 15
    assert set(keys) <= set(Route.__struct_fields__)


@pytest.mark.parametrize(("name", "block"), BLOCKS)
def test_every_configuration_loads_and_nothing_in_it_is_suspicious(name: str, block: str) -> None:
    data = tomllib.loads(block)
    config = GatewayConfig.from_dict(data)
    warnings = [message for _, message in find_warnings(config, data)] if config.routes else []
    # A page says itself what a check warns of: how much memory a policy takes, that a secret is for trying only.
    told = ("in memory for each request", "a secret in clear")
    said = " ".join(TEXTS[name].split())
    assert [each for each in warnings if each not in said and not any(words in each for words in told)] == []
