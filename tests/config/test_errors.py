"""Every kind of error: each file in cases/ gives exactly what stands beside it."""

import os
from pathlib import Path

import pytest

from fastgate.config import ConfigError, GatewayConfig

CASES = Path(__file__).parent / "cases"
ENVIRON = {
    "PORT": "http",
    "WORKERS": "many",
    "SIZE": "big",
    "FLAG": "maybe",
    "EMPTY": "",
    "LEVEL": "loud",
    "UPSTREAM": "nobody",
    "TARGET": "a",
}


def said_about(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        GatewayConfig.from_file(path, environ=ENVIRON)
    return str(caught.value).replace(f"{path.parent}{os.sep}", "") + "\n"


@pytest.mark.parametrize("path", sorted(CASES.glob("*.*[ln]")), ids=lambda path: path.name)
def test_what_is_said(path: Path) -> None:
    assert said_about(path) == path.with_name(f"{path.name}.expected").read_text()


def test_every_expectation_has_its_input() -> None:
    assert {path.name for path in CASES.glob("*.expected")} == {
        f"{path.name}.expected" for path in CASES.glob("*.*[ln]")
    }
