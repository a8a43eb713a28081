"""`[gateway.keys]` and `[auth.key]`: what they become, and what is said of keys that are allowed and suspicious."""

import datetime as dt
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fastgate.config import GatewayConfig
from fastgate.config.check.api_keys import key_warnings
from fastgate.config.errors import render_path
from fastgate.config.syntax.units import format_instant, parse_instant

HASH = "a9aca05ce7f2cb0e48e9d1dcba1e1dbf0b4a2fbb4ba2ef7f2a2c8e37a1c1cb5f"
OTHER = HASH[::-1]
NOW = parse_instant("2026-06-01T00:00:00Z")

TOML = f"""
[gateway.keys.team-a]
hash = "{HASH.upper()}"
tags = ["mobile"]
models = ["local"]
expires = 2027-01-01T02:00:00+02:00
previous = {{ hash = "{OTHER}", expires = 2026-12-31T23:59:59.5Z }}
"""
YAML = f"""
gateway:
  keys:
    team-a:
      hash: {HASH}
      tags: [mobile]
      models: [local]
      expires: 2027-01-01T00:00:00Z
      previous: {{ hash: {OTHER}, expires: "2026-12-31T23:59:59.5Z" }}
"""


def test_every_format_gives_the_same(tmp_path: Path) -> None:
    data = {
        "hash": HASH,
        "tags": ["mobile"],
        "models": ["local"],
        "expires": "2027-01-01T00:00:00Z",
        "previous": {"hash": OTHER, "expires": "2026-12-31T23:59:59.5Z"},
    }
    texts = {"a.toml": TOML, "a.yaml": YAML, "a.json": json.dumps({"gateway": {"keys": {"team-a": data}}})}
    found = []
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        found.append(GatewayConfig.from_file(tmp_path / name))
    found.append(GatewayConfig.from_dict({"gateway": {"keys": {"team-a": data}}}))
    assert all(config == found[0] for config in found)
    key = found[0].gateway.keys["team-a"]
    assert (key.hash, key.expires) == (HASH, "2027-01-01T00:00:00Z")
    assert key.previous is not None
    assert key.previous.expires == "2026-12-31T23:59:59.500000Z"
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(found[0]), type=GatewayConfig) == found[0]


def test_a_hash_may_come_from_the_environment() -> None:
    config = GatewayConfig.from_dict({"gateway": {"keys": {"a": {"hash": "${HASH}"}}}}, environ={"HASH": HASH})
    assert config.gateway.keys["a"].hash == HASH


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:00Z", 0.0),
        ("1970-01-01t00:00:01z", 1.0),
        ("1970-01-01 01:00:00+01:00", 0.0),
        ("1969-12-31T23:59:59.250-00:00", -0.75),
        ("2000-02-29T12:00:00.123456789Z", 951825600.123456),
    ],
)
def test_points_in_time(text: str, seconds: float) -> None:
    assert parse_instant(text) == seconds
    assert parse_instant(format_instant(seconds)) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2027-01-01",
        "2027-01-01T00:00:00",
        "2027-13-01T00:00:00Z",
        "2027-01-01T24:00:01Z",
        "0001-01-01T00:00:00+23:00",
    ],
)
def test_what_is_no_point_in_time(text: str) -> None:
    with pytest.raises(ValueError):
        parse_instant(text)


def test_a_time_of_python_is_one() -> None:
    config = GatewayConfig.from_dict(
        {"gateway": {"keys": {"a": {"hash": HASH, "expires": dt.datetime(2027, 1, 1, tzinfo=dt.UTC)}}}}
    )
    assert config.gateway.keys["a"].expires == "2027-01-01T00:00:00Z"


def said(*, keys: Any = None, auth: Any = None, routes: Any = ({"auth": {"any": ["key"]}},)) -> list[str]:
    made = [{"name": f"r{n}", "path": f"/{n}", "respond": {}, **route} for n, route in enumerate(routes)]
    data = {"gateway": {"keys": keys or {}}, "auth": auth or {}, "routes": made}
    return [f"{render_path(path)}: {what}" for path, what in key_warnings(GatewayConfig.from_dict(data), NOW)]


def test_keys_that_need_no_warning() -> None:
    later = "2026-06-01T00:00:01Z"
    assert said(keys={"a": {"hash": HASH, "expires": later, "previous": {"hash": OTHER, "expires": later}}}) == []
    assert said(keys={"a": {"hash": HASH, "routes": ["r0"]}, "b": {"hash": OTHER, "disabled": True}}) == []
    assert said(routes=[{}]) == []


def test_what_is_over() -> None:
    then = "2026-06-01T00:00:00Z"
    assert said(keys={"a": {"hash": HASH, "expires": then, "previous": {"hash": OTHER, "expires": then}}}) == [
        "gateway.keys.a.expires: the key expired on 2026-06-01T00:00:00Z",
        "gateway.keys.a.previous: has expired: remove it",
    ]


def test_a_route_that_lets_nobody_in() -> None:
    assert said() == [
        "routes[0].auth: refuses every request: there is no [gateway.keys]; `fastgate keys new` creates a key"
    ]
    keys = {"a": {"hash": HASH, "routes": ["r0"]}, "b": {"hash": OTHER, "disabled": True}}
    routes = [{"auth": {"all": ["key"]}}, {"auth": {"any": ["key"]}}, {"public": True}]
    assert said(keys=keys, routes=routes) == ["routes[1].auth: refuses every request: no valid key can use it"]


def test_a_key_for_a_route_that_asks_for_none() -> None:
    keys = {"a": {"hash": HASH, "routes": ["r0", "r1"]}}
    assert said(keys=keys, routes=[{"auth": {"any": ["key"]}}, {}]) == [
        'gateway.keys.a.routes[1]: route "r1" does not accept keys'
    ]


def test_keys_in_urls() -> None:
    assert said(routes=[], auth={"key": {"query": "k"}}) == [
        "auth.key.query: histories and the logs of other systems keep URLs, and the keys in them"
    ]
