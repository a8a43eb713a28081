"""What is allowed and suspicious."""

from typing import Any

import pytest

from fastgate.config import GatewayConfig
from fastgate.config.errors import render_path
from fastgate.config.warnings import find_warnings


def warnings(**keys: Any) -> list[str]:
    data = {"upstreams": {"b": {"targets": ["b:80"]}}, **keys}
    found = find_warnings(GatewayConfig.from_dict(data), data)
    return [f"{render_path(path)}: {message}" for path, message in found]


def routes(*written: dict[str, Any]) -> list[str]:
    made = [{"name": f"r{number}", "upstream": "b", **route} for number, route in enumerate(written)]
    return warnings(routes=made)


def test_a_plain_configuration_has_none() -> None:
    assert routes({"path": "/a/*"}, {"path": "/a/b"}, {"path": "/a/{x}"}) == []


@pytest.mark.parametrize(
    ("first", "second", "reached"),
    [
        ({"path": "/a"}, {"path": "/a"}, False),
        ({"path": "/a/{x}"}, {"path": "/a/{y}"}, False),
        ({"path": "/a/{x}"}, {"path": "/a/{y*}"}, True),
        ({"path": "/a"}, {"path": "/a", "methods": ["GET"]}, True),
        ({"path": "/a", "methods": ["GET", "POST"]}, {"path": "/a", "methods": ["POST", "GET"]}, False),
        ({"path": "/a", "hosts": ["a.b"]}, {"path": "/a", "hosts": ["A.b."]}, False),
        ({"path": "/a", "headers": {"x": "1"}}, {"path": "/a", "headers": {"x": "2"}}, True),
        ({"path": "/*", "priority": 1}, {"path": "/a"}, False),
        ({"path": "/*"}, {"path": "/a"}, True),
        ({"path": "/a/*", "priority": 1}, {"path": "/a"}, False),
        ({"path": "/a/{x*}", "priority": 1}, {"path": "/a"}, True),
        ({"path": "/a/{x*}", "priority": 1}, {"path": "/a/b/c"}, False),
        ({"path": "/{x}", "priority": 1}, {"path": "/a"}, False),
        ({"path": "/{x}", "priority": 1}, {"path": "/"}, True),
        ({"path": "/{x}", "priority": 1}, {"path": "/a/*"}, True),
        ({"path": "/*", "priority": 1, "methods": ["GET"]}, {"path": "/a"}, True),
        ({"path": "/*", "priority": 1, "methods": ["GET"]}, {"path": "/a", "methods": ["HEAD"]}, False),
        ({"path": "/*", "priority": 1, "hosts": ["*.b"]}, {"path": "/a", "hosts": ["a.b", "*.c.b"]}, False),
        ({"path": "/*", "priority": 1, "hosts": ["*.b"]}, {"path": "/a", "hosts": ["a.b", "b"]}, True),
        ({"path": "/*", "priority": 1, "headers": {"x": "*"}}, {"path": "/a", "headers": {"x": "1"}}, False),
        ({"path": "/*", "priority": 1, "query": {"x": "*"}}, {"path": "/a"}, True),
        ({"path": "~^/a", "priority": 1}, {"path": "/a"}, True),
    ],
)
def test_routes_that_no_request_reaches(first: dict[str, Any], second: dict[str, Any], reached: bool) -> None:
    said = [line for line in routes(first, second) if "no request reaches it" in line]
    assert bool(said) is not reached
    assert all(line.startswith('routes[1]: no request reaches it: routes[0] "r0" has') for line in said)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"gateway": {"trusted_proxies": ["0.0.0.0/0"]}}, "gateway.trusted_proxies[0]: 0.0.0.0/0 believes everybody"),
        ({"gateway": {"proxy_protocol": True}}, "gateway.proxy_protocol: closes every connection"),
        ({"gateway": {"max_body": 0}}, "gateway.max_body: 0 lets clients send bodies without end"),
        ({"gateway": {"underscore_headers": "pass"}}, "gateway.underscore_headers: many applications"),
        ({}, "routes: there are none"),
        ({"plugins": [{"name": "p", "use": "m:P"}]}, 'plugins[0]: no route uses the plugin "p"'),
        ({"upstreams": {"b": {"targets": ["b:80"]}, "c": {"targets": ["c:1"]}}}, "upstreams.c: no route uses it"),
        (
            {"upstreams": {"b": {"targets": ["b:80"], "tls": {"verify": False}}}},
            "upstreams.b.tls.verify: false accepts any",
        ),
        ({"upstreams": {"b": {"targets": ["http://b"], "tls": {}}}}, "upstreams.b.tls: is never used"),
    ],
)
def test_warnings(keys: dict[str, Any], said: str) -> None:
    assert any(line.startswith(said) for line in warnings(**keys))


@pytest.mark.parametrize(
    ("route", "said"),
    [
        ({"buffer_request": True, "max_body": "2MB"}, "routes[0].buffer_request: keeps up to 2MB in memory"),
        ({"strip_prefix": "/v1"}, 'routes[0].strip_prefix: "/v1" is no prefix of the path "/a"'),
        ({"host_header": "clinet"}, 'routes[0].host_header: "clinet" is sent as it is; did you mean "client"?'),
        (
            {"request_headers": {"set": {"Authorization": "Bearer abc"}}},
            "routes[0].request_headers.set.Authorization: a secret in clear",
        ),
    ],
)
def test_warnings_about_a_route(route: dict[str, Any], said: str) -> None:
    assert any(line.startswith(said) for line in routes({"path": "/a", **route}))
