"""``docs/limits.md``: the defaults that stand there are those of the schema, and none of these tables is left out."""

import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fastgate.config.schema.forward_auth import ForwardAuth
from fastgate.config.schema.gateway import GatewayTable
from fastgate.config.schema.routes import Timeouts
from fastgate.config.schema.state import CacheTable, State
from fastgate.config.schema.upstreams import Pool
from fastgate.config.syntax.units import parse_duration, parse_size

TEXT = (Path(__file__).parents[2] / "docs" / "limits.md").read_text(encoding="utf-8")
TABLES: dict[str, Any] = {
    "gateway": GatewayTable,
    "pool": Pool,
    "timeouts": Timeouts,
    "state": State,
    "cache": CacheTable,
    "auth.forward": ForwardAuth,
}
ROWS = re.findall(r"(?m)^\| `([a-z_.]+)` \| `(.+?)` \|", TEXT)


def defaults(table: Any) -> dict[str, Any]:
    return {field.name: field.default for field in msgspec.structs.fields(table)}


@pytest.mark.parametrize(("key", "written"), ROWS)
def test_a_default_is_that_of_the_schema(key: str, written: str) -> None:
    table, _, name = key.rpartition(".")
    value = tomllib.loads(f"x = {written}")["x"]
    if isinstance(value, str):
        value = parse_size(value) if value.endswith("B") else parse_duration(value)
    assert defaults(TABLES[table])[name] == value


@pytest.mark.parametrize("table", ["pool", "timeouts", "state"])
def test_these_tables_are_there_as_a_whole(table: str) -> None:
    said = {key.rpartition(".")[2] for key, _ in ROWS if key.startswith(f"{table}.")}
    assert said == set(defaults(TABLES[table])) - {"queue_timeout"}


def test_every_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", TEXT):
        assert (Path(__file__).parents[2] / "docs" / target).exists(), target
