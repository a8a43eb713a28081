"""What a check says of stored answers: each warning with its number, and what is no reason for one."""

from collections.abc import Mapping
from typing import Any

import pytest

from fastgate.config import GatewayConfig
from fastgate.config.errors import render_path
from fastgate.policies.chain import find_warnings

KEY = {"auth": {"any": ["key"]}}
JWT = {"auth": {"any": ["jwt"]}}
AUTH = {
    "jwt": {"algorithms": ["HS256"], "secret": "s" * 32, "claims_to_headers": {"sub": "X-User"}},
    "forward": {"url": "http://127.0.0.1:1/v", "response_headers": ["x-name"]},
}


def warnings(cache: Any = True, *, defaults: Mapping[str, Any] | None = None, **route: Any) -> list[str]:
    """Of one route, without those about others: paths and numbers."""
    made = {"name": "r", "path": "/a/{id}", "upstream": "b", "cache": cache, **route}
    if cache is None:
        del made["cache"]
    data: dict[str, Any] = {"upstreams": {"b": {"targets": ["b:80"]}}, "routes": [made], "defaults": defaults or {}}
    ways = route["auth"]["any"] if route.get("auth") else []
    data["auth"] = {name: table for name, table in AUTH.items() if name in ways}
    found = find_warnings(GatewayConfig.from_dict(data), data)
    said = [(render_path(path), message) for path, message in found if "[FG" in message]
    assert all(message.endswith("]") and message.count("[FG") == 1 for _, message in said)
    return [f"{path} {message[-6:-1]}" for path, message in said]


def edits(**fields: str) -> dict[str, Any]:
    return {"request_headers": {"set": {name.replace("_", "-"): value for name, value in fields.items()}}}


@pytest.mark.parametrize(
    ("cache", "route"),
    [
        (True, {}),
        ({"ttl": "60s"}, {}),
        ({"ttl": "60s"}, {"public": True, "auth": False}),
        ({"ttl": "60s", "private": True}, KEY),
        ({"ttl": "60s", "key": "identity"}, KEY),
        ({}, KEY),
        ({"shared": True}, KEY),
        ({"methods": ["GET", "POST"]}, {"content_types": ["application/json"]}),
        ({"max_object": "16MB"}, {}),
        ({"honor": "response"}, {}),
        ({}, edits(x_id="{request_id}", x_path="{path}", x_host="{host}", x_param="{param.id}", x="y")),
        ({"key": "client_ip"}, edits(x_address="{client_ip}")),
        ({"key": "header:X-Address"}, edits(X_Address="{client_ip}")),
        ({"vary": ["X-Address"]}, edits(x_address="{client_ip}")),
        ({"private": True}, KEY | edits(x_user="{key.id}", x_team="{claim.tags}")),
        ({"key": "claim:tags"}, KEY | edits(x_team="{claim.tags}")),
        ({"private": True}, JWT),
        ({"key": ["claim:sub"]}, JWT),
        ({"vary": ["x-user"]}, JWT),
        (False, KEY | edits(x_user="{key.id}")),
    ],
)
def test_what_is_no_reason_for_a_warning(cache: Any, route: dict[str, Any]) -> None:
    assert warnings(cache, **route) == []


@pytest.mark.parametrize(
    ("cache", "route", "said"),
    [
        (True, edits(x_address="{client_ip}"), ["key FG110"]),
        (True, edits(x_address="at {client_ip}", x_more="{client_ip}"), ["key FG110", "key FG110"]),
        (True, KEY | edits(x_user="{key.id}"), ["key FG110"]),
        (True, KEY | edits(x_team="{claim.tags}"), ["key FG110"]),
        (True, JWT, ["key FG110"]),
        (True, {"auth": {"any": ["forward"]}}, ["key FG110"]),
        ({"private": True}, KEY | edits(x_address="{client_ip}"), ["key FG110"]),
        ({"shared": True}, JWT, ["shared FG111"]),
        ({"shared": True}, KEY | edits(x_user="{key.id}"), ["shared FG111"]),
        ({"ttl": "60s"}, KEY, ["ttl FG112"]),
        ({"ttl": {"404": 1}, "shared": True}, KEY, ["ttl FG112"]),
        ({"methods": ["GET", "POST"]}, {}, ["methods FG113"]),
        ({"methods": ["GET", "QUERY"]}, {}, ["methods FG113"]),
        ({"max_object": "17MB"}, {}, ["max_object FG114"]),
        ({"honor": False}, {}, ["honor FG115"]),
    ],
)
def test_what_is_suspicious(cache: Any, route: dict[str, Any], said: list[str]) -> None:
    assert warnings(cache, **route) == [f"routes[0].cache.{each}" for each in said]


def test_defaults_are_warned_of_where_they_are_written() -> None:
    assert warnings(None, defaults={"cache": {"honor": False, "max_object": "1GB"}}) == [
        "defaults.cache.max_object FG114", "defaults.cache.honor FG115",
    ]  # fmt: skip
    # What depends on the route is said of the route.
    assert warnings(None, defaults={"cache": {"ttl": "1m"}}, **KEY) == ["routes[0].cache.ttl FG112"]


def test_a_route_without_an_upstream_is_left_alone() -> None:
    data = {
        "defaults": {"cache": {"methods": ["GET", "POST"], "ttl": 1}},
        "routes": [{"name": "r", "path": "/", "respond": {"body": "x"}, **KEY}],
    }
    assert [message for _, message in find_warnings(GatewayConfig.from_dict(data), data) if "[FG" in message] == []


def test_the_words_of_a_leak() -> None:
    data = {
        "upstreams": {"b": {"targets": ["b:80"]}},
        "routes": [{"name": "r", "path": "/", "upstream": "b", "cache": {"shared": True}, **JWT}],
        "auth": {"jwt": AUTH["jwt"]},
    }
    [message] = [words for _, words in find_warnings(GatewayConfig.from_dict(data), data) if "[FG" in words]
    assert message == (
        'gives one answer to all clients, but the upstream gets the claim "sub" in X-User: what it answers to one '
        'client would reach all others; add "claim:sub" to key, or do not send X-User [FG111]'
    )
