"""``docs/configuration-files.md``: its examples load, and what it says of values is so."""

import re
from pathlib import Path

import pytest

from fastgate.config import GatewayConfig
from fastgate.config.syntax.depth import MAX_DEPTH
from fastgate.config.syntax.documents import MAX_FILE, read_document
from fastgate.config.syntax.yaml_documents import MAX_ALIASED, load_yaml
from fastgate.policies.chain import find_warnings

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "configuration-files.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(toml|yaml)\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize(("kind", "block"), BLOCKS)
def test_every_configuration_loads_and_nothing_in_it_is_suspicious(kind: str, block: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{kind}"
    path.write_text(block)
    document = read_document(path)
    environ = {"TRUSTED_PROXIES": "10.0.0.0/8, 192.168.0.0/16"}
    assert find_warnings(GatewayConfig.from_file(path, environ=environ), document.data) == []


def test_every_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", PAGE):
        assert (DOCS / target).exists(), target


def test_what_is_text_in_yaml() -> None:
    (text,) = re.findall(r"everything else is text: (.*)\.", PAGE)
    words = re.findall("`([^`]+)`", text)
    assert len(words) > 8
    assert load_yaml("\n".join(f"- {word}" for word in words), "") == words
    (numbers,) = re.findall(r"decimal numbers are numbers: (.*);", PAGE)
    assert load_yaml(f"[{', '.join(re.findall('`([^`]+)`', numbers))}]", "") == [8080, -1, 0.5, 1000]


def test_the_bounds_are_those_of_the_code() -> None:
    assert f"at most {MAX_FILE >> 20} MB" in PAGE
    assert f"at most {MAX_DEPTH} deep" in PAGE
    assert f"to {MAX_ALIASED:,} values in a small file" in PAGE
