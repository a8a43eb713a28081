"""``docs/connections.md``: what stands there loads, and its words are those of the log."""

import re
import tomllib
from pathlib import Path

import pytest

from fastgate._core.exchange.causes import cause_of
from fastgate.config import GatewayConfig

TEXT = (Path(__file__).parents[2] / "docs" / "connections.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("block", re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL))
def test_each_block_is_a_configuration(block: str) -> None:
    GatewayConfig.from_dict(tomllib.loads(block))


def test_the_causes_are_those_of_the_log() -> None:
    for line in re.findall(r"(?m)^\| .*\|$", TEXT):
        for word in re.findall(r"`(\w+)`", line.split("|")[3]):
            assert cause_of(word)


def test_every_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", TEXT):
        assert (Path(__file__).parents[2] / "docs" / target).exists(), target
