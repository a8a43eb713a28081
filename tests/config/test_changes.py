"""What a running gateway cannot take over."""

from typing import Any

import pytest

from fastgate.config import GatewayConfig
from fastgate.config.check.changes import emptied, unchangeable

TLS = {"certificates": [{"cert": "/a.pem", "key": "/a.key"}]}
NOT_NOW = "cannot change while the gateway runs; restart it to use"


def found(old: dict[str, Any], new: dict[str, Any], **others: Any) -> list[str]:
    one, other = (GatewayConfig.from_dict({"gateway": gateway, **others}) for gateway in (old, new))
    return [str(problem) for problem in unchangeable(one, other)]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ({}, {"port": 9090}, f"gateway.port: {NOT_NOW} 9090"),
        ({}, {"host": "::1"}, f'gateway.host: {NOT_NOW} "::1"'),
        ({}, {"host": ["::1", "unix:/a"]}, f'gateway.host: {NOT_NOW} ["::1", "unix:/a"]'),
        ({"workers": 2}, {"workers": "auto"}, f'gateway.workers: {NOT_NOW} "auto"'),
        ({}, {"backlog": 9}, f"gateway.backlog: {NOT_NOW} 9"),
        ({}, {"socket_mode": "0600"}, f'gateway.socket_mode: {NOT_NOW} "0600"'),
        ({}, {"proxy_protocol": True}, f"gateway.proxy_protocol: {NOT_NOW} true"),
        ({}, {"log": {"level": "debug"}}, f'gateway.log.level: {NOT_NOW} "debug"'),
        ({}, {"access_log": {"sample": 0.5}}, f"gateway.access_log.sample: {NOT_NOW} 0.5"),
        ({}, {"tls": TLS}, "gateway.tls: cannot be added while the gateway runs; restart it"),
        ({"tls": TLS}, {}, "gateway.tls: cannot be removed while the gateway runs; restart it"),
        ({"tls": TLS}, {"tls": {**TLS, "min_version": "1.3"}}, f'gateway.tls.min_version: {NOT_NOW} "1.3"'),
    ],
)
def test_what_was_settled_at_the_start(old: dict[str, Any], new: dict[str, Any], said: str) -> None:
    assert found(old, new) == [said]
    assert found(old, old) == found(new, new) == []


def test_the_memory_of_the_cache_was_settled_too() -> None:
    one, other = (GatewayConfig.from_dict({"cache": {"max_bytes": size}}) for size in ("256MB", "1GB"))
    assert [str(problem) for problem in unchangeable(one, other)] == [f"cache.max_bytes: {NOT_NOW} 1073741824"]
    assert unchangeable(GatewayConfig(), one) == []


def test_everything_at_once() -> None:
    changed = {"port": 1, "backlog": 2, "log": {"level": "error", "format": "json"}}
    assert [line.partition(":")[0] for line in found({}, changed)] == [
        "gateway.port",
        "gateway.backlog",
        "gateway.log.level",
        "gateway.log.format",
    ]


def test_the_rest_may_change() -> None:
    certificates = {"certificates": [{"cert": "/b.pem", "key": "/b.key"}]}
    assert found({"tls": TLS}, {"tls": certificates, "max_body": 5, "drain_timeout": 3, "worker_timeout": 9}) == []
    new = GatewayConfig.from_dict(
        {"routes": [{"name": "a", "path": "/", "upstream": "b"}], "upstreams": {"b": {"targets": ["b:1"]}}}
    )
    assert unchangeable(GatewayConfig(), new) == []


def test_a_key_that_this_version_lacks_is_no_change() -> None:
    one, other = GatewayConfig(), GatewayConfig.from_dict({"gateway": {"port": 9}})
    assert unchangeable(one, other, (("nowhere", "key"), ("gateway", "nothing"))) == []


def test_from_something_to_nothing() -> None:
    route = {"name": "a", "path": "/", "respond": {}}
    full = GatewayConfig.from_dict({"routes": [route, {**route, "name": "b", "path": "/b"}]})
    one = GatewayConfig.from_dict({"routes": [route]})
    none = GatewayConfig.from_dict({"gateway": {"health_path": "/health"}})
    (problem,) = emptied(full, none)
    assert str(problem).startswith("routes: the file has none, but the running configuration has 2 routes: ")
    assert emptied(full, one) == emptied(none, one) == emptied(none, GatewayConfig()) == emptied(one, one) == []
