"""``docs/regular-expressions.md``: its configurations load, and what it says of expressions is so."""

import re
import tomllib
from pathlib import Path

import pytest

from fastgate._core.routing.expressions import MAX_MEMORY, MAX_SIZE, compile_expression
from fastgate.config import GatewayConfig
from fastgate.policies.chain import find_warnings

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "regular-expressions.md").read_text(encoding="utf-8")
TABLE = PAGE.split("| not supported | write instead |")[1].split("\n\n")[0]
REFUSED = [text for row in TABLE.splitlines()[2:] for text in re.findall("`([^`]+)`", row.split("|")[1])]


@pytest.mark.parametrize("block", re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL))
def test_every_configuration_loads_and_nothing_in_it_is_suspicious(block: str) -> None:
    data = tomllib.loads(block)
    assert find_warnings(GatewayConfig.from_dict(data), data) == []


def test_every_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", PAGE):
        assert (DOCS / target).exists(), target


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_not_supported_is_refused(text: str) -> None:
    expression = text.replace("…", "a") if text != "\\N{…}" else "\\N{DASH}"
    with pytest.raises(ValueError, match=r"cannot be matched in linear time|is not needed|not supported|not a valid"):
        compile_expression(f"(?P<name>.)({expression})")


@pytest.mark.parametrize("text", ["[^/]+", "(?:…)", "a+", "(?P<name>…)", "(?i)", "\\d", "\\Z", "[[:alpha:]]", "\\p{L}"])
def test_what_is_supported_compiles(text: str) -> None:
    assert text in PAGE
    compile_expression(text.replace("…", "a"))


def test_the_bounds_are_those_of_the_code() -> None:
    assert f"at most {MAX_SIZE} steps" in PAGE
    assert f"{MAX_MEMORY >> 20} MB of memory" in PAGE
